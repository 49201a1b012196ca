"""The body of a request on its way: as long as the server takes it, that is no silence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Content, PrefillProgress
from hangtight.core.phases import Phase

if TYPE_CHECKING:
    from hangtight.drivers.session import Session

PIECE = 64 * 1024


def taken(session: Session) -> None:
    """The server has taken what was sent before this piece."""
    session.note(Content() if session.machine.phase is Phase.UNSTREAMED else PrefillProgress())


@cache
def sending_kind(lib: Any) -> Callable[[Any, Session], Any]:
    """A body of this library's own base classes, handed out in pieces that are soon sent."""

    class Sending(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, session: Session) -> None:
            self.inner, self.session = inner, session

        def __iter__(self) -> Iterator[bytes]:
            for data in self.inner:
                yield from self._pieces(data)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in self.inner:
                for piece in self._pieces(data):
                    yield piece

        def _pieces(self, data: bytes) -> Iterator[bytes]:
            if len(data) <= PIECE:
                yield data
                return
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE]
                taken(self.session)

        def close(self) -> None:
            self.inner.close()

        async def aclose(self) -> None:
            await self.inner.aclose()

    return Sending
