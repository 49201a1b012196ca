"""The files of the dashboard at /ui: a page, its style and its scripts. They hold nothing that is anybody's.

They are open where the gateway has keys, too: what the page asks for then needs one. All that the browser is let do
stands in `POLICY`: nothing from elsewhere, no script inside of the page, no frame around it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hangtight.gateway.telling.answers import Receive, Scope, View, read, refuse

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Headers, Outlet
    from hangtight.gateway.state import State

UI: Final = "/ui"
FOLDER: Final = Path(__file__).parent.parent / "ui"
PAGE: Final = "index.html"
NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.([a-z0-9]+)")
TYPES: Final[Mapping[str, bytes]] = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
    "png": b"image/png",
    "ico": b"image/x-icon",
}
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDED: Final[Headers] = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),  # asked for each time, and sent only where it has changed
]
DIGITS: Final = 32  # of the digest by which a file is known


async def go_there(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """To the page, at the address under which what it asks for stands beside it: relative, so also under a prefix."""
    last = scope["path"].rpartition("/")[2]
    to = f"{last}/" if last == UI[1:] else f"{last}{UI}/".lstrip("/")
    query = scope.get("query_string", b"")
    outlet.start(307, [(b"location", to.encode() + (b"?" + query if query else b"")), (b"content-length", b"0")])
    await outlet.finish()


async def file(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """One of the files; 304 to who has it already."""
    found = NAME.fullmatch(name)
    kind = TYPES.get(found[1]) if found else None
    body = await asyncio.to_thread(_content, name) if kind is not None else None
    if kind is None or body is None:
        await refuse(outlet, 404, "not_found", "no file of the dashboard has this name\nit begins at:  /ui/")
        return
    tag = b'"%s"' % sha256(body).hexdigest()[:DIGITS].encode()
    if _has_it(scope, tag):
        outlet.start(304, [(b"etag", tag), *GUARDED])
        await outlet.finish()
        return
    outlet.start(200, [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"etag", tag), *GUARDED])
    await outlet.finish(body)


def _content(name: str) -> bytes | None:
    try:
        return (FOLDER / name).read_bytes()
    except OSError:
        return None


def _has_it(scope: Scope, tag: bytes) -> bool:
    """A proxy that compresses makes a tag a weak one."""
    known = b",".join(value for name, value in scope["headers"] if name == b"if-none-match")
    return any(each.strip().removeprefix(b"W/") in (tag, b"*") for each in known.split(b","))


VIEWS: Final[Mapping[str, Mapping[str, View]]] = {UI: read(go_there), f"{UI}/": read(partial(file, PAGE))}


def one_of(path: str) -> Mapping[str, View] | None:
    """What stands below the page."""
    head, _, name = path.partition(f"{UI}/")
    return None if head or not name else read(partial(file, name))
