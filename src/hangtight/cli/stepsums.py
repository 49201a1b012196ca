"""How `hangtight stats --by step` tells of workflows: their runs and steps, also those in which no model works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from hangtight.cli.printing import DIM, RED, Cell, Column, table

if TYPE_CHECKING:
    from hangtight.journal.run_sums import FlowStat
    from hangtight.journal.tally import Quantiles

COLUMNS = (
    Column("flow/step", least=8),
    Column("ended", right=True),
    Column("finished", right=True),
    Column("elapsed", right=True),
    Column("heartbeats", right=True),
    Column("timeouts", least=8),
)
FINISHED = "finished"


def flow_table(
    stats: Sequence[FlowStat], span: Callable[[Quantiles | None], str], *, room: int, colours: bool
) -> list[str]:
    """Nothing where nothing was run."""
    if not stats:
        return []
    units = [Cell("", DIM) for _ in COLUMNS]
    units[3] = Cell("p50/p95/p99", DIM)
    rows = [
        [
            Cell(f"  {stat.step}" if stat.step else stat.flow),
            Cell(f"{stat.count:,}"),
            Cell(f"{stat.outcomes.get(FINISHED, 0):,}"),
            Cell(span(stat.elapsed)),
            Cell(f"{stat.heartbeats:,}" if stat.heartbeats else "-"),
            Cell(", ".join(f"{count:,} {limit}" for limit, count in sorted(stat.timeouts.items())), RED),
        ]
        for stat in stats
    ]
    return ["", "Flows and their steps:", *table(COLUMNS, [units, *rows], room=room, colours=colours)]


def flow_objects(stats: Sequence[FlowStat]) -> list[dict[str, Any]]:
    told = [{field.name: getattr(stat, field.name) for field in fields(stat)} for stat in stats]
    return [{**each, "elapsed": None if each["elapsed"] is None else each["elapsed"]._asdict()} for each in told]
