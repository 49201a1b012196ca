"""A script and a request become a sequence of steps, without a clock or a socket.

An endless fault is an endless sequence. Lengths add up: the step after `Wait(1)`, `Wait(2)` is due
three seconds after the first one began, however long the sending took.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count, repeat

from hangtight.testing.lab.script import Fault, Script
from hangtight.testing.lab.wire import ENGINE_ERROR, Ask, Close, Spent, Wire
from hangtight.testing.lab.words import Token, length, tokens

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing happens for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Contact: bytes that are no token."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Made:
    """One token was generated; `data` is empty where it is not shown yet."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more, and the connection stays open."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends in the middle of the body; reset takes the whole server with it."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The last bytes of an answer that failed but ends in order."""

    data: bytes
    status: int = 200


@dataclass(frozen=True, slots=True)
class Finish:
    """The last bytes of an answer; where it lingers, the body is not ended after them."""

    data: bytes
    lingers: bool = False


Step = Wait | Send | Made | Hang | Cut | Failed | Finish


def streamed(script: Script, ask: Ask, wire: Wire, load: float) -> Iterator[Step]:
    """The steps of a streamed answer, from its opening on; `load` is how long this request waited for it."""
    yield Send(wire.opening())
    yield from _prefill(script, ask, wire)
    made = 0
    for made, token in enumerate(chain([None], tokens(script.answer, ask.limit))):
        if token is not None:
            yield Wait(1 / script.answer.rate)
            yield Made(wire.token(token))
        for fault in _after(script, made):
            yield from _streamed_fault(fault, script, wire)
            if not fault.passes:
                return
    close = _close(script, ask, wire, Spent(load=load), made)
    yield Finish(wire.close(close) + (wire.done(close) if script.ending.done else b""), script.ending.lingers)


def unstreamed(script: Script, ask: Ask, wire: Wire, load: float) -> Iterator[Step]:
    """The steps of an answer in one piece: nothing is to be seen until the end."""
    yield Wait(script.start.prefill)
    said: list[Token] = []
    torn, made = False, 0
    for made, token in enumerate(chain([None], tokens(script.answer, ask.limit))):
        if token is not None:
            yield Wait(1 / script.answer.rate)
            yield Made()
            if not script.answer.endless:
                said.append(token)
        for fault in _after(script, made):
            if not fault.passes:
                yield from _unstreamed_fault(fault, script, wire)
                return
            torn = torn or fault.kind == "garbage"
            said += [_huge(fault)] if fault.kind == "oversized" else []
    whole = wire.whole(said, _close(script, ask, wire, Spent(load=load), made))
    yield Finish(whole[: len(whole) // 2] if torn else whole, script.ending.lingers)


def _prefill(script: Script, ask: Ask, wire: Wire) -> Iterator[Step]:
    start = script.start
    if start.progress == "no" or (start.progress == "asked" and not ask.extras.progress):
        yield Wait(start.prefill)
        return
    parts = max(1, round(start.prefill / script.every))
    for part in range(1, parts + 1):
        yield Wait(start.prefill / parts)
        yield Send(wire.progress(part / parts, start.prefill * part / parts))


def _after(script: Script, made: int) -> list[Fault]:
    return [fault for fault in script.faults if fault.after == made]


def _streamed_fault(fault: Fault, script: Script, wire: Wire) -> Iterator[Step]:
    match fault.kind:
        case "mute":
            yield Hang()
        case "pings":
            yield from _spaced(script.every, repeat(wire.ping()))
        case "empties":
            yield from _spaced(script.every, map(wire.empty, count()))
        case "drip":
            yield from _dripped(script.every, wire.drip())
        case "disconnect" | "dies":
            yield Cut(reset=fault.kind == "dies")
        case "error":
            yield Failed(wire.error())
        case "garbage":
            yield Send(wire.garbage())
        case "oversized":
            yield Send(wire.token(_huge(fault)))


def _unstreamed_fault(fault: Fault, script: Script, wire: Wire) -> Iterator[Step]:
    match fault.kind:
        case "drip":
            whole = wire.whole([Token("@", "answer", True, True)], Close(reason=None, tokens=1))
            yield from _dripped(script.every, whole[: whole.index(b"@")])
        case "disconnect" | "dies":
            yield Cut(reset=fault.kind == "dies")
        case "error":
            yield Failed(wire.refusal(500, ENGINE_ERROR), 500)
        case _:
            yield Hang()  # what a stream shows as contact, nobody can see here


def _spaced(every: float, pieces: Iterable[bytes]) -> Iterator[Step]:
    for piece in pieces:
        yield Send(piece)
        yield Wait(every)


def _dripped(every: float, start: bytes) -> Iterator[Step]:
    """The start of an event byte by byte, then text in it without end: it can never be completed."""
    return _spaced(every, chain((bytes([byte]) for byte in start), repeat(b"x")))


def _huge(fault: Fault) -> Token:
    return Token("x" * (fault.size * MIB), "answer", False, False)


def _close(script: Script, ask: Ask, wire: Wire, spent: Spent, made: int) -> Close:
    answer = script.answer
    reached = not answer.endless and length(answer, ask.limit) != length(answer, None)
    return Close(
        reason=wire.reason(reached, answer.tool) if script.ending.reason else None,
        tokens=made,
        spent=replace(spent, prefill=script.start.prefill, answer=made / answer.rate),
    )
