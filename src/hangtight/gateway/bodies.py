"""Which model a request is for, wherever it says so."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from hangtight.dialects.quick import loader, patient_load

MULTIPART = re.compile(rb'[; ]name="?model"?\r\n(?:[^\r\n]{1,512}\r\n){0,8}\r\n([^\r\n]{1,512})\r\n')
"""Bounded in each of its parts: what searches all the rest for each beginning of it can be kept busy for minutes."""
FORM_SEARCHED = (
    1024 * 1024
)  # bytes of a form in which the name of the model is looked for: it stands before the files, or behind


SMALL = 1024 * 1024  # bytes: what these can become does not matter
MOST_CONTAINERS, MOST_PARTS = 500_000, 2_000_000
"""That a body may have. Each costs some fifty bytes of memory and as many nanoseconds in which nobody else is served;
a megabyte of `{},` is a third of a million, and one of prose, or of tokens as numbers, has less than that of commas."""


def is_too_fine(body: bytes) -> bool:
    """Whether reading this as JSON would take too long: nobody else is served meanwhile, not even by a thread."""
    if len(body) <= SMALL:
        return False
    return body.count(b"{") + body.count(b"[") > MOST_CONTAINERS or body.count(b",") > MOST_PARTS


def parsed(body: bytes, kind: str) -> dict[str, Any] | None:
    """The JSON object that this body is; None for anything else."""
    if not is_object(body, kind):
        return None
    try:
        try:
            found = loader()(body)
        except ValueError:  # the quick reader is strict
            found = patient_load(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_object(body: bytes, kind: str) -> bool:
    """Whether it looks like a JSON object."""
    return not kind.startswith("multipart/") and body.lstrip()[:1] == b"{"


def model_of(found: dict[str, Any] | None, body: bytes, kind: str, query: bytes) -> str:
    """The name of the model; nothing where none is named."""
    if found is not None:
        name = found.get("model", found.get("name"))
        return name if isinstance(name, str) else ""
    if kind.startswith("multipart/"):
        named = MULTIPART.search(body[:FORM_SEARCHED]) or MULTIPART.search(body[-FORM_SEARCHED:])
        return named[1].decode("utf-8", "replace") if named else ""
    asked = parse_qs(query.decode("latin-1")).get("model", [""])
    return asked[0]
