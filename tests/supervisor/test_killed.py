"""`hangtight serve` with five models up is killed: none is left, none is there twice after the next start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from hangtight.supervisor.orphans import left_over
from tests.supervisor.conftest import NAME
from tests.supervisor.fleets import QUICK, free_ports, quick
from tests.supervisor.kit import is_gone, soon

pytestmark = pytest.mark.real
NAMES = ("a", "b", "c", "d", "e")


class Served:
    """A `hangtight serve` that runs, and what runs under it."""

    def __init__(self, folder: Path, *, waits: bool = True) -> None:
        self.folder = folder
        self.printed = folder / "printed"
        with self.printed.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hangtight", "serve", "--config", str(folder / "hangtight.yaml"), "--port", "0"],
                env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), "HANGTIGHT_JOURNAL": "off"},
                cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        if waits:
            assert soon(lambda: bool(self._address())), self.printed.read_text()
            assert soon(self._all_ready), self.printed.read_text()

    def _address(self) -> str:
        found = re.search(r"hangtight serves at (http://\S+)", self.printed.read_text())
        return found[1] if found else ""

    def running(self) -> list[dict[str, Any]]:
        with urlopen(f"{self._address()}/running", timeout=10) as answer:
            told = json.load(answer)
        return list(told["running"])

    def _all_ready(self) -> bool:
        return [each.get("state") for each in self.running()].count("ready") == len(NAMES)

    @property
    def guard(self) -> int:
        """The one of its children that is no model server."""
        children = psutil.Process(self.process.pid).children()
        (guard,) = [child.pid for child in children if any("guard.py" in word for word in child.cmdline())]
        return guard

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def servers() -> list[int]:
    """The model servers that this test has started, by whomever."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(NAME) == os.environ[NAME] and str(QUICK) in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return [pid for pid in found if not is_gone(pid)]


def records(folder: Path) -> list[Path]:
    return list((folder / "data").rglob("processes-*.json"))


def write(folder: Path, *manners: str, **said: Any) -> None:
    told = {
        "startPort": free_ports(len(NAMES)),
        "models": dict.fromkeys(NAMES, quick(*manners, **said)),
        "groups": {"together": {"members": list(NAMES), "swap": False}},
        "hooks": {"on_startup": {"preload": list(NAMES)}},
    }
    (folder / "hangtight.yaml").write_text(json.dumps(told))


def test_none_is_left_after_a_kill_9_and_none_doubled_after_the_next_start(tmp_path: Path) -> None:
    write(tmp_path)
    with Served(tmp_path) as first:
        before = servers()
        assert len(before) == 5
        first.kill()
    with Served(tmp_path):  # at once: the guard of the first is at work meanwhile
        assert all(map(is_gone, before))
        assert len(servers()) == 5
    assert soon(lambda: not servers())


def test_what_even_the_guard_could_not_end_is_ended_by_the_next_start(tmp_path: Path) -> None:
    write(tmp_path)
    with Served(tmp_path) as first:
        before = servers()
        guard = first.guard
        first.process.send_signal(signal.SIGSTOP)  # else it starts another guard before we have killed it too
        os.kill(guard, signal.SIGKILL)
        first.kill()
    assert sorted(servers()) == sorted(before), "nobody is there who could end them"
    assert len(records(tmp_path)) == 1
    with Served(tmp_path) as again:
        assert all(map(is_gone, before))
        assert len(servers()) == 5
        assert again.printed.read_text().count("left over from an earlier life, ended") == 5
        assert len(records(tmp_path)) == 1, "that of the first is thrown away"
        again.process.send_signal(signal.SIGTERM)
        again.process.wait(15)
        assert servers() == []
        assert records(tmp_path) == []


def test_a_second_signal_at_the_end_kills_what_does_not_end_and_nothing_is_left(tmp_path: Path) -> None:
    write(tmp_path, "deaf", unloadTimeout=600)
    with Served(tmp_path) as served:
        before = servers()
        served.process.send_signal(signal.SIGTERM)
        assert soon(lambda: served.printed.read_text().count("Stopping process") == 5)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(15) == 128 + signal.SIGTERM
        assert all(map(is_gone, before))
        assert records(tmp_path) == []


def test_a_start_that_has_to_end_a_deaf_orphan_says_so_and_hears_a_signal(tmp_path: Path) -> None:
    write(tmp_path, "deaf")
    with Served(tmp_path) as first:
        before = servers()
        os.kill(first.guard, signal.SIGKILL)
        first.kill()
    with Served(tmp_path, waits=False) as again:
        assert soon(lambda: again.printed.read_text().count("ending what an earlier life left: ") == 5)
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(15) == 0
        [folder] = {record.parent for record in records(tmp_path)} or {tmp_path}
        found = {process.pid for process in left_over(folder)}
        ended = [pid for pid in before if pid not in found]
        assert soon(lambda: all(map(is_gone, ended))), "who is not gone is known to the next start"
