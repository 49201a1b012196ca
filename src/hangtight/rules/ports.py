"""The ports that models were given by the reading before this one: who runs keeps its port when another one joins."""

from __future__ import annotations

from contextvars import ContextVar

PORTS: ContextVar[dict[str, int]] = ContextVar("hangtight-ports")
"""By model. The reading puts its own in their place."""
