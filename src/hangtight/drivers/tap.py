"""A look at the bytes beneath an SDK's stream: pings that the SDK drops, and the end mark that it swallows."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any

END_MARKS = (b"\ndata: [DONE]", b"\ndata:[DONE]")  # a line feed inside of JSON is written otherwise
LONGEST_MARK = 13


class Tapped:
    """What went by."""

    __slots__ = ("contact", "mark_seen", "tail")

    def __init__(self, contact: Callable[[], None]) -> None:
        self.contact = contact
        self.mark_seen = False
        self.tail = b"\n"

    def see(self, data: bytes) -> None:
        self.contact()
        seen = self.tail + data
        if b"[DONE]" in seen and any(mark in seen for mark in END_MARKS):
            self.mark_seen = True
        self.tail = seen[-LONGEST_MARK:]


def tap(response: Any, contact: Callable[[], None]) -> Tapped | None:
    """Look at what `response.stream` reads from now on; None where this is no httpx or httpx2 response."""
    library = sys.modules.get(type(response).__module__.partition(".")[0])
    bases = getattr(library, "SyncByteStream", None), getattr(library, "AsyncByteStream", None)
    if None in bases or getattr(response, "is_stream_consumed", True) or response.headers.get("content-encoding"):
        return None
    kinds = _kinds(library)
    for base, kind in zip(bases, kinds, strict=True):
        if isinstance(response.stream, base):  # type: ignore[arg-type]
            tapped = Tapped(contact)
            response.stream = kind(response.stream, tapped)
            return tapped
    return None


@cache
def _kinds(library: Any) -> tuple[type, type]:
    """A sync and an async stream, of this library's own base classes, that only look."""

    class SyncTap(library.SyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, tapped: Tapped) -> None:
            self.inner, self.tapped = inner, tapped

        def __iter__(self) -> Iterator[bytes]:
            see = self.tapped.see
            for data in self.inner:
                see(data)
                yield data

        def close(self) -> None:
            self.inner.close()

    class AsyncTap(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, tapped: Tapped) -> None:
            self.inner, self.tapped = inner, tapped

        async def __aiter__(self) -> AsyncIterator[bytes]:
            see = self.tapped.see
            async for data in self.inner:
                see(data)
                yield data

        async def aclose(self) -> None:
            await self.inner.aclose()

    return SyncTap, AsyncTap
