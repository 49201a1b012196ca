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


def at(rules: Following, now: float) -> Settings:
    """What holds when that which was noticed at this instant has been read."""
    rules.settings(now)
    assert rules.settle(20)
    return rules.settings(now)


def idle(settings: Settings) -> float | None:
    return values(settings)["idle"].value


def test_a_changed_file_is_picked_up_once_a_second_has_passed(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}", 0)
    rules = follow(place)
    assert idle(at(rules, 0)) == 1
    edit(place, "hangtight.yaml", "limits: {idle: 2}")
    assert idle(at(rules, 0.99)) == 1
    assert idle(at(rules, 1)) == 2


def test_settings_are_the_same_object_while_nothing_changes(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    assert len({id(rules.settings(now)) for now in range(100)}) == 1


def test_a_file_that_appears_and_one_that_disappears_are_noticed(place: Place) -> None:
    rules = follow(place)
    assert idle(at(rules, 0)) == 45
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    assert idle(at(rules, 1)) == 1
    edit(place, ".qwencoderules", "default_mode: null\nlimits: {idle: 2}")
    assert idle(at(rules, 2)) == 2
    edit(place, ".env", "HANGTIGHT_IDLE=3")
    assert idle(at(rules, 3)) == 3
    for name in (".qwencoderules", ".env"):
        (place.folder / name).unlink()
    path.unlink()
    assert idle(at(rules, 4)) == 45


def test_a_file_that_is_replaced_by_another_of_the_same_size_and_time_is_noticed(place: Place) -> None:
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    at(rules, 0)
    stamp = path.stat().st_mtime_ns
    other = place.write("new.yaml", "limits: {idle: 2}")
    os.utime(other, ns=(stamp, stamp))
    other.replace(path)
    assert idle(at(rules, 1)) == 2


def test_a_changed_variable_is_noticed(place: Place) -> None:
    rules = follow(place)
    assert idle(at(rules, 0)) == 45
    place.environment["HANGTIGHT_IDLE"] = "7"
    assert idle(at(rules, 1)) == 7
    place.write("other.yaml", "limits: {load: 9}")
    place.environment["HANGTIGHT_CONFIG"] = "other.yaml"
    assert at(rules, 2).files == ("other.yaml",)
    edit(place, "other.yaml", "limits: {load: 8}", 5)
    assert values(at(rules, 3))["load"].value == 8


def test_a_broken_edit_keeps_what_held_and_says_so_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    before = at(rules, 0)
    with caplog.at_level(logging.WARNING, "hangtight.rules"):
        for turn in range(1, 4):
            edit(place, "hangtight.yaml", "limits: {idle: -1}", turn + 1)
            assert at(rules, turn) is before
        assert len(caplog.records) == 1
        assert str(rules.trouble) in caplog.text
        assert "hangtight.yaml:1: limits.idle = -1" in caplog.text
        edit(place, "hangtight.yaml", "limits: [", 9)
        assert at(rules, 5) is before
        assert len(caplog.records) == 2
        edit(place, "hangtight.yaml", "limits: {idle: 3}", 10)
        assert idle(at(rules, 6)) == 3
    assert rules.trouble is None


def test_a_file_that_is_broken_from_the_start_raises_until_it_is_mended(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: -1}")
    rules = follow(place)
    for now in (0, 0.1):
        with pytest.raises(SettingsErrors):
            rules.settings(now)
    edit(place, "hangtight.yaml", "limits: {idle: 1}", 2)
    assert idle(at(rules, 0.2)) == 1


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
    assert idle(at(rules, 0)) == 1
    assert idle(at(rules, 1)) == 2


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
    first = at(rules, 0)
    edit(place, "hangtight.yaml", "limits: {idle: 2}", 5)
    reader = threading.Thread(target=rules.settings, args=(1,))
    reader.start()
    assert entered.wait(20)
    assert rules.settings(2) is first
    assert not rules.settle(0.01)
    proceed.set()
    reader.join(20)
    assert rules.settle(20)
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
    at(rules, 0)
    best = min(timeit.repeat(lambda: at(rules, 0.5), number=10_000, repeat=5)) / 10_000
    assert best < 5e-6  # a microsecond is the goal; a busy machine may take some


def test_who_asks_does_not_wait_for_a_reading(place: Place) -> None:
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    proceed, readers = threading.Event(), []

    def load() -> Settings:
        readers.append(threading.current_thread())
        assert len(readers) == 1 or proceed.wait(20)
        return Settings()

    rules = Following(load, lambda: [path])
    first = rules.settings(0)
    edit(place, "hangtight.yaml", "limits: {idle: 2}", 5)
    assert [rules.settings(now) for now in range(1, 9)] == [first] * 8
    proceed.set()
    assert rules.settle(20)
    assert rules.settings(9) is not first
    assert [reader is threading.current_thread() for reader in readers] == [True, False]
    assert readers[1].daemon


def test_a_file_that_is_empty_for_a_moment_is_about_to_be_written(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    first = at(rules, 0)
    edit(place, "hangtight.yaml", "", 2)
    assert at(rules, 1) is first
    edit(place, "hangtight.yaml", "limits: {idle: 2}", 3)
    assert idle(at(rules, 2)) == 2


def test_a_file_that_stays_empty_is_empty(place: Place) -> None:
    edit(place, "hangtight.yaml", "limits: {idle: 1}")
    rules = follow(place)
    first = at(rules, 0)
    edit(place, "hangtight.yaml", "", 2)
    assert at(rules, 1) is first
    assert idle(at(rules, 2)) == 45
    edit(place, "hangtight.yaml", "limits: {idle: 3}", 4)
    assert idle(at(rules, 3)) == 3


def test_a_file_that_is_emptied_while_it_is_read_is_not_taken_for_empty(place: Place) -> None:
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    turns: list[int] = []

    def load() -> Settings:
        turns.append(1)
        if len(turns) == 2:
            edit(place, "hangtight.yaml", "", 5)
        return place.load()

    rules = Following(load, lambda: [path])
    first = at(rules, 0)
    edit(place, "hangtight.yaml", "limits: {idle: 2}", 2)
    assert at(rules, 1) is first
    edit(place, "hangtight.yaml", "limits: {idle: 3}", 6)
    assert idle(at(rules, 2)) == 3


def test_a_reader_that_breaks_is_told_and_keeps_what_held(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    path = edit(place, "hangtight.yaml", "limits: {idle: 1}")
    turns: list[int] = []

    def load() -> Settings:
        turns.append(1)
        if len(turns) > 1:
            raise ZeroDivisionError("odd")
        return Settings()

    rules = Following(load, lambda: [path])
    first = at(rules, 0)
    edit(place, "hangtight.yaml", "limits: {idle: 2}", 2)
    assert at(rules, 1) is first
    assert rules.trouble == "ZeroDivisionError: odd"
    assert "ZeroDivisionError" in caplog.text


def run(*names: str) -> str:
    """A file in which these are run, each at a port that it is given."""
    return "models:\n" + "".join(f"  {name}: {{cmd: 'serve --port ${{PORT}}'}}\n" for name in names)


def test_a_model_keeps_its_port_when_another_one_joins_it(place: Place) -> None:
    edit(place, "hangtight.yaml", run("b", "c"), 0)
    rules = follow(place)
    before = at(rules, 0).runs
    edit(place, "hangtight.yaml", run("a", "b", "c"))
    joined = at(rules, 1).runs
    assert {name: joined[name] for name in before} == dict(before)
    assert len({running.proxy for running in joined.values()}) == 3
    edit(place, "hangtight.yaml", run("a", "c"), 2)
    at(rules, 2)
    edit(place, "hangtight.yaml", run("a", "c", "d", "b"), 3)
    last = at(rules, 3).runs
    assert (last["a"], last["c"]) == (joined["a"], joined["c"])
    assert len({running.proxy for running in last.values()}) == 4
