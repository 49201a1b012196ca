"""A real llama.cpp server behind the gateway: eight slots, thirty-two clients."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.gateway.crowd import CLIENTS, SLOTS, Crowd, each_has_an_end, watched
from tests.gateway.kit import Served
from tests.realserver.server import LlamaCpp

pytestmark = pytest.mark.real

DEFERRED = re.compile(r"^llamacpp:requests_deferred (\S+)", re.MULTILINE)
SETTINGS = """\
models:
  tiny:
    proxy: {url}
    concurrencyLimit: {slots}
    queue: {clients}
"""


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaCpp]:
    """The server that the other tests share has a single slot."""
    if find_spec("xllamacpp") is None:
        pytest.skip("needs the wheel xllamacpp")
    with LlamaCpp(SLOTS) as server:
        yield server


@pytest.fixture(scope="module")
def served(llama: LlamaCpp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = SETTINGS.format(url=llama.url, slots=SLOTS, clients=CLIENTS)
    with Served(tmp_path_factory.mktemp("served"), settings) as served:
        yield served


def deferred(llama: LlamaCpp) -> int:
    """How many wait inside of the server."""
    with urllib.request.urlopen(f"{llama.url}/metrics", timeout=30) as answer:
        found = DEFERRED.search(answer.read().decode())
    assert found is not None
    return round(float(found[1]))


def test_of_32_clients_at_8_slots_each_has_its_end_and_the_slots_are_free_afterwards(
    served: Served, llama: LlamaCpp
) -> None:
    llama.wait_idle()
    with watched(llama.busy) as busy, watched(lambda: deferred(llama)) as waiting:
        each_has_an_end(served, Crowd(served.url, "tiny", tokens=300, total=1.5))
    llama.wait_idle()
    assert max(busy) == SLOTS
    assert set(waiting) == {0}, "who waits, waits with us"
