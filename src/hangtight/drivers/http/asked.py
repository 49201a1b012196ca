"""What a request asks of a model, and what was given for it on the way: in its headers, as a timeout of the SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from hangtight.core.intents import OFF, ON, Intent
from hangtight.core.layers import Situation
from hangtight.core.limits import checked
from hangtight.core.time import plain
from hangtight.dialects.dialect import Body, Dialect, dialect_for
from hangtight.dialects.quick import loader, patient_load
from hangtight.drivers.given import Given
from hangtight.drivers.servers import is_nearby
from hangtight.drivers.standing import settings
from hangtight.drivers.terms import rounded
from hangtight.errors import SettingsError

PROMPTS = ("messages", "prompt", "input")
"""One of these stands in each request to a model."""
HEADERS: Mapping[bytes, str] = {
    b"x-hangtight-total": "total",
    b"x-hangtight-first-token": "first_token",
    b"x-hangtight-idle": "idle",
}
MODE, INTENT = b"x-hangtight-mode", b"x-hangtight-intent"
INTENTS = {"on": ON, "off": OFF}
RUN, STEP = b"x-hangtight-run", b"x-hangtight-step"
"""Under which names the journal keeps the call."""
OURS = (b"x", b"X", b"a", b"A")  # x-hangtight-..., x-stainless-..., accept-encoding
OF_HTTPX = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
OF_SDKS = {"connect": 5.0, "read": 600}
"""What these give where nobody gave anything."""
CUT = ("first_token", "idle", "thinking", "unstreamed")
"""What a timeout of the SDK shortens: each limit on silence, whichever of them counts."""


class Asked:
    """One request, as far as we understand it. Without a dialect it asks no model for text."""

    __slots__ = ("body", "dialect", "headers", "host", "model", "path", "place")

    def __init__(self, request: Any, read: Callable[[Any], Body | None] | None = None) -> None:
        """`read` gives the JSON of its body, where somebody has looked into that already."""
        url = request.url
        self.host: str = url.host
        self.path: str = url.path
        self.place = f"{self.host}:{url.port or ''}"
        raw = request.headers.raw
        self.headers: dict[bytes, bytes] = {name.lower(): value for name, value in raw if name[:1] in OURS}
        """Those that may mean something to us."""
        self.dialect: Dialect | None = dialect_for(self.path) if request.method == "POST" else None
        self.body: Body = {}
        if self.dialect is not None:
            found = (read or json_of)(request)
            if found is None or not any(name in found for name in PROMPTS):
                self.dialect = None
            else:
                self.body = found
        name = self.body.get("model")
        self.model = name if isinstance(name, str) else ""

    def situation(self) -> Situation:
        """What is known about the call before it starts."""
        dialect, nearby = self.dialect, nearby_host(self.host)
        if dialect is None:
            return Situation(nearby=nearby, generates=False)
        tokens = rounded(dialect.prompt_tokens(self.body))
        return Situation(prompt_tokens=tokens, nearby=nearby, reasons=dialect.reasons(self.body))

    def in_headers(self) -> list[Given]:
        """What was given for this call in `extra_headers`. Refuses what cannot be meant."""
        found: list[Given] = []
        for header, name in HEADERS.items():
            if (raw := self.headers.get(header)) is not None:
                shown, text = header.decode().title(), raw.decode("latin-1")
                change = f"extra_headers={{{{'{shown}': '{{value}}'}}}}"
                found.append(Given(shown, ((name, _seconds(shown, text)),), change=change))
        if (raw := self.headers.get(MODE)) is not None:
            shown, mode = MODE.decode().title(), raw.decode("latin-1")
            if mode not in settings().modes:
                raise SettingsError(shown, mode, f"one of {', '.join(settings().modes)}")
            found.append(Given(shown, mode=mode))
        if (raw := self.headers.get(INTENT)) is not None:
            shown, text = INTENT.decode().title(), raw.decode("latin-1")
            found.append(Given(shown, intent=_intent(shown, text)))
        run, step = (self.headers.get(name, b"").decode("latin-1") for name in (RUN, STEP))
        if run or step:
            found.append(Given("headers", run=run, step=step))
        return found


def in_timeout(timeout: Mapping[str, Any], *, defaults_of_httpx: bool) -> list[Given]:
    """A timeout that somebody gave to the client library, which cuts; the libraries' defaults say nothing."""
    read = timeout.get("read")
    if read is None or OF_SDKS.items() <= timeout.items():
        return []
    if defaults_of_httpx and OF_HTTPX.items() <= timeout.items():
        return []
    source = f"timeout={plain(read)} of the client library"
    return [Given(source, tuple((name, read) for name in CUT), change="timeout={value}", cuts=True)]


@lru_cache(maxsize=256)
def nearby_host(host: str) -> bool:
    return is_nearby(host)


def json_of(request: Any) -> Body | None:
    try:
        content = request.content
        try:
            body = loader()(content)
        except ValueError:  # the quick reader is strict
            body = patient_load(content)
    except (ValueError, RecursionError, RuntimeError):  # RequestNotRead: it is sent as it is made
        return None
    return body if isinstance(body, dict) else None


def _intent(header: str, text: str) -> Intent:
    intent = INTENTS.get(text.strip().lower())
    if intent is None:
        raise SettingsError(header, text, "on or off")
    return intent


def number_of(text: str) -> float:
    """A number as it is written in a header; ValueError for another one. `1_0` is one for Python alone."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _seconds(header: str, text: str) -> float | None:
    if text.strip().lower() == "none":
        return None
    try:
        number = number_of(text)
    except ValueError:
        raise SettingsError(header, text, "a number of seconds, or none for no limit") from None
    return checked(header, number)
