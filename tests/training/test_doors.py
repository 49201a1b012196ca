"""The names of the room come out as themselves, whichever is asked for first."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

ROOMS = ("hangtight", "hangtight.flows", "hangtight.testing", "hangtight.training")
ORDERS = """
import sys, types
from itertools import permutations
from importlib import import_module
import hangtight.training
names = [name for name in hangtight.training.__all__ if {torch} or name != "EvalSamples"]
for first, second in permutations(names, 2):
    for module in [each for each in sys.modules if each.startswith("hangtight.training")]:
        del sys.modules[module]
    room = import_module("hangtight.training")
    for name in (first, second, first):
        found = getattr(room, name)
        assert not isinstance(found, types.ModuleType), (first, second, name)
        assert found.__name__ == name, (first, second, found)
print("all")
"""


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_of_a_room_bears_a_name_of_its_door(room: str) -> None:
    door = import_module(room)
    modules = {each.name for each in iter_modules(door.__path__)}
    as_meant = {name for name in modules if door._WHERE.get(name) == name and room == "hangtight"}
    assert modules & set(door._WHERE) == as_meant


def in_any_order(torch: bool) -> str:
    script = ORDERS.replace("{torch}", str(torch))
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


def test_two_names_come_out_the_same_in_any_order() -> None:
    assert in_any_order(torch=False).strip() == "all"


@pytest.mark.torch
def test_two_names_come_out_the_same_in_any_order_also_the_one_that_needs_torch() -> None:
    pytest.importorskip("transformers")
    assert in_any_order(torch=True).strip() == "all"
