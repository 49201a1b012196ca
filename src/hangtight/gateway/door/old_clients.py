"""Answers for clients of HTTP/1.0, which know no chunks: without a length they end where the connection does.

uvicorn sends chunks to them all the same. nginx speaks HTTP/1.0 to what stands behind it, unless told otherwise.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

HTTP_1_0 = "1.0"
BODILESS = (204, 304)
FRAMED = frozenset((b"content-length", b"transfer-encoding", b"connection"))


def without_chunks(app: ASGI3Application, cycle: RequestResponseCycle) -> ASGI3Application:
    """The same app, for one request of such a client."""

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, cast("Any", Plain(cycle, send).send))

    return plain


class Plain:
    """What an app sends, with its length where it says one; else until the connection ends."""

    def __init__(self, cycle: RequestResponseCycle, send: Any) -> None:
        self._cycle = cycle
        self._send = send
        self._to_the_end = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            measured = any(name.lower() == b"content-length" for name, _ in message["headers"])
            self._to_the_end = not measured and message["status"] not in BODILESS
            if self._to_the_end:
                self._begin(message)
                return
        if not self._to_the_end:
            await self._send(message)
        else:
            await self._go_on(message)

    def _begin(self, message: MutableMapping[str, Any]) -> None:
        cycle = self._cycle
        headers = [*cycle.default_headers, *(pair for pair in message["headers"] if pair[0].lower() not in FRAMED)]
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        cycle.response_started = True
        cycle.keep_alive = False
        if not cycle.disconnected:
            cycle.transport.write(b"".join([STATUS_LINE[message["status"]], *lines, b"connection: close\r\n\r\n"]))

    async def _go_on(self, message: MutableMapping[str, Any]) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected or cycle.response_complete:
            return
        if cycle.scope["method"] != "HEAD":
            cycle.transport.write(message.get("body", b""))
        if not message.get("more_body", False):
            cycle.response_complete = True
            cycle.message_event.set()
            cycle.transport.close()
            cycle.on_response()
