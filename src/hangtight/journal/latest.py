"""The latest generations that ended, as those see them who learn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from hangtight.journal.tables import generations

if TYPE_CHECKING:
    from hangtight.core.pace import Observation


def latest(connection: Connection, count: int) -> list[Observation]:
    """At most `count`, oldest first."""
    from hangtight.core.pace import Observation

    own = generations.c
    wanted = select(
        own.model,
        own.mode,
        own.prompt_tokens,
        own.first_token,
        own.longest_gap,
        own.elapsed,
        own.tokens,
        own.outcome,
        own.broken_limit,
        own.waited,
    )
    rows = connection.execute(
        wanted.where(own.outcome.is_not(None), own.elapsed.is_not(None)).order_by(own.started.desc()).limit(count)
    ).all()
    return [Observation(*row) for row in reversed(rows)]
