"""`hangtight run`: timeout(1) that tells work from silence."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import Beat, Config, ExtendTo, FirstToken, Idle, Intent, Mode, Total, limits_of


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The program and its arguments.")],
    first_token: FirstToken = None,
    idle: Idle = None,
    total: Total = None,
    extend_to: ExtendTo = None,
    mode: Mode = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="What messages call it [the program].")] = None,
    heartbeat: Beat = None,
    intent: Intent = None,
    config: Config = None,
) -> None:
    """Run a model process: while it prints it lives, when it goes silent it is ended with all it started.

    In a mode, output that is getting on may take longer than the total, and output that repeats itself is ended.
    Exits with the command's own code, 124 after a timeout or a loop, 126 or 127 if it cannot be run, 2 if the options
    are wrong, 128 + N after signal N. What the command writes to stderr before its first output counts as load
    progress. On a terminal the command gets no stdin. SECONDS may be written 90, 90s, 20m, 1h, or none for no limit.

    Example: hangtight run --idle 45 --total 20m -- llama-cli -m model.gguf -p 'Hello'
    """
    limits = limits_of(
        intent, first_token=first_token, idle=idle, total=total, extend_to=extend_to, heartbeat=heartbeat
    )
    from hangtight.cli.running import run_command

    raise typer.Exit(run_command(command, model, mode, limits, config))
