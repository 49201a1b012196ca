"""`hangtight top`: what is in flight in a gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson

GATEWAY = "http://127.0.0.1:8383"
KEY = "HANGTIGHT_API_KEY"

Url = Annotated[str, typer.Option("--url", metavar="URL", help="The gateway.")]
Key = Annotated[
    str | None, typer.Option("--key", metavar="KEY", envvar=KEY, help="Where it wants one.", show_default=False)
]
Once = Annotated[bool, typer.Option("--once", help="Print it once, and end.")]


def top(url: Url = GATEWAY, key: Key = None, once: Once = False, as_json: AsJson = False) -> None:
    """Show what is in flight: how long it runs, how long nothing came, which limit would ring next and when.

    On a terminal the table is drawn anew each second until Ctrl-C; in a pipe it is printed once. The bar is the time of
    the alarm that rings next: full is when it rings. Exits with 0, with 1 if no gateway answers, 2 if the command is
    wrong.

    Example: hangtight top --url http://127.0.0.1:8383
    """
    from hangtight.cli.gateways import Gateway
    from hangtight.cli.topping import top_command

    raise typer.Exit(top_command(Gateway.of(url, key, "top"), once=once, as_json=as_json))
