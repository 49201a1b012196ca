"""Requests to a model's own server that put it to sleep or wake it: sleepEndpoints, wakeEndpoints."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hangtight.core.time import Seconds, spoken
from hangtight.drivers import http11

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hangtight.rules.running import Errand

MOST_KEPT = 64 * 1024
TAIL = 1024  # characters of an answer that says why
JSON = {"content-type": "application/json"}


async def run_errands(base: str, errands: Iterable[Errand], headers: Mapping[str, str]) -> str:
    """Send them, each when the one before it is answered. Why one failed, which is the last then; empty if none did.

    One without a limit of its own is waited for without end: who calls this decides how long.
    """
    for errand in errands:
        if why := await _failure(base, errand, headers):
            return f"{errand.method} {errand.path} {why}"
    return ""


async def _failure(base: str, errand: Errand, headers: Mapping[str, str]) -> str:
    body = None if errand.method == "GET" and not errand.body else errand.body.encode()
    sent = {**(JSON if errand.body else {}), **headers}
    try:
        async with asyncio.timeout(errand.seconds) as limit:
            status, said = await answer(errand.method, base.rstrip("/") + errand.path, sent, body)
    except TimeoutError as late:
        if limit.expired() and errand.seconds is not None:
            return f"timed out after {spoken(Seconds(errand.seconds))}"
        return f"failed: {late}"
    except OSError as error:
        return f"failed: {error}"
    if 200 <= status < 300:
        return ""
    tail = said.decode("utf-8", "replace")[-TAIL:].strip()
    return f"was answered {status}; it said last:\n{tail}" if tail else f"was answered {status}"


async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
    """The status, and the body to its end: some servers do what they were asked while they answer. Raises OSError."""
    async with http11.request(method, url, headers=headers, body=body) as response:
        kept = bytearray()
        async for piece in response:
            kept += piece[: MOST_KEPT - len(kept)]
        return response.status, bytes(kept)
