"""The text of a file that somebody named or that was found, or one clear end that says why there is none."""

from __future__ import annotations

import stat
from pathlib import Path

from hangtight.rules.errors import unreadable


def text_of(path: Path, file: str, most_bytes: int) -> str:
    """The text of a file that people know as `file`. A named pipe would make us wait: only plain files are opened."""
    try:
        plain = stat.S_ISREG(path.stat().st_mode)
        content = _begin_of(path, most_bytes + 1) if plain else b""
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise unreadable(file, f"cannot be read ({why})", "a file that may be read") from None
    if not plain:
        raise unreadable(file, "this is no plain file", "a settings file")
    if len(content) > most_bytes:
        raise unreadable(file, "is too long", f"a settings file of at most {most_bytes // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unreadable(file, "is not written in UTF-8", "text in UTF-8", line) from None


def _begin_of(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as opened:
        return opened.read(most_bytes)
