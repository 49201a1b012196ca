"""A command of a settings file as the words that are started. No shell reads it."""

from __future__ import annotations

import re
import shlex

COMMENT = re.compile(r"^[^\S\n]*#.*(\n|$)", re.MULTILINE)
GOES_ON = re.compile(r"\\\r?\n")


def without_comments(text: str) -> str:
    """The text without lines that begin with `#`."""
    return COMMENT.sub("", text)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a command that may stand on many lines. Raises ValueError for a quote that is not closed."""
    return tuple(shlex.split(GOES_ON.sub(" ", without_comments(text))))  # shlex would keep the end of the line
