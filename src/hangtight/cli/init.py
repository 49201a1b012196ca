"""`hangtight init`: a first hangtight.yaml, written from what is found on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson

Url = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help="Ask this server, not the usual ports. May be given again.",
                 show_default=False),
]  # fmt: skip


def init(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")] = "hangtight.yaml",
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the file instead.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Write a first hangtight.yaml, with a line of why beside each setting.

    Looks for Ollama, llama.cpp, vLLM, LM Studio and others on their usual ports of this machine, and at $OLLAMA_HOST.
    A file that is there already is never written over. With --json it prints what was found.

    Exits with 0, with 1 if the file is there already or cannot be written, 2 if the command is wrong.

    Example: hangtight init, then: hangtight serve --config hangtight.yaml
    """
    from hangtight.cli.initializing import init_command

    raise typer.Exit(init_command(output, tuple(url or ()), to_stdout=stdout, as_json=as_json))
