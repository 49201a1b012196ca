"""What one place gives for a call: the call itself, a header, `limits()` around it, its client."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from hangtight.core.intents import Intent
from hangtight.core.limits import AUTO, LEARNABLE, Setting, checked
from hangtight.drivers.standing import settings
from hangtight.errors import SettingsError

if TYPE_CHECKING:
    from typing import Unpack

    from hangtight.core.heartbeat import Heartbeat
    from hangtight.intent.findings import Finding

OF_INTENT = ("intent", "on_loop")
Listener = Callable[["Heartbeat"], object]


class LimitArgs(TypedDict, total=False):
    """What may be given for one call, in seconds; `None` is no limit, `"auto"` one that is learned."""

    first_token: float | Literal["auto"] | None
    idle: float | Literal["auto"] | None
    total: float | Literal["auto"] | None
    heartbeat: float | None
    load: float | None
    thinking: float | None
    unstreamed: float | None
    cancel: float | None
    cold: float | None
    extend_to: float | None
    intent: bool | Intent | Mapping[str, Any]
    """Whether the text moves the deadline: True, False, or a mapping of `shorten` and `ladder`."""
    on_loop: Callable[[Finding], object]
    """Asked about a loop: True lets it go on, False ends it, anything else leaves it to the rest of the ladder."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one place gave for a call."""

    source: str = "the call"
    values: tuple[tuple[str, Setting], ...] = ()
    mode: str | None = None
    change: str = ""
    cuts: bool = False
    run: str = ""
    step: str = ""
    intent: Intent | None = None
    on_loop: Callable[[Finding], object] | None = None
    mode_cuts: bool = False
    """Its mode only ever shortens what would hold without it."""

    def __bool__(self) -> bool:
        told = self.values or self.run or self.step or self.intent is not None or self.on_loop is not None
        return bool(told) or self.mode is not None


def given(limits: Mapping[str, Any], mode: str | None = None, *, source: str = "the call", change: str = "") -> Given:
    """Limits and a mode as somebody wrote them. Refuses what cannot be meant."""
    values = tuple((name, _known(name, value)) for name, value in limits.items() if name not in OF_INTENT)
    if mode is not None:
        settings().mode(mode)
    if limits.keys().isdisjoint(OF_INTENT):
        return Given(source, values, mode, change)
    intent = Intent.of(limits["intent"]) if "intent" in limits else None
    return Given(source, values, mode, change, intent=intent, on_loop=_callable(limits.get("on_loop")))


def _callable(hook: Any) -> Callable[[Finding], object] | None:
    if hook is not None and (not callable(hook) or iscoroutinefunction(hook)):
        raise SettingsError("on_loop", hook, "a plain function that takes a finding and returns True to let it go on")
    return cast("Callable[[Finding], object] | None", hook)


def _known(name: str, value: Any) -> Setting:
    names = list(LimitArgs.__annotations__)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(name, value, f"one of the limits {', '.join(names)}{hint}")
    if name in LEARNABLE and value in (AUTO, AUTO.value):
        return AUTO
    return checked(name, value)


AROUND: ContextVar[tuple[Given, ...]] = ContextVar("hangtight-limits", default=())
"""What `limits()` gave, the innermost first."""


@contextmanager
def limits(*, mode: str | None = None, **limits: Unpack[LimitArgs]) -> Iterator[None]:
    """Inside the block these limits hold for each call that gives none of its own: our clients', and `watch`.

    >>> with limits(idle=60, total=1200):
    ...     pass
    """
    place = given(limits, mode, source="hangtight.limits", change="hangtight.limits({name}={value})")
    token = AROUND.set((place, *AROUND.get()))
    try:
        yield
    finally:
        AROUND.reset(token)
