"""For all tests: hypothesis searches the same examples each time, and nobody times them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")
