"""Alembic looks here for the database: it is given the connection that holds the lock."""

from __future__ import annotations

from alembic import context

from hangtight.journal import tables

context.configure(connection=context.config.attributes["connection"], version_table=tables.version.name)
with context.begin_transaction():
    context.run_migrations()
