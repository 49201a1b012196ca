"""For all tests: hypothesis searches the same examples each time, and nobody times them; one real model server.

No test touches the folders of whoever runs it: no journal is kept unless a test asks for one, and no settings are
found but those that it wrote.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import settings

from hangtight.drivers.standing import STANDING
from tests.realserver.server import LlamaCpp

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Who runs the tests in the background has Ctrl-C ignored, and what they start would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def llama_cpp() -> Iterator[LlamaCpp]:
    """llama.cpp's server with a tiny model, idle at first. Skipped where its wheel is not installed."""
    if find_spec("xllamacpp") is None:
        pytest.skip("needs the wheel xllamacpp")
    with LlamaCpp() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _nobodys_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For this process and all that it starts."""
    home = tmp_path_factory.mktemp("nobody")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("HANGTIGHT_", "OLLAMA_HEARTBEAT"))]:
            patch.delenv(name)
        patch.setenv("HANGTIGHT_JOURNAL", "off")
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        yield


@pytest.fixture(autouse=True)
def _as_a_process_begins() -> Iterator[None]:
    """What a test configured, or had recorded, holds for no other."""
    yield
    keeping = STANDING._recorder
    if STANDING._keeps or keeping is not None:
        if keeping is not None:
            keeping.close()
        STANDING.reset()
