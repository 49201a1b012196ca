"""One token, asked for after a start and after each wake: a model that slept may answer, and have lost its mind.

Its weights were moved or read again, so that a wrong one gives another token to the same question. The question has
one answer that all models agree on, and no randomness is allowed in it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hangtight.supervisor.errands import JSON, answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hangtight.rules.running import Running

COUNTING = "1, 2, 3, 4, 5, 6, 7,"
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", {"prompt": COUNTING}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": f"Go on: {COUNTING}"}]}),
)
"""The plain one first: there one token is one token, and no template or parser of thoughts swallows it."""
NOT_HERE = (400, 404, 405, 422, 501)
"""A server that answers so may know the other way."""
NOT_YET = (0, 503)
OK = 200
AGAIN = 0.25  # seconds
TEXTS = ("text", "content", "reasoning_content", "reasoning")
REPLACEMENT = "\ufffd"
SHOWN = 40  # characters of an answer in a line of the log


class Canary:
    """Of one model server: what it answered after its start, and whether it still does."""

    def __init__(self) -> None:
        self._way = 0
        self._remembered: str | None = None

    async def remember(self, running: Running) -> str:
        """Ask a server that has just started, as soon as it takes requests. Why it has no answer; empty if it has."""
        self._remembered = None
        self._way = 0
        while True:
            status, said = await self._asked(running)
            if status in NOT_YET:
                await asyncio.sleep(AGAIN)
            elif status in NOT_HERE and self._way + 1 < len(WAYS):
                self._way += 1
            else:
                break
        if status != OK:
            return said
        self._remembered = said
        return ""

    async def trouble(self, running: Running) -> str:
        """Ask one that was woken. Why it is not what it was; empty if all is well."""
        status, said = await self._asked(running)
        return said if status != OK else strange(said, self._remembered)

    async def _asked(self, running: Running) -> tuple[int, str]:
        """The status with the text, or with what is wrong."""
        path, question = WAYS[self._way]
        name = running.asked_as or running.name
        body = {"model": name, "max_tokens": 1, "temperature": 0, "stream": False, **question}
        url = (running.proxy or "").rstrip("/") + path
        try:
            status, said = await answer("POST", url, {**JSON, **dict(running.headers)}, json.dumps(body).encode())
        except OSError as error:
            return 0, f"no answer: {error}"
        if status != OK:
            return status, f"{path} was answered {status}"
        text = text_of(said)
        return (
            (status, text) if text is not None else (-1, f"{path} was answered with an error, or with no answer at all")
        )


def text_of(body: bytes) -> str | None:
    """The text in an answer of OpenAI's API; None where there is none, or an error with a status of 200."""
    try:
        choice = json.loads(body)["choices"][0]
        return "".join(_texts(choice)) if isinstance(choice, dict) else None
    except (ValueError, TypeError, LookupError):
        return None


def _texts(choice: dict[str, Any]) -> Iterator[str]:
    message = choice.get("message")
    for place in (choice, message if isinstance(message, dict) else {}):
        yield from (place[key] for key in TEXTS if isinstance(place.get(key), str))


def strange(said: str, remembered: str | None) -> str:
    """Why this is no sound answer; empty if it may be one. What it said when it was sound is always sound."""
    if said == remembered:
        return ""
    if not said:
        return "answered nothing"
    if REPLACEMENT in said:
        return f"answered with characters that are none: {said[:SHOWN]!r}"
    if len(said) > 1 and len(set(said)) == 1:
        return f"answered one character again and again: {said[:SHOWN]!r}"
    return "" if remembered is None else f"answered {said[:SHOWN]!r}, and after its start {remembered[:SHOWN]!r}"
