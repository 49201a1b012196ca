"""Sums per hour and per day, and which generations are in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table in ("hours", "days"):
        op.create_table(
            table,
            sa.Column("began", sa.BigInteger, primary_key=True, autoincrement=False),
            *(sa.Column(name, sa.Text, primary_key=True) for name in ("model", "mode", "step")),
            *(sa.Column(name, sa.Text, nullable=False) for name in ("outcomes", "limits")),
            sa.Column("tokens", sa.BigInteger, nullable=False),
            sa.Column("elapsed", sa.Float, nullable=False),
            sa.Column("would_have_died", sa.Integer, nullable=False),
            sa.Column("hangs", sa.Integer, nullable=False),
            sa.Column("hang_seconds", sa.Float, nullable=False),
            sa.Column("histograms", sa.Text, nullable=False),
        )
    op.add_column("generations", sa.Column("rolled", sa.Boolean, nullable=False, server_default=sa.false()))
    waiting = sa.text("rolled = false AND outcome IS NOT NULL")
    if op.get_bind().dialect.name == "sqlite":
        waiting = sa.text("rolled = 0 AND outcome IS NOT NULL")
    op.create_index(
        "ix_generations_unrolled", "generations", ["started"], sqlite_where=waiting, postgresql_where=waiting
    )
