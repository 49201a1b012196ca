"""The steps from one version of the journal's tables to the next, as Alembic runs them."""
