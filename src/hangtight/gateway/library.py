"""Requests and answers in the few words that `drivers/http` needs of an HTTP library: the gateway is one, too.

So a request that comes through the gateway takes the same course as one of our transport beneath an SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from hangtight.drivers.http11 import Address

Raw = list[tuple[bytes, bytes]]


class URL:
    """Where a request goes."""

    __slots__ = ("address", "path")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.path = address.target.partition("?")[0]

    @property
    def scheme(self) -> str:
        return "https" if self.address.tls else "http"

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def port(self) -> int | None:
        return self.address.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address.authority}{self.address.target}"


class Headers:
    """The headers as they came, names in small letters."""

    __slots__ = ("raw",)

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def get(self, name: str, default: str | None = None) -> str | None:
        wanted = name.encode("latin-1")
        return next((value.decode("latin-1") for key, value in self.raw if key == wanted), default)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __setitem__(self, name: str, value: str) -> None:
        wanted = name.encode("latin-1")
        # In UTF-8, because the name of a model may stand here.
        self.raw = [*((key, old) for key, old in self.raw if key != wanted), (wanted, value.encode("utf-8"))]

    def multi_items(self) -> list[tuple[str, str]]:
        return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in self.raw]


class Request:
    """What a client asks."""

    def __init__(self, method: str, url: URL, headers: Raw, content: bytes) -> None:
        self.method = method
        self.url = url
        self.headers = Headers(headers)
        self.content = content
        self.extensions: dict[str, Any] = {}


class AsyncByteStream:
    """The base of what is read with `async for`."""


class SyncByteStream:
    """Nothing here is read by a thread."""


class ByteStream(AsyncByteStream):
    """A body that is there already."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content

    async def aclose(self) -> None:
        """It holds nothing open."""


class Response:
    """What a server answers, or what was put together from it."""

    def __init__(
        self,
        status: int,
        *,
        headers: list[tuple[str, str]] | Raw,
        stream: Any,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.status_code = status
        self.headers = Headers([(_bytes(name).lower(), _bytes(value)) for name, value in headers])
        self.stream = stream
        self.extensions = extensions or {}


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1", "replace")
