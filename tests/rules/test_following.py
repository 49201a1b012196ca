"""Files that change while somebody works with what they said."""

from __future__ import annotations

import logging
import os
import threading
import timeit
from pathlib import Path

import pytest

from hangtight.rules.errors import SettingsErrors
from hangtight.rules.following import Following, following
from hangtight.rules.settings import Settings
from tests.rules.kit import Place, values


def follow(place: Place, config: str | None = None) -> Following:
    return following(config=config, environment=place.environment, folder=place.folder, home=place.home, search=True)


def edit(place: Place, name: str, text: str, after: int = 1) -> Path:
    """Writes a file so that its stamp differs, however coarse the clock of the file system is."""
    path = place.write(name, text)
    stamp = path.stat().st_mtime_ns + after * 1_000_000_000
    os.utime(path, ns=(stamp, stamp))
    return path


def idle(settings: Settings) -> float | None:
    return values(settings)["idle"].value


def test_a_changed_file_is_picked_up_once_a_second_has_passed(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}", 0)
    rules = follow(place)
    assert idle(rules.settings(0)) == 1
    edit(place, "hangtight.yaml", "limits: {idle: 2}")
    assert idle(rules.settings(0.99)) == 1
    assert idle(rules.settings(1)) == 2


def test_settings_are_the_same_object_while_nothing_changes(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    assert len({id(rules.settings(now)) for now in range(100)}) == 1


def test_a_file_that_appears_and_one_that_disappears_are_noticed(place: Place) -> None:
    rules = follow(place)
    assert idle(rules.settings(0)) == 45
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    assert idle(rules.settings(1)) == 1
    edit(place, ".qwencoderules", "default_mode: null\nlimits: {idle: 2}")
    assert idle(rules.settings(2)) == 2
    edit(place, ".env", "HANGTIGHT_IDLE=3")
    assert idle(rules.settings(3)) == 3
    for name in (".qwencoderules", ".env"):
        (place.folder / name).unlink()
    path.unlink()
    assert idle(rules.settings(4)) == 45


def test_a_file_that_is_replaced_by_another_of_the_same_size_and_time_is_noticed(place: Place) -> None:
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    rules.settings(0)
    stamp = path.stat().st_mtime_ns
    other = place.write("new.yaml", "limits: {idle: 2}")
    os.utime(other, ns=(stamp, stamp))
    other.replace(path)
    assert idle(rules.settings(1)) == 2


def test_a_changed_variable_is_noticed(place: Place) -> None:
    rules = follow(place)
    assert idle(rules.settings(0)) == 45
    place.environment["HANGTIGHT_IDLE"] = "7"
    assert idle(rules.settings(1)) == 7
    place.write("other.yaml", "limits: {load: 9}")
    place.environment["HANGTIGHT_CONFIG"] = "other.yaml"
    assert rules.settings(2).files == ("other.yaml",)
    edit(place, "other.yaml", "limits: {load: 8}", 5)
    assert values(rules.settings(3))["load"].value == 8


def test_a_broken_edit_keeps_what_held_and_says_so_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    before = rules.settings(0)
    with caplog.at_level(logging.WARNING, "hangtight.rules"):
        for turn in range(1, 4):
            edit(place, "hangtight.yaml", "limits: {idle: -1}", turn + 1)
            assert rules.settings(turn) is before
        assert len(caplog.records) == 1
        assert str(rules.trouble) in caplog.text
        assert "hangtight.yaml:1: limits.idle = -1" in caplog.text
        edit(place, "hangtight.yaml", "limits: [", 9)
        assert rules.settings(5) is before
        assert len(caplog.records) == 2
        edit(place, "hangtight.yaml", "limits: {idle: 3}", 10)
        assert idle(rules.settings(6)) == 3
    assert rules.trouble is None


def test_a_file_that_is_broken_from_the_start_raises_until_it_is_mended(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: -1}")
    rules = follow(place)
    for now in (0, 0.1):
        with pytest.raises(SettingsErrors):
            rules.settings(now)
    edit(place, "hangtight.yaml", "limits: {idle: 1}", 2)
    assert idle(rules.settings(0.2)) == 1


def test_a_file_that_changes_while_it_is_read_is_read_again(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    turns: list[Settings] = []

    def load() -> Settings:
        settings = place.load()
        if not turns:
            edit(place, "hangtight.yaml", "limits: {idle: 2}", 5)
        turns.append(settings)
        return settings

    rules = Following(load, lambda: [place.folder / "hangtight.yaml"])
    assert idle(rules.settings(0)) == 1
    assert idle(rules.settings(1)) == 2


def test_one_thread_reads_while_the_others_go_on_with_what_they_have(place: Place) -> None:
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    entered, proceed = threading.Event(), threading.Event()
    loads: list[Settings] = []

    def load() -> Settings:
        if loads:
            entered.set()
            assert proceed.wait(20)
        loads.append(Settings())
        return loads[-1]

    rules = Following(load, lambda: [path])
    first = rules.settings(0)
    edit(place, "hangtight.yaml", "limits: {idle: 2}", 5)
    reader = threading.Thread(target=rules.settings, args=(1,))
    reader.start()
    assert entered.wait(20)
    assert rules.settings(2) is first
    proceed.set()
    reader.join(20)
    assert rules.settings(2.5) is loads[1]
    assert len(loads) == 2


def test_many_threads_that_ask_at_first_read_once(place: Place) -> None:
    loads: list[Settings] = []

    def load() -> Settings:
        loads.append(Settings())
        return loads[-1]

    rules = Following(load)
    threads = [threading.Thread(target=rules.settings, args=(0,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(loads) == 1


def test_asking_costs_next_to_nothing_while_nothing_is_due() -> None:
    rules = Following(Settings)
    rules.settings(0)
    best = min(timeit.repeat(lambda: rules.settings(0.5), number=10_000, repeat=5)) / 10_000
    assert best < 5e-6  # a microsecond is the goal; a busy machine may take some
