"""Which models there are, and where each of them is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from hangtight.drivers.http11 import Address
from hangtight.drivers.servers import VERSIONED
from hangtight.gateway.filters import UNFILTERED, Filters, filters_of

if TYPE_CHECKING:
    from hangtight.drivers.servers import Server
    from hangtight.gateway.upstream.steward import Steward
    from hangtight.rules.settings import Settings

VERSION = "/v1"
THIS_MACHINE = frozenset(("localhost", "127.0.0.1", "::1"))
CONNECT = 10.0  # seconds, where nothing is said


@dataclass(frozen=True, slots=True)
class Target:
    """Where one model is asked."""

    name: str
    """How clients know it."""
    upstream_name: str
    """How its server knows it."""
    base: str
    """The address of the server, without a slash at the end."""
    key: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    connect: float = CONNECT
    shape: str = ""
    """The API that was found there; nothing where somebody wrote it into the settings."""
    loads_anew: bool = False
    """It is a process for each request: none finds it in memory."""
    filters: Filters = UNFILTERED
    """What is changed of the requests that are sent there."""

    def address(self, path: str, query: bytes) -> Address:
        """Where a request for this path of ours goes."""
        return _joined(self.base, path, query)

    @property
    def credentials(self) -> dict[str, str]:
        """What its server wants to see of whoever looks at it."""
        own = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return own | {name.lower(): value for name, value in self.headers}

    @property
    def place(self) -> str:
        """The server alone, as it is shown to people."""
        return _parsed(self.base).authority


@lru_cache(maxsize=1024)
def _parsed(base: str) -> Address:
    return Address.parse(base)


@lru_cache(maxsize=1024)
def _joined(base: str, path: str, query: bytes) -> Address:
    parsed = _parsed(base)
    base = parsed.target.rstrip("/")
    if base.endswith(VERSION) and path.startswith(f"{VERSION}/"):
        path = path[len(VERSION) :]
    tail = f"?{query.decode('latin-1')}" if query else ""
    return parsed._replace(target=f"{base}{path}{tail}")


@lru_cache(maxsize=1024)
def place_of(base: str) -> str:
    """One name for one server: small letters, with its port, without /v1; `localhost` and ::1 are 127.0.0.1.

    What else stands in its path stays: behind one proxy there may be several servers.
    """
    found = _parsed(base)
    host = found.host.lower().rstrip(".")
    found = found._replace(host="127.0.0.1" if host in THIS_MACHINE else host)
    path = VERSIONED.sub("", found.target.rstrip("/"))
    return f"{'https' if found.tls else 'http'}://{found.authority}{path}"


class Targets:
    """The models of the settings; where those name no server, the models of the servers that were found."""

    def __init__(self, settings: Settings, found: Iterable[Server] = (), steward: Steward | None = None) -> None:
        self._settings = settings
        self._steward = steward
        self._named = {name: self._of_settings(name) for name in settings.served()}
        self._found: dict[str, Target] = {}
        for server in found:
            base = server.url.removesuffix(VERSION)
            for name in server.models:
                filters = filters_of(settings.serving(name))
                target = Target(name, name, base, server.key, shape=server.shape.value, filters=filters)
                self._found.setdefault(name, target)

    def _of_settings(self, name: str) -> Target | None:
        serving = self._settings.serving(name)
        if self._steward is not None and self._settings.is_a_process(name):
            base, filters = self._steward.base(name), filters_of(serving)
            return Target(name, serving.upstream_name, base, filters=filters, loads_anew=True)
        if serving.proxy is None:
            return None
        base = serving.proxy.rstrip("/")
        return Target(
            name, serving.upstream_name, base, serving.key, serving.headers, serving.connect,
            filters=filters_of(serving),
        )  # fmt: skip

    def find(self, name: str) -> Target | None:
        """The model of this name, or of which it is an alias."""
        canonical = self._settings.canonical(name)
        known = self._named.get(canonical) or self._of_settings(canonical)
        return known or self._found.get(canonical) or self._found.get(f"{canonical}:latest")

    @property
    def names(self) -> tuple[str, ...]:
        """All that can be asked for by name, those of the settings first."""
        return tuple({**dict.fromkeys(self._named), **dict.fromkeys(self._found)})

    @property
    def are_written(self) -> bool:
        """The settings say where the models are: nobody else is asked."""
        said = self._settings
        return any(model.proxy is not None for model in said.models.values()) or any(map(said.is_a_process, said.runs))

    @property
    def only(self) -> Target | None:
        """The one model that there is, for a request that names none."""
        return self.find(self.names[0]) if len(self.names) == 1 else None
