"""`hangtight stats`: how fast the models are, what timed out, and what a fixed timeout would have killed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from hangtight.cli.settings import AsJson, Config, Journal, Since


class By(StrEnum):
    """What the numbers are told apart by."""

    MODEL = "model"
    MODE = "mode"
    STEP = "step"


Parts = Annotated[By | None, typer.Option("--by", help="A line for each of these.", show_default=False)]


def stats(
    since: Since = None,
    by: Parts = None,
    as_json: AsJson = False,
    journal: Journal = None,
    config: Config = None,
) -> None:
    """Sum up what the journal knows: what was saved today, then pace and timeouts of all generations in it.

    The three numbers in a column are what half, 95 % and 99 % of the generations stay below. On a terminal small plots
    follow: answers saved, the pace of the latest ones, what rang how often; in a pipe there are none. Exits with 0,
    with 1 if the journal cannot be read, 2 if the command is wrong.

    Example: hangtight stats --since 1d --by model
    """
    from hangtight.cli.summing import stats_command

    raise typer.Exit(stats_command(since, None if by is None else by.value, journal, config, as_json=as_json))
