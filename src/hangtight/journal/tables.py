"""The tables of the journal. The same for SQLite and for PostgreSQL; what the migrations lead to as well."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    false,
)

VERSIONS = ("0001", "0002", "0003")
"""All that this code knows, oldest first; the last is what it works on."""

metadata = MetaData()

generations = Table(
    "generations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("call", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("model", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("counted_prompt", Integer),
    Column("counted_answer", Integer),
    Column("tokens", Integer, nullable=False),
    Column("first_token", Float),
    Column("longest_gap", Float),
    Column("elapsed", Float),
    Column("outcome", Text),
    Column("broken_limit", Text, nullable=False),
    Column("waited", Float),
    Column("source", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("budget_left", Float),
    Column("limits", Text, nullable=False),
    Column("rolled", Boolean, nullable=False, server_default=false()),
)
"""One row per generation. `outcome` is null while it runs, and for ever where its process was killed."""

unrolled = and_(generations.c.rolled == false(), generations.c.outcome.is_not(None))
"""Ended, and not yet part of `hours`."""

Index("ix_generations_started", generations.c.started)
Index("ix_generations_run", generations.c.run, generations.c.started)
Index("ix_generations_model", generations.c.model, generations.c.started)
Index("ix_generations_call", generations.c.call)
Index("ix_generations_unrolled", generations.c.started, sqlite_where=unrolled, postgresql_where=unrolled)

decisions = Table(
    "decisions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("generation", Text, nullable=False),
    Column("after", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("told", Text, nullable=False),
    Index("ix_decisions_generation", "generation"),
)
"""The writer makes the ids, so that a batch that is written twice is there once."""


def _sums(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("began", BigInteger, primary_key=True, autoincrement=False),
        Column("model", Text, primary_key=True),
        Column("mode", Text, primary_key=True),
        Column("step", Text, primary_key=True),
        Column("outcomes", Text, nullable=False),
        Column("limits", Text, nullable=False),
        Column("tokens", BigInteger, nullable=False),
        Column("elapsed", Float, nullable=False),
        Column("would_have_died", Integer, nullable=False),
        Column("hangs", Integer, nullable=False),
        Column("hang_seconds", Float, nullable=False),
        Column("histograms", Text, nullable=False),
    )


hours = _sums("hours")
"""Sums of what began in one hour (its first second, since the epoch). JSON where keys vary."""

days = _sums("days")
"""The same by day, of UTC: what is in an hour is in its day. A month by hours would take seconds to read."""

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("flow", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("began", Float, nullable=False),
    Column("deadline", Float),
    Column("ended", Float),
    Column("elapsed", Float),
    Column("outcome", Text),
    Column("at_step", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("steps", Text, nullable=False),
    Index("ix_runs_began", "began"),
)
"""One row per run of a workflow. `outcome` is null while it runs, and where its process was killed until it goes on."""

run_steps = Table(
    "run_steps",
    metadata,
    Column("run", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("began", Float),
    Column("ended", Float),
    Column("elapsed", Float),
    Column("timeout", Float),
    Column("outcome", Text),
    Column("attempts", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("broken_limit", Text, nullable=False),
    Column("error", Text, nullable=False),
)
"""How each step of a run stands: of its last life, where it had several."""

run_events = Table(
    "run_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("run", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("told", Text, nullable=False),
    Index("ix_run_events_run", "run", "at"),
)
"""What happened in runs. The writer makes the ids, as of decisions."""

version = Table("hangtight_version", metadata, Column("version_num", String(32), primary_key=True))
"""Not by Alembic's usual name: the journal may stand in the database of a program that has its own there."""
