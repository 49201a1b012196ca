"""`hangtight model`: the model servers that a gateway runs."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson
from hangtight.cli.top import GATEWAY, Key, Url

app = typer.Typer(
    help="The model servers that a gateway runs: see them, put them to sleep, wake and stop them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Its name in hangtight.yaml, or an alias.")]


@app.command("ls")
def list_them(url: Url = GATEWAY, key: Key = None, as_json: AsJson = False) -> None:
    """Show each model that is run: its phase, for how long, its requests, and which clock rings next.

    Example: hangtight model ls --url http://127.0.0.1:8383
    """
    from hangtight.cli.gateways import Gateway
    from hangtight.cli.modelling import list_command

    raise typer.Exit(list_command(Gateway.of(url, key, "model ls"), as_json=as_json))


@app.command()
def wake(model: Name, url: Url = GATEWAY, key: Key = None, as_json: AsJson = False) -> None:
    """Have it ready: woken where it sleeps, started where it does not run. Waits for the end.

    Exits with 0 when it is ready, 1 where that took another way or failed, 2 if the command is wrong.

    Example: hangtight model wake qwen3-coder
    """
    _act(model, "wake", url, key, as_json=as_json)


@app.command()
def sleep(model: Name, url: Url = GATEWAY, key: Key = None, as_json: AsJson = False) -> None:
    """Put it to sleep by its cmdSleep, when its requests have ended. Waits for the end.

    Exits with 0 when it sleeps, 1 where it had to be stopped instead, 2 if the command is wrong.

    Example: hangtight model sleep qwen3-coder
    """
    _act(model, "sleep", url, key, as_json=as_json)


@app.command()
def stop(model: Name, url: Url = GATEWAY, key: Key = None, as_json: AsJson = False) -> None:
    """Stop it, when its requests have ended. Waits until the process and all that it started are gone.

    Exits with 0 when it has stopped, 1 where something of it is left, 2 if the command is wrong.

    Example: hangtight model stop qwen3-coder
    """
    _act(model, "stop", url, key, as_json=as_json)


def _act(model: str, action: str, url: str, key: str | None, *, as_json: bool) -> None:
    from hangtight.cli.gateways import Gateway
    from hangtight.cli.modelling import act_command

    raise typer.Exit(act_command(Gateway.of(url, key, f"model {action}"), model, action, as_json=as_json))
