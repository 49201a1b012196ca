"""How the place of the journal is written: a path, the address of a database, or one of the words for none."""

from __future__ import annotations

import os
import re
from pathlib import Path

OFF = "off"
WORDS_FOR_OFF = ("off", "none", "no", "false", "0")
SERVER = re.compile(r"^postgres(ql(\+psycopg)?)?://", re.ASCII)
FILE = "sqlite:///"
WANTED = "a path, sqlite:///PATH, postgresql://..., or off"
NO_FILES = ("", ".", "..", "~")


def is_off(text: str) -> bool:
    return text.strip().lower() in WORDS_FOR_OFF


def can_be_a_journal(text: str) -> bool:
    """Whether a journal could stand there, as far as the address itself tells."""
    text = text.strip()
    if is_off(text) or SERVER.match(text):
        return True
    path = text.removeprefix(FILE)
    if "\0" in path or ("://" in path and path == text):
        return False
    return re.split(r"[/\\]" if os.sep == "\\" else "/", path)[-1] not in NO_FILES


def standing_beside(journal: str | None, folder: Path) -> str | None:
    """A path is meant from where it is written; a URL is what it is, and all words for none are `off`."""
    if journal is None or "://" in journal:
        return journal
    return OFF if is_off(journal) else str(folder / os.path.expanduser(journal))
