"""Generations, and the time decisions about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "generations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("model", "mode", "run", "step", "host")),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("counted_prompt", sa.Integer),
        sa.Column("counted_answer", sa.Integer),
        sa.Column("tokens", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Float) for name in ("first_token", "longest_gap", "elapsed")),
        sa.Column("outcome", sa.Text),
        sa.Column("broken_limit", sa.Text, nullable=False),
        sa.Column("waited", sa.Float),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("source", "error")),
        sa.Column("budget_left", sa.Float),
        sa.Column("limits", sa.Text, nullable=False),
    )
    op.create_index("ix_generations_started", "generations", ["started"])
    op.create_index("ix_generations_run", "generations", ["run", "started"])
    op.create_index("ix_generations_model", "generations", ["model", "started"])
    op.create_index("ix_generations_call", "generations", ["call"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("generation", sa.Text, nullable=False),
        sa.Column("after", sa.Float, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
    )
    op.create_index("ix_decisions_generation", "decisions", ["generation"])
