"""Settings and a journal for one test, as a program has them that called `hangtight.configure`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hangtight
from hangtight.drivers.standing import STANDING
from hangtight.journal.reading import Reading

WRITTEN = 20.0  # seconds that a journal may take to be written, on a busy machine


@contextmanager
def project(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Iterator[Path]:
    """A working folder with these files (`qwencoderules`, `hangtight_yaml`, `env`), configured, its journal inside."""
    names = {"qwencoderules": ".qwencoderules", "hangtight_yaml": "hangtight.yaml", "env": ".env"}
    for name, text in files.items():
        (folder / names[name]).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    try:
        hangtight.configure(journal=folder / "journal.db")
        yield folder
    finally:
        recorder = STANDING.recorder()
        if recorder is not None:
            recorder.close(WRITTEN)
        STANDING.reset()


def read() -> Reading:
    """What has been written so far, all of it."""
    recorder = STANDING.recorder()
    assert recorder is not None
    assert recorder.flush(WRITTEN), recorder.trouble
    return Reading(recorder.url)
