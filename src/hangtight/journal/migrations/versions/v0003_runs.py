"""Runs of workflows: how each stands, its steps, and what happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("flow", "source", "workspace")),
        sa.Column("began", sa.Float, nullable=False),
        *(sa.Column(name, sa.Float) for name in ("deadline", "ended", "elapsed")),
        sa.Column("outcome", sa.Text),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("at_step", "error", "steps")),
    )
    op.create_index("ix_runs_began", "runs", ["began"])
    op.create_table(
        "run_steps",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("run", "step")),
        *(sa.Column(name, sa.Float) for name in ("began", "ended", "elapsed", "timeout")),
        sa.Column("outcome", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("broken_limit", "error")),
    )
    op.create_table(
        "run_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "step", "payload", "told")),
    )
    op.create_index("ix_run_events_run", "run_events", ["run", "at"])
