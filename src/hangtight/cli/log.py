"""`hangtight log`: the time line of one generation, or a table of all."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson, Config, Journal, Since

Id = Annotated[str | None, typer.Argument(metavar="[ID]", help="The beginning of an id is enough.", show_default=False)]
Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Only those of this run.")]
Model = Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Only those of this model.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1_000_000, help="At most so many.")]


def log(
    id: Id = None,  # noqa: A002 - its name on the command line
    since: Since = None,
    run: Run = None,
    model: Model = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    journal: Journal = None,
    config: Config = None,
) -> None:
    """Tell what the journal knows: a table of generations, the newest first, or all that happened to one of them.

    On a terminal a ribbon of its phases stands above the lines of one. Exits with 0, with 1 if the id is unknown or
    the journal cannot be read, 2 if the command is wrong or the id is not enough to tell which one.

    Example: hangtight log --since 1h, then hangtight log 7f3a21bc
    """
    from hangtight.cli.history import Filter, log_command

    raise typer.Exit(log_command(id, Filter(since, run, model, limit), journal, config, as_json=as_json))
