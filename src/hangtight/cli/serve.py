"""`hangtight serve`: the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import Config
from hangtight.rules.running import GATEWAY_PORT


def serve(
    config: Config = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; other than loopback needs apiKeys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = GATEWAY_PORT,
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="A socket of the file system instead.")] = None,
    drain: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="For what runs, at the first SIGTERM.")] = 30.0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Nothing more: the settings file is always followed. llama-swap's option.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen for other machines although there is no key.")
    ] = False,
    scale: Annotated[
        float, typer.Option(min=1, hidden=True, help="One second here is so many of a real machine: for the demo.")
    ] = 1.0,
) -> None:
    """Serve every model at one address: the APIs of OpenAI, Anthropic and Ollama, under the time contract.

    The models are those of the settings that have a `proxy`. Without any, the servers on the usual ports of this
    machine are found. Stops at SIGTERM or Ctrl-C when what runs has ended; at once at the second.

    Example: hangtight serve, then: export OPENAI_BASE_URL=http://127.0.0.1:8383/v1
    """
    from hangtight.cli.serving import Where, serve_command

    raise typer.Exit(serve_command(Where(host, port, uds), config, drain=drain, insecure=insecure, scale=scale))
