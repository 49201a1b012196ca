"""For all tests: hypothesis searches the same examples each time, and nobody times them; one real model server."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import settings

from tests.realserver.server import LlamaCpp

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def llama_cpp() -> Iterator[LlamaCpp]:
    """llama.cpp's server with a tiny model, idle at first. Skipped where its wheel is not installed."""
    if find_spec("xllamacpp") is None:
        pytest.skip("needs the wheel xllamacpp")
    with LlamaCpp() as server:
        yield server
