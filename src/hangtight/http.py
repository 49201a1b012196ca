"""Clients and transports for httpx2 and httpx that keep the time contract beneath any SDK.

>>> import hangtight                                                        # doctest: +SKIP
>>> openai.OpenAI(http_client=hangtight.http.client(idle=45, fallback=["qwen3:1.7b"]))
>>> anthropic.AsyncAnthropic(http_client=hangtight.http.async_client())
>>> ollama.Client(transport=hangtight.http.transport(lib="httpx"))

All four take the limits of `hangtight.watch`, `mode`, `on_heartbeat` and `fallback`; what else they are given goes to
the library's own client or transport.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from hangtight.core.telling import Door
from hangtight.drivers.given import LimitArgs, given
from hangtight.drivers.http import asyncs, syncs
from hangtight.drivers.http.call import Settings
from hangtight.drivers.http.vigil import watch_over
from hangtight.errors import HangtightError, SettingsError

__all__ = ["async_client", "async_transport", "client", "transport"]

LIBRARIES = {"httpx2": "httpcore2", "httpx": "httpcore"}
"""Each with what lies beneath it; the first one that is there is taken."""
LIMITS = frozenset(LimitArgs.__annotations__)
CONNECTIONS, KEPT = 1000, 100  # as many as the SDKs themselves allow


def client(*, lib: str | None = None, **settings: Any) -> Any:
    """A synchronous client for `http_client=` of an SDK: limits here hold where a call gives none.

    >>> hangtight.http.client(idle=45, fallback=["qwen3:1.7b"])             # doctest: +SKIP
    """
    library = _library(lib)
    ours, theirs = _apart(settings, "client")
    _refuse_http2(theirs)
    return _mounted(library.Client(**_usual(library, theirs)), lambda inner: _watched(library, inner, ours))


def async_client(*, lib: str | None = None, **settings: Any) -> Any:
    """An asynchronous client for `http_client=` of an SDK: limits here hold where a call gives none."""
    library = _library(lib)
    ours, theirs = _apart(settings, "async_client")
    kind = asyncs.transport_kind(library)
    return _mounted(library.AsyncClient(**_usual(library, theirs)), lambda inner: kind(inner, ours))


def transport(*, lib: str | None = None, inner: Any = None, **settings: Any) -> Any:
    """A synchronous transport for `transport=` of httpx2, httpx or a client made on them.

    `inner` is an `HTTPTransport` that is made already.
    """
    library = _library(lib)
    ours, theirs = _apart(settings, "transport")
    _refuse_http2(theirs)
    return _watched(library, inner or library.HTTPTransport(**theirs), ours)


def async_transport(*, lib: str | None = None, inner: Any = None, **settings: Any) -> Any:
    """An asynchronous transport for `transport=` of httpx2, httpx or a client made on them.

    `inner` is a transport that is made already, of whatever kind.
    """
    library = _library(lib)
    ours, theirs = _apart(settings, "async_transport")
    return asyncs.transport_kind(library)(inner or library.AsyncHTTPTransport(**theirs), ours)


def _library(name: str | None) -> Any:
    if name is not None and name not in LIBRARIES:
        raise SettingsError("lib", name, f"one of {', '.join(LIBRARIES)}")
    for candidate in [name] if name is not None else LIBRARIES:
        try:
            library = import_module(candidate)
        except ModuleNotFoundError:
            continue
        import_module(LIBRARIES[candidate])  # it is loaded late otherwise, in the middle of a running loop
        return library
    wanted = name or "httpx2 (openai 3, anthropic 2) or httpx (ollama)"
    raise HangtightError(f"hangtight.http needs {wanted}, which is not installed:  pip install {name or 'httpx2'}")


def _apart(settings: dict[str, Any], way: str) -> tuple[Settings, dict[str, Any]]:
    """What is ours among the settings, and what is the library's."""
    theirs = dict(settings)
    door = f"hangtight.http.{way}(..., {{name}}={{value}})"
    limits = {name: theirs.pop(name) for name in settings if name in LIMITS}
    mode, listener = theirs.pop("mode", None), theirs.pop("on_heartbeat", None)
    fallback = _names(theirs.pop("fallback", None))
    if listener is not None and not callable(listener):
        raise SettingsError("on_heartbeat", listener, "a function that takes a heartbeat")
    place = given(limits, mode, source="the client", change=door)
    return Settings(place, Door(door), fallback, listener, within_httpx="transport" in way), theirs


def _names(fallback: Sequence[str] | None) -> tuple[str, ...] | None:
    if fallback is None:
        return None
    if not isinstance(fallback, list | tuple) or not all(isinstance(name, str) for name in fallback):
        raise SettingsError("fallback", fallback, 'a list of names of models, such as ["qwen3:1.7b"]')
    return tuple(fallback)


def _usual(library: Any, theirs: dict[str, Any]) -> dict[str, Any]:
    """The SDKs' own defaults, but for the timeouts: ours are the only clocks."""
    limits = library.Limits(max_connections=CONNECTIONS, max_keepalive_connections=KEPT)
    return {"timeout": None, "limits": limits, "follow_redirects": True, **theirs}


def _mounted(made: Any, wrap: Any) -> Any:
    """This client with each of its transports, those for proxies too, in one of ours."""
    made._transport = wrap(made._transport)
    made._mounts = {pattern: wrap(inner) if inner is not None else None for pattern, inner in made._mounts.items()}
    return made


def _watched(library: Any, inner: Any, ours: Settings) -> Any:
    pool = getattr(inner, "_pool", None)
    if getattr(pool, "_http2", False):
        _refuse_http2({"http2": True})
    if not hasattr(pool, "_network_backend"):
        kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
        raise SettingsError("transport", kind, f"a plain {library.__name__}.HTTPTransport, or left out")
    watch_over(pool, import_module(LIBRARIES[library.__name__]))
    return syncs.transport_kind(library)(inner, ours)


def _refuse_http2(theirs: dict[str, Any]) -> None:
    if theirs.get("http2"):
        raise SettingsError("http2", True, "left out here: a thread that keeps its own clocks reads HTTP/1.1")
