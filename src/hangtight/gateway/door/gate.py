"""Who gets in: by the name they call us, the page they come from, the key they show and the size of what they bring.

Nothing here waits or reads: it looks at the scope of an ASGI request. What each check is for:

    Host        a page of a stranger whose name suddenly points to this machine (DNS rebinding) sends its own name
    Origin      a page of a stranger that calls us by our right name (cross-site) sends where it comes from
    keys        everybody else, wherever others can reach us
    bounds      what one request may make us keep in memory

A page is not a program: a program may send any Host and no Origin, and is held by the keys alone.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from hangtight.errors import SettingsError

Scope = Mapping[str, Any]
Fields = Iterable[tuple[bytes, bytes]]

KEYLESS: Final = frozenset(("/health", "/ready"))
"""Asked by those who have no key: they learn whether we run, and nothing more."""
PAGE: Final = "/ui"
"""The dashboard: its files hold nothing, and a link to it may stand anywhere. What it shows needs a key."""
CREDENTIALS: Final = frozenset((b"authorization", b"x-api-key"))
LEFT_BY_PROXIES: Final = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip"))
LOOKED_AT: Final = frozenset((b"host", b"origin", b"sec-fetch-site", b"content-length"))
AUTHORITY: Final = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))(?::[0-9]{1,5})?")
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#@]+)", re.IGNORECASE)
BEARER: Final = "bearer "
MOST_DIGITS: Final = 18  # of a Content-Length: more is no number that a body could have
FIELD_EXTRA: Final = 4  # bytes around a field: the colon, the space and the end of the line
PREFLIGHT_KEPT: Final = 600  # seconds for which a browser may remember our answer to a preflight
LONGEST_SHOWN: Final = 80


class Denied(NamedTuple):
    """Why a request is not let in. `message` never repeats a key."""

    status: int
    type: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may bring."""

    body: int = 64 * 1024 * 1024
    head: int = 64 * 1024
    fields: int = 100
    path: int = 8 * 1024


class Exposed(SettingsError):
    """Somebody asked us to listen where others can reach us, without a key to keep them out."""

    def __init__(self, host: str) -> None:
        super().__init__("host", host, "a loopback address, as long as there is no key")
        self.args = (
            f"{host} can be reached by other machines, and no key is set: whoever finds it could use every model\n"
            "a gateway without keys listens on a loopback address only\n"
            f"to listen there:  apiKeys: [...] in hangtight.yaml      or: hangtight serve --host {host} --insecure",
        )


def may_listen(host: str, keys: Iterable[str], *, insecure: bool = False) -> None:
    """Raises `Exposed` where others could reach us, no key is set and nobody said that this is meant."""
    if not (is_loopback(host) or insecure or any(keys)):
        raise Exposed(host)


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether only this machine gets there: `localhost` and names under it, 127.0.0.0/8, ::1."""
    name = host.lower().removeprefix("[").removesuffix("]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if address is None:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def is_direct(scope: Scope) -> bool:
    """Whether a program of this machine talks to us itself, so that no proxy between us can lose patience.

    nginx leaves no trace unless told to; up to 1.28 it speaks HTTP/1.0 by default, which clients have not done for
    decades. A proxy that speaks HTTP/1.1 and leaves no trace is not told from a client: so signs of life in a stream
    do not hang on this, and behind a proxy `headers: cut` is to be written. On a socket of the file system there is no
    peer, and mostly a proxy: that is not direct.
    """
    client = scope.get("client")
    if not client or not is_loopback(client[0]) or scope.get("http_version") == "1.0":
        return False
    return not any(name in LEFT_BY_PROXIES for name, _ in scope["headers"])


def is_page(scope: Scope) -> bool:
    """Whether somebody only wants a file of the dashboard; also a browser that was given our bare address."""
    if scope.get("method") not in ("GET", "HEAD"):
        return False
    path = path_in(scope)
    return path == PAGE or path.startswith(f"{PAGE}/") or (path == "/" and _reads_pages(scope))


def _reads_pages(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def path_in(scope: Scope) -> str:
    """As we know it, wherever we are mounted."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


class Intake:
    """A body while it is read: never more of it than is allowed, whatever was announced."""

    __slots__ = ("_pieces", "most", "size")

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0
        self._pieces: list[bytes] = []

    def take(self, piece: bytes) -> Denied | None:
        self.size += len(piece)
        if self.size > self.most:
            self._pieces.clear()
            return _too_long(self.most)
        self._pieces.append(piece)
        return None

    def whole(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets requests in, or says why not.

    `bound` is the address that we listen on, None where somebody else's server carries us (then it is what that
    server says of the connection). Names that are always right: that address itself, and `localhost` on loopback.
    Bound elsewhere any IP literal is right too: rebinding needs a name, and it is the name that gives it away.
    `hosts` adds names; `*.example.org` is every name under it and `*` every name at all.
    """

    bound: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Their digests: so all are of one length, and none can be shown by accident."""

    @classmethod
    def of(
        cls,
        bound: str | None,
        *,
        keys: Iterable[str] = (),
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        bounds: Bounds | None = None,
    ) -> Gate:
        return cls(
            bound,
            tuple(name.lower().rstrip(".") for name in hosts),
            tuple(origin.lower().rstrip("/") for origin in origins),
            bounds or Bounds(),
            tuple(_digest(key.encode()) for key in keys if key),
        )

    def denies(self, scope: Scope) -> Denied | None:
        """Why this request is not let in; None where it is. A preflight is answered before: see `preflight`."""
        seen: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in LOOKED_AT:
                seen.setdefault(name, []).append(value)
        denied = self._oversized(scope, seen.get(b"content-length", []))
        denied = denied or self._miscalled(scope, seen.get(b"host", []))
        return denied if denied or is_page(scope) else self._foreign(seen) or self._locked(scope)

    def preflight(self, scope: Scope) -> list[tuple[bytes, bytes]] | None:
        """The headers of a 204 to a browser that asks whether a page may call us; None where that is not the question.

        Answered for the origins that are listed, and for no other: what is left is refused by `denies`.
        """
        asked = dict(scope["headers"])
        if scope["method"] != "OPTIONS" or b"access-control-request-method" not in asked:
            return None
        told = self.cross_origin(scope)
        if not told or self._miscalled(scope, [asked.get(b"host", b"")]):
            return None
        told += [
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (b"access-control-max-age", b"%d" % PREFLIGHT_KEPT),
        ]
        if wanted := asked.get(b"access-control-request-headers"):
            told.append((b"access-control-allow-headers", wanted))
        if (
            b"access-control-request-private-network" in asked
        ):  # Chrome asks this where a public page calls a private address
            told.append((b"access-control-allow-private-network", b"true"))
        return told

    def cross_origin(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What an answer must carry so that the page of a listed origin may read it; nothing for all others."""
        if not self.origins:
            return []
        for name, value in scope["headers"]:
            if name == b"origin" and self._is_listed(value.decode("latin-1")):
                shown = (b"access-control-expose-headers", b"x-hangtight-id, x-hangtight-model")
                return [(b"access-control-allow-origin", value), (b"vary", b"origin"), shown]
        return []

    def without_credentials(self, headers: Fields) -> list[tuple[bytes, bytes]]:
        """The headers without a key of ours. What a client shows beside it, or where we have no keys, is not for us."""
        return [field for field in headers if not (field[0].lower() in CREDENTIALS and self._is_key(*field))]

    def _oversized(self, scope: Scope, lengths: list[bytes]) -> Denied | None:
        bounds, headers = self.bounds, scope["headers"]
        target = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
        if target > bounds.path:
            return _malformed(414, "uri_too_long", f"the path has {target} bytes; {bounds.path} are allowed")
        if len(headers) > bounds.fields:
            return _malformed(431, "too_many_headers", f"{len(headers)} headers; {bounds.fields} are allowed")
        size = sum([len(name) + len(value) + FIELD_EXTRA for name, value in headers])
        if size > bounds.head:
            return _malformed(431, "headers_too_large", f"the headers have {size} bytes; {bounds.head} are allowed")
        for length in lengths:
            if not (length.isdigit() and len(length) <= MOST_DIGITS):
                return _malformed(400, "bad_content_length", "Content-Length must be a plain number")
            if int(length) > bounds.body:
                return _too_long(bounds.body)
        return None

    def _miscalled(self, scope: Scope, hosts: list[bytes]) -> Denied | None:
        if len(hosts) != 1:
            return _malformed(400, "bad_host", f"{len(hosts)} Host headers; it must be one")
        name = _name_in(hosts[0].decode("latin-1"))
        if name is None:
            return _malformed(400, "bad_host", "the Host header holds no name of a host")
        if self._is_ours(scope, name):
            return None
        return _forbidden("unknown_host", f"this is not {name}", f"gateway: {{hosts: [{name}]}}")

    def _is_ours(self, scope: Scope, name: str) -> bool:
        bound = self.bound if self.bound is not None else str((scope.get("server") or ("",))[0])
        if name == bound.lower() or is_loopback(name):
            return True
        if any(_fits(name, pattern) for pattern in self.hosts):
            return True
        return not is_loopback(bound) and _address(name) is not None

    def _foreign(self, seen: Mapping[bytes, list[bytes]]) -> Denied | None:
        """Where a browser says from which page it comes, that page must be ours, of this machine, or listed."""
        origins = [value.decode("latin-1") for value in seen.get(b"origin", [])]
        if not origins:
            if b"cross-site" in seen.get(b"sec-fetch-site", []):
                return _forbidden("cross_site", "the page of another site asked for this", "gateway: {origins: [...]}")
            return None
        if len(origins) > 1:
            return _malformed(400, "bad_origin", f"{len(origins)} Origin headers; it must be one")
        if self._is_listed(origins[0]):
            return None
        found = ORIGIN.fullmatch(origins[0])
        page, own = found and _name_in(found[1]), _name_in(seen[b"host"][0].decode("latin-1"))
        if page and own and (page == own or (is_loopback(page) and is_loopback(own))):
            return None
        shown = origins[0][:LONGEST_SHOWN] if found else "null"
        return _forbidden("foreign_origin", f"the page of {shown} asked for this", f"gateway: {{origins: [{shown!r}]}}")

    def _is_listed(self, origin: str) -> bool:
        return origin != "null" and origin.lower() in self.origins

    def _locked(self, scope: Scope) -> Denied | None:
        if not self.keys or path_in(scope) in KEYLESS:
            return None
        shown = [pair for pair in scope["headers"] if pair[0] in CREDENTIALS]
        if [pair for pair in shown if self._is_key(*pair)]:
            return None
        why = "this is no key of this gateway" if shown else "this gateway wants a key"
        how = "show one as:  Authorization: Bearer KEY      or: x-api-key: KEY"
        return Denied(401, "authentication_error", "wrong_key" if shown else "no_key", f"{why}\n{how}")

    def _is_key(self, name: bytes, value: bytes) -> bool:
        right = False
        for digest in _shown(name, value):
            for key in self.keys:  # all of them, also behind the right one: how long it takes tells nothing
                right |= hmac.compare_digest(digest, key)
        return right


def _shown(name: bytes, value: bytes) -> Iterator[bytes]:
    """The digest of what a header shows as a key."""
    if name.lower() == b"authorization":
        if value[: len(BEARER)].lower() != BEARER.encode():
            return
        value = value[len(BEARER) :]
    yield _digest(value.strip())


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


@lru_cache(maxsize=256)
def _name_in(authority: str) -> str | None:
    """The host without its port, in small letters; None where it is none."""
    found = AUTHORITY.fullmatch(authority)
    return found[1].strip("[]").lower().rstrip(".") if found else None


def _fits(name: str, pattern: str) -> bool:
    return pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))


@lru_cache(maxsize=256)
def _address(name: str) -> Any:
    """The IP address that a name is, written as browsers write it; None where it is a name."""
    try:
        return ip_address(name)
    except ValueError:
        return None


def _malformed(status: int, code: str, message: str) -> Denied:
    return Denied(status, "invalid_request_error", code, message)


def _too_long(most: int) -> Denied:
    message = f"the body is larger than {most} bytes\nto allow more:  gateway: {{body: {2 * most}}} in hangtight.yaml"
    return Denied(413, "request_too_large", "body_too_large", message)


def _forbidden(code: str, why: str, line: str) -> Denied:
    return Denied(403, "permission_error", code, f"{why}\nto let it in:  {line} in hangtight.yaml")
