"""Runs that survive us: kept by DBOS, on SQLite or PostgreSQL."""
