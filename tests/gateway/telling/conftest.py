"""A gateway for a whole file of tests, with models that misbehave as their names say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def served(lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the SETTINGS of the file that asks for it."""
    settings = request.module.SETTINGS + all_at(lab.url)
    with Served(tmp_path_factory.mktemp("served"), settings, "--drain", "0.2") as served:
        yield served
