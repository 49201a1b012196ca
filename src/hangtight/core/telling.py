"""The three lines of a timeout: what happened; which number, from where; the exact line to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hangtight.core.limits import Limit
from hangtight.core.phases import Phase
from hangtight.core.time import counted, plain, spoken
from hangtight.errors import (
    FirstTokenTimeout,
    GenerationTimeout,
    IdleTimeout,
    LoadTimeout,
    Looping,
    QueueTimeout,
    TotalTimeout,
)

if TYPE_CHECKING:
    from hangtight.core.generation import Generation
    from hangtight.core.layers import Resolved, Value
    from hangtight.core.orders import Broken
    from hangtight.intent.findings import Finding


class Door(NamedTuple):
    """The way by which a call came in: what must be changed there, and where the text so far is."""

    change: str
    """The line to change, with `{name}`, `{flag}` and `{value}`."""
    kept: str = ", kept in .partial"

    def change_of(self, name: str, value: str) -> str:
        """The line to change for this setting; a switch of a command is told by its name alone."""
        if "{flag}" in self.change and value == "False":
            return self.change.replace("--{flag} {value}", f"--no-{name}")
        return self.change.format(name=name, flag=name, value=value)


INTENT = "intent"
"""What stands in the place of a limit where a generation was ended for what it said."""
WHY = "      why: "
"""Stands before the command that tells the whole story, in the last line of an error."""
LONGER = 2  # the line to change is shown with a number twice as long


def timeout_error(
    broken: Broken, generation: Generation, resolved: Resolved, *, elapsed: float, door: Door, why: str = ""
) -> GenerationTimeout:
    """The error for a broken limit; the driver adds what only it knows (`partial`, `left_running`).

    `why` is the command that tells the whole story, or how to have one told.
    """
    value = resolved.values[broken.limit.value]
    so_far = _so_far(generation.tokens, elapsed, door.kept)
    lines = (
        f"{generation.model} {_what_happened(broken)} ({so_far})",
        f"{broken.limit.value} = {_number(value.value)} {_origin(value)}{_allowed(broken, value, generation)}",
        f"to wait longer:  {_longer(value.change or door.change, broken)}{why and f'{WHY}{why}'}",
    )
    error = _kind(broken.limit, generation)("\n".join(lines))
    error.limit, error.model, error.source = broken.limit.value, generation.model, value.source
    error.waited, error.elapsed, error.tokens = broken.waited, elapsed, generation.tokens
    return error


def looping_error(
    found: Finding, generation: Generation, *, elapsed: float, door: Door, origin: str, why: str = ""
) -> Looping:
    """The error for a generation that was ended for what it said. `origin` is who wants that."""
    lines = (
        f"{generation.model} stuck - repeats itself: {found} ({_so_far(generation.tokens, elapsed, door.kept)})",
        f"intent = on ({origin})",
        f"to let it go on:  {door.change_of('intent', 'False')}{why and f'{WHY}{why}'}",
    )
    error = Looping("\n".join(lines))
    error.limit, error.model, error.source = INTENT, generation.model, origin
    error.waited = error.elapsed = elapsed
    error.tokens, error.loop = generation.tokens, found
    return error


def _kind(limit: Limit, generation: Generation) -> type[GenerationTimeout]:
    match limit:
        case Limit.QUEUE:
            return QueueTimeout
        case Limit.LOAD:
            return LoadTimeout
        case Limit.FIRST_TOKEN:
            return FirstTokenTimeout
        case Limit.THINKING:
            return IdleTimeout if generation.tokens else FirstTokenTimeout
        case Limit.IDLE | Limit.CANCEL:
            return IdleTimeout
        case Limit.TOTAL | Limit.UNSTREAMED:  # pragma: no branch - mypy holds that there is no other
            return TotalTimeout


def _what_happened(broken: Broken) -> str:
    waited = spoken(broken.waited)
    match broken.limit:
        case Limit.TOTAL | Limit.UNSTREAMED:
            return f"request timed out ({waited} {broken.limit.value})"
        case Limit.LOAD:
            return f"stuck - not loaded, and no load progress for {waited}"
        case Limit.QUEUE:
            return f"timed out in the queue - no slot for {waited}"
        case _:
            return f"stuck - no output for {waited}"


def _so_far(tokens: int, elapsed: float, kept: str) -> str:
    if not tokens:
        return f"{spoken(elapsed)} elapsed, nothing received"
    return f"{counted(tokens)} in {spoken(elapsed)} so far{kept}"


def _origin(value: Value) -> str:
    return value.source if value.follows else f"comes from {value.source}"


def _allowed(broken: Broken, value: Value, generation: Generation) -> str:
    if value.value is None:
        return ""
    if generation.deadline.is_short and broken.limit is Limit.TOTAL and broken.waited < value.value:
        return f", {spoken(value.value - broken.waited)} less because it seemed to be stuck (intent.shorten)"
    if broken.waited <= value.value:
        return ""
    more = spoken(broken.waited - value.value)
    if broken.limit is Limit.TOTAL and generation.deadline.moved:
        return f", + {more} because it was getting on (extend_to)"
    return f", + {more} allowed for a load or a long prompt"


def _longer(change: str, broken: Broken) -> str:
    """The line to change. Its number is twice what was waited, since a number given in person gets no allowance."""
    number = plain(LONGER * broken.waited)
    return change.format(name=broken.limit.value, flag=broken.limit.value.replace("_", "-"), value=number)


def _number(value: float | None) -> str:
    return "None" if value is None else plain(value)


def describe(phase: Phase) -> str:
    """A phase in the words of the live line."""
    return {Phase.WAITING: "waiting for the first token", Phase.LOADING: "loading the model"}.get(phase, phase.value)
