"""Each test ends what it started, also when it failed: all of it bears a name of the test's own in its environment."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.supervisor.kit import NAMELESS

if sys.platform == "win32":  # what there is for Windows was never run: see the page on platforms
    collect_ignore_glob = ["test_*.py"]

NAME = "HANGTIGHT_TESTED_BY"
NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True)
def _ends_what_it_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    own = f"{os.getpid()}.{next(NUMBERS)}"
    monkeypatch.setenv(NAME, own)
    yield
    for process in [*psutil.process_iter(), *NAMELESS]:
        try:
            if process in NAMELESS or (process.pid != os.getpid() and process.environ().get(NAME) == own):
                process.kill()
        except psutil.Error:
            continue
    NAMELESS.clear()
