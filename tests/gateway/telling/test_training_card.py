"""The status files of training runs: found, named, missing and broken, and never an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hangtight.gateway.telling.training_card import LARGEST
from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at

pytestmark = pytest.mark.real

STATUS = {"current_step": 2500, "total_steps": 5000, "loss": 0.7, "doing": "training", "timeouts": {"count": 1}}


def cards(served: Served) -> Any:
    return served.get("/hangtight/training")["cards"]


def test_the_usual_file_is_found_without_being_named(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url)) as served:
        assert cards(served) == [], "there is none"
        (tmp_path / "status").mkdir()
        (tmp_path / "status" / "training_status.json").write_text(json.dumps(STATUS))
        [card] = cards(served)
    assert card.items() >= STATUS.items()
    assert card["path"] == "status/training_status.json"
    assert 0 <= card["fresh"] < 60


def test_each_that_is_named_is_told_with_what_is_wrong_with_it(lab: Lab, tmp_path: Path) -> None:
    files = {
        "well.json": json.dumps({**STATUS, "path": "elsewhere", "fresh": -1}).encode(),
        "endless.json": b'{"loss": NaN, "eta": Infinity}',
        "half.json": b'{"current_step": 2',
        "list.json": b"[1]",
        "deep.json": b"[" * 100_000,
        "binary.json": b"\xff\xfe\x00",
        "huge.json": b'{"a": "' + b"x" * LARGEST + b'"}',
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.json").mkdir()
    names = [*files, "gone.json", "folder.json"]
    with Served(tmp_path, f"training: {json.dumps(names)}\n{all_at(lab.url)}") as served:
        told = {card["path"]: card for card in cards(served)}
    assert list(told) == names
    assert told["well.json"]["current_step"] == 2500
    assert told["well.json"]["fresh"] >= 0
    assert (told["endless.json"]["loss"], told["endless.json"]["eta"]) == (None, None)
    broken = [name for name, card in told.items() if "trouble" in card]
    assert broken == ["half.json", "list.json", "deep.json", "binary.json", "huge.json", "gone.json", "folder.json"]
    assert told["gone.json"]["fresh"] is None
    assert all(set(told[name]) == {"path", "fresh", "trouble"} for name in broken)


def test_where_none_is_wanted_none_is_looked_for(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "training_status.json").write_text(json.dumps(STATUS))
    with Served(tmp_path, f"training: []\n{all_at(lab.url)}") as served:
        assert cards(served) == []
