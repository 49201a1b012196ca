"""`hangtight explain`: every limit, where it comes from, and what it overruled."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson, Config, Mode, limits_of

Model = Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="For this model.")]
Step = Annotated[str | None, typer.Option("--step", metavar="NAME", help="For a call inside this step of a task.")]
Budget = Annotated[str | None, typer.Option("--budget", metavar="SECONDS", help="Where a budget has so much left.")]
Prompt = Annotated[
    int, typer.Option("--prompt", metavar="TOKENS", min=0, max=10**9, help="For a prompt of this length.")
]


def explain(
    model: Model = None,
    mode: Mode = None,
    step: Step = None,
    budget: Budget = None,
    prompt: Prompt = 0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell every limit of a call that gives none of its own: its value, where that comes from, what it overruled.

    Exits with 0, with 2 if the settings or the options cannot be used. SECONDS may be written 90, 90s, 20m or 1h.

    Example: hangtight explain --model qwen3-coder --mode deep
    """
    remaining = limits_of(budget=budget).get("budget")
    from hangtight.cli.explaining import Call, explain_command

    raise typer.Exit(explain_command(Call(model or "", mode, step, remaining, prompt), config, as_json=as_json))
