"""What the files say to the gateway: how it serves each model, whom it lets in, and what a request may ask for.

Keys and headers may be secrets: they are in no `repr`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FORMS = ("comment", "ping", "empty-delta", "white-space", "off")
"""How a heartbeat may look to a waiting client."""
MANY = 100
"""How many may wait where a queue is only wanted, and no number said."""
PROTECTED = "model"
"""The parameter that no filter touches: it says who is meant."""
CONNECT, PROXY_SILENCE, PATIENCE = 30.0, 50.0, 30.0  # seconds
BODY, HEAD = 64 * 1024 * 1024, 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """When an upstream that fails is left alone, and for how long."""

    in_a_row: int = 5
    """Failures one after the other that open it."""
    share: float = 0.5
    """The share of failures that opens it."""
    least: int = 10
    """Requests of which the share is counted, at least."""
    window: float = 60.0
    """Seconds over which the share is counted."""
    first: float = 15.0
    """Seconds for which it is open the first time, and twice as long each time after that."""
    longest: float = 300.0
    """Seconds for which it is open at most."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How the gateway serves one model."""

    name: str
    proxy: str | None = None
    """The server that has the model; None where the files name none."""
    upstream_name: str = ""
    """What that server calls it."""
    key: str = field(default="", repr=False)
    """What is shown to that server; empty is none."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Sent to that server with each request."""
    slots: int | None = None
    """How many requests it works on at once; None is no limit."""
    places: int = 0
    """How many more may wait for a slot."""
    form: str | None = None
    """How a heartbeat looks, one of `FORMS`; None where the files leave it to the route."""
    proxy_silence: float | None = PROXY_SILENCE
    """Seconds of silence that a proxy between us and the client endures; None is for ever."""
    proxy_is_said: bool = False
    """Somebody wrote `proxy_silence` down: before a whole body, too, a client of this very machine may be a proxy."""
    unlisted: bool = False
    """Served, but in no list of models."""
    aliases: tuple[str, ...] = ()
    connect: float = CONNECT
    """Seconds within which the connection must stand."""
    strip: tuple[str, ...] = ()
    """Parameters that are taken out of a request before it goes to that server."""
    set: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Parameters that each request gets."""
    set_by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """More of them, over those, by the name under which the client asks for the model."""
    loading_state: bool = False
    """A waiting client is told in the reasoning text how the load gets on."""
    title: str = ""
    """Its name in the list of models, beside the one by which it is asked; empty is none."""
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    capabilities: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Gateway:
    """How the gateway treats its clients."""

    keys: tuple[str, ...] = field(default=(), repr=False)
    """One of these must be shown; empty is none."""
    lists_aliases: bool = False
    loading_state: bool = False
    """What holds for a model that says nothing about it itself."""
    may_raise: bool | None = None
    """Whether the headers of a request may raise a limit, too. None: of a client of this machine itself."""
    proxy_silence: float | None = PROXY_SILENCE
    proxy_is_said: bool = False
    places: int = 0
    """How many may wait for a slot of a model that says nothing about it itself."""
    routes: tuple[tuple[str, str], ...] = ()
    """The form of a heartbeat by path, in the order of the file. A path may end in `*`."""
    most: Mapping[str, float] = field(default_factory=dict)
    """What the headers of a request may give at most, by the name of the limit."""
    hosts: tuple[str, ...] = ()
    """The names by which it may be called, besides its own address."""
    origins: tuple[str, ...] = ()
    """The web pages that may call it."""
    body: int = BODY
    head: int = HEAD
    patience: float = PATIENCE
    """Seconds within which the head and the body of a request must be there."""
    circuit: CircuitSettings | None = field(default_factory=CircuitSettings)
    """None: an upstream that fails is asked all the same."""
    training: tuple[str, ...] | None = None
    """The status files of training runs; None where the files name none."""

    def form(self, path: str) -> str | None:
        """The form of a heartbeat on this path: the very path first, then the patterns in the order of the file."""
        said = dict(self.routes)
        if path in said:
            return said[path]
        return next((form for key, form in self.routes if key.endswith("*") and path.startswith(key[:-1])), None)


def serving_of(name: str, proxy: str | None, said: Iterable[Mapping[str, Any]], gateway: Gateway) -> Serving:
    """How a model is served by what is said about it in several places, the highest first.

    What stands there has been checked: see `schema_serving.ServedModel`, whose keys these are.
    """
    known: dict[str, Any] = {}
    for each in said:
        known = {**each, **known}
    queue, loading = known.get("queue"), known.get("sendLoadingState")
    return Serving(
        name,
        proxy,
        upstream_name=known.get("useModelName") or name,
        key=known.get("key") or "",
        headers=tuple((known.get("headers") or {}).items()),
        slots=known.get("concurrencyLimit") or None,
        places=gateway.places if queue is None else queue,
        form=known.get("heartbeat_form"),
        proxy_silence=known.get("proxy_silence", gateway.proxy_silence),
        proxy_is_said="proxy_silence" in known or gateway.proxy_is_said,
        unlisted=known.get("unlisted") or False,
        aliases=known.get("aliases") or (),
        connect=known.get("connect") or CONNECT,
        strip=tuple(name for name in known.get("stripParams") or () if name != PROTECTED),
        set=_without_protected(known.get("setParams") or {}),
        set_by_id={name: _without_protected(said) for name, said in (known.get("setParamsByID") or {}).items()},
        loading_state=gateway.loading_state if loading is None else loading,
        title=known.get("name") or "",
        description=known.get("description") or "",
        metadata=known.get("metadata") or {},
        capabilities=known.get("capabilities") or {},
    )


def _without_protected(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != PROTECTED}
