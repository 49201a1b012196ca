"""Lines for a stdout that may be read slowly, or by nobody."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hangtight.cli.writing import MOST, Writer

pytestmark = pytest.mark.real


@contextmanager
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BufferedReader]:
    """What is written to stdout. It holds 64 KiB or so that nobody has read."""
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        yield reader


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_keeps_a_bounded_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    last = b"\nthe last line\n"
    with pipe(monkeypatch) as reader:
        writer = Writer()
        for _ in range(3 * MOST // 1024):
            writer.write(b"x" * 1024)
        taken = b""
        while last not in taken:  # it is lost as long as there is no room for it
            taken += reader.read1()
            writer.write(last)
        writer.close()
    assert len(taken) < 3 * MOST


def test_what_waits_is_written_before_the_end_and_nothing_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe(monkeypatch) as reader:
        writer = Writer()
        writer.write(b"one\n")
        writer.write(b"two\n")
        writer.close()
        writer.write(b"three\n")
        sys.stdout.close()
        assert reader.read() == b"one\ntwo\n"


def test_without_a_line_there_is_no_thread() -> None:
    before = threading.active_count()
    Writer().close()
    assert threading.active_count() == before
