"""Processes that are killed, that fork, that end, that run into walls, and that write at the same time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hangtight.journal.reading import Reading
from tests.journal.kit import asked, child, count, said

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX only"),
    pytest.mark.timeout(200),  # a dozen processes that each load all of SQLAlchemy
]


def sound(url: str) -> bool:
    if "://" in url:
        return True
    return bool(asked(url, lambda connection: connection.exec_driver_sql("PRAGMA integrity_check").scalar()) == "ok")


def test_killed_amid_200_generations_it_has_lost_a_second_at_most(url: str) -> None:
    """Each line names the entry that was put at that time; the last second before the kill may be missing."""
    process = child(
        """
recorder = Recorder(sys.argv[1], wall=time.time)
ids = [recorder.new_id() for _ in range(200)]
for id in ids: recorder.put(begun(id, time.time()))
turn = 0
while True:
    for at, id in enumerate(ids):
        if at % 10 == turn % 10:
            recorder.put(Noted(id, float(turn), Kind.REMARK, "on"))
        if at % 20 == turn % 20:
            recorder.put(ended(id, 1.0))
            ids[at] = recorder.new_id()
            recorder.put(begun(ids[at], time.time()))
            print(time.monotonic(), id, flush=True)
    turn += 1
    time.sleep(0.08)
""",
        url,
    )
    assert process.stdout is not None
    lines: list[tuple[float, str]] = []
    while not lines or lines[-1][0] - lines[0][0] < 4.0:
        at, key = process.stdout.readline().split()
        lines.append((float(at), key))
    process.send_signal(signal.SIGKILL)
    rest = [line for line in process.stdout if line.endswith("\n")]
    process.communicate(timeout=30)
    lines += [(float(at), key) for at, key in map(str.split, rest)]
    assert sound(url)
    rows = {row.id: row for row in Reading(url).calls(limit=1_000_000)}
    before = [key for at, key in lines if at < lines[-1][0] - 1.0]
    assert len(before) > 200
    assert all(rows[key].outcome == "finished" for key in before)
    assert sum(row.outcome is None for row in rows.values()) >= 150


def test_a_process_that_ends_writes_what_it_has_and_does_not_wait_long(url: str) -> None:
    said(child('r = Recorder(sys.argv[1], wall=time.time); put(r, whole("aa"))', url))
    assert count(url) == 1
    before = os.times().elapsed
    script = 'r = Recorder(sys.argv[1], wall=time.time); put(r, whole("bb")); print(r.flush(0.2))'
    assert said(child(script, str(Path(__file__).parent))) == "False"
    assert os.times().elapsed - before < 20


def test_processes_that_are_over_at_once_all_leave_their_row(tmp_path: Path) -> None:
    """The journal is not there yet, and each has to load all of SQLAlchemy."""
    path = str(tmp_path / "journal.db")
    script = "put(Recorder(sys.argv[1], wall=time.time), whole(sys.argv[2]))"
    for process in [child(script, path, f"a{at}") for at in range(12)]:
        said(process)
    assert count(path) == 12


def test_the_end_waits_while_it_is_opened_and_no_longer_once_something_is_wrong(tmp_path: Path) -> None:
    script = """
from hangtight.journal import writing
opening = writing.Writer._open
def slowly(writer):
    time.sleep(3.0)
    if sys.argv[2] == "broken": raise OSError("broken")
    opening(writer)
writing.Writer._open = slowly
recorder = Recorder(sys.argv[1], wall=time.time)
put(recorder, whole("aa"))
print(recorder.leave(), recorder.trouble is None)
"""
    path = str(tmp_path / "journal.db")
    assert said(child(script, path, "broken")) == "False False"
    assert said(child(script, path, "sound")) == "True True"
    assert count(path) == 1


def test_a_journal_can_be_read_where_nothing_more_can_be_written(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    said(child('put(Recorder(sys.argv[1], wall=time.time), whole("aa"))', path))
    script = """
import resource
from hangtight.journal.reading import Reading
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
print([row.id for row in Reading(sys.argv[1]).calls()])
"""
    assert said(child(script, path)) == "['aa']"


def test_a_forked_child_has_a_thread_and_a_connection_of_its_own(url: str) -> None:
    script = """
recorder = Recorder(sys.argv[1], wall=time.time)
recorder.put(begun("aa"))
assert recorder.flush(20)
recorder.put(begun("bb"))
children = []
for at in range(4):
    pid = os.fork()
    if not pid:
        put(recorder, whole(f"c{at}") + [ended("aa", 9.0)])
        os._exit(0 if recorder.flush(20) else 1)
    children.append(pid)
recorder.put(ended("bb"))
codes = [os.waitpid(pid, 0)[1] for pid in children]
assert recorder.flush(20)
print(codes, recorder.new_id() != recorder.new_id())
"""
    assert said(child("import warnings; warnings.simplefilter('ignore')\n" + script, url)) == "[0, 0, 0, 0] True"
    rows = {row.id: row for row in Reading(url).calls()}
    assert sorted(rows) == ["aa", "bb", "c0", "c1", "c2", "c3"]
    assert {row.outcome for row in rows.values()} == {"finished"}
    assert sound(url)


def test_a_child_that_ends_like_a_program_leaves_the_parents_connection_alone(url: str) -> None:
    script = """
recorder = Recorder(sys.argv[1], wall=time.time)
for turn in range(5):
    put(recorder, whole(f"a{turn}"))
    assert recorder.flush(20)
    pid = os.fork()
    if not pid:
        put(recorder, whole(f"c{turn}"))
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert recorder.trouble is None
"""
    said(child("import warnings; warnings.simplefilter('ignore')\n" + script, url))
    assert count(url) == 10
    assert sound(url)


def test_two_processes_and_more_make_and_write_one_journal(url: str) -> None:
    script = """
sys.stdin.readline()
recorder = Recorder(sys.argv[1], wall=time.time)
for at in range(300):
    put(recorder, whole(f"{sys.argv[2]}{at:04x}"))
    if not at % 30: assert recorder.flush(30), recorder.trouble
assert recorder.flush(30), recorder.trouble
print(recorder.lost)
"""
    processes = [child(script, url, letter, stdin=subprocess.PIPE) for letter in "abc"]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [said(process) for process in processes] == ["0"] * 3
    assert count(url) == 900
    assert sound(url)


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that everybody may look into: those of pytest are the user's alone."""
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.chmod(folder, 0o755)


def test_a_journal_that_may_only_be_read_is_trouble_and_no_more(readable: Path) -> None:
    """Root may write everywhere, so the child is nobody in particular."""
    path = readable / "journal.db"
    said(child('r = Recorder(sys.argv[1], wall=time.time); put(r, whole("aa"))', str(path)))
    path.chmod(0o444)
    readable.chmod(0o555)
    script = """
from hangtight.journal import writing
from hangtight.journal.reading import Reading
if not os.getuid(): os.setgid(65534), os.setuid(65534)
recorder = Recorder(sys.argv[1], wall=time.time)
put(recorder, whole("bb"))
print(recorder.flush(1.0), recorder.trouble is not None, recorder.lost, recorder.close(0.1))
print([row.id for row in Reading(sys.argv[1]).calls()])
"""
    assert said(child(script, str(path))).splitlines() == ["False True 0 False", "['aa']"]
    assert count(str(path)) == 1


def test_a_file_that_may_not_grow_is_waited_for_and_stays_sound(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    script = """
import resource
recorder = Recorder(sys.argv[1], wall=time.time)
put(recorder, whole("aa"))
assert recorder.flush(20)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
entries = [entry for at in range(2000) for entry in whole(f"b{at:04x}")]
put(recorder, entries)
print(recorder.flush(2.0), recorder.trouble is not None)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(recorder.flush(20), recorder.trouble, recorder.lost)
"""
    assert said(child(script, path)).splitlines() == ["False True", "True None 0"]
    assert count(path) == 2001
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (2001,)
    connection.close()
    assert sound(path)
