"""When a guarded block is rung, and when it had better not be: the part that alarm and exception share.

A block is only ever rung where its own code runs. Code of ours that enters and leaves blocks is let pass first: what
is raised there would come out of a block that has just been left, or would leave one armed for good.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from opcode import opmap
from typing import TYPE_CHECKING

from hangtight.core.time import NEVER, Instant, spoken

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from hangtight.training.outcome import Layer

AGAIN = 1.0  # code may have swallowed it: it is told again until the block is left
MOMENT = 0.001  # how soon to look again whether the code has got on to a place where it may be rung
PATIENCE = 1.0  # longer than this nobody is in the middle of entering or leaving something
ROOM = __name__.rpartition(".")[0]
DOORS = frozenset(
    f"{ROOM}.{name}" for name in ("ringing", "ringer", "bell", "leaving", "alarms", "raising", "interrupting")
)
"""Here nothing is raised at all."""
HELPERS = frozenset({"contextlib"})
"""Between the `with` of somebody and the block that it leaves."""
WEAKLY = frozenset(("weakref", "_weakrefset"))
LETS_GO = frozenset(
    number
    for name, number in opmap.items()
    if name == "POP_TOP"
    or name.startswith(("STORE_FAST", "STORE_GLOBAL", "STORE_DEREF", "STORE_NAME"))
    or name.startswith(("DELETE_FAST", "DELETE_GLOBAL", "DELETE_DEREF", "DELETE_NAME"))
)
"""What calls nobody: code that runs inside it is the last word of something that went, as a callback of weakref."""
BACK = frozenset(number for name, number in opmap.items() if name.startswith("JUMP_BACKWARD"))


class Rung(BaseException):
    """The time is over, wherever the code is. Not an Exception: models swallow those."""

    block: Block
    """Whose time it was."""

    def __init__(self) -> None:
        self.block.heard += 1

    def __str__(self) -> str:
        return f"timed out after {spoken(self.block.seconds)}{self.block.where and f' in {self.block.where}'}"


class Block:
    """One stretch of code with a time of its own, in one thread."""

    layer: Layer

    def __init__(self, seconds: float, where: str, moves: Callable[[], Instant] | None = None) -> None:
        self.seconds = seconds
        self.where = where
        self.moves = moves
        """Asked when it is due: the instant that is meant by now, which may be later."""
        self.due = NEVER
        self.rang = False
        """It was told. An exception waits until Python runs, and may be taken back before."""
        self.heard = 0
        """How often that has come to its code."""
        self.left = False
        self.ident = 0
        self.depth = 0
        self.outer: Block | None = None
        self.rung: type[Rung] = Rung
        """What is raised for it: a class, as an asynchronous exception must be."""
        self._waiting: Instant | None = None

    def begins(self, ident: int, now: Instant) -> None:
        self.ident = ident
        self.due = Instant(now + max(0.0, self.seconds))
        self.outer = INNERMOST.get(ident)
        self.depth = 0 if self.outer is None else self.outer.depth + 1
        INNERMOST[ident] = self

    def ends(self) -> None:
        """Asked again and again it does the same: who leaves may be interrupted at it."""
        self.left = True
        innermost = INNERMOST.get(self.ident)
        if innermost is not self:
            return  # a generator was left late, or twice: whoever is innermost steps over this one
        outer = self.outer
        while outer is not None and outer.left:
            outer = outer.outer
        if outer is None:
            INNERMOST.pop(self.ident, None)
        else:
            INNERMOST[self.ident] = outer

    def ring(self, now: Instant, frame: FrameType | None) -> bool:
        """Shall it be rung now? `frame` is where its thread is."""
        if self.left or now < self.due:
            return False
        if self.moves is not None and now < (due := self.moves()):
            self.due = min(due, Instant(now + self.seconds))  # what it says may come nearer again
            return False
        if self._around_it_has_rung():
            self.due = Instant(now + AGAIN)  # that one ends this block, too; a second one would take its place
            return False
        if self._must_wait(now, frame):
            self.due = Instant(now + MOMENT)
            return False
        self.due = Instant(now + AGAIN)
        if self.rung is Rung:
            self.rung = type("Rung", (Rung,), {"block": self})
        self.rang = True
        return True

    def _around_it_has_rung(self) -> bool:
        outer = self.outer
        while outer is not None:
            if outer.rang and not outer.left:
                return True
            outer = outer.outer
        return False

    def _must_wait(self, now: Instant, frame: FrameType | None) -> bool:
        if _at_our_door(frame):
            return True
        if not _delicate(frame):
            self._waiting = None
            return False
        if self._waiting is None:
            self._waiting = now
        return now - self._waiting < PATIENCE


INNERMOST: dict[int, Block] = {}
"""By thread. Changed by the thread itself, in single steps; without a lock, as it may be interrupted holding one."""


def _at_our_door(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in DOORS:
            return True
        frame = frame.f_back
    return False


def _delicate(frame: FrameType | None) -> bool:
    """Its innermost code is the room's, which enters or leaves and is done at once; or what is raised would be lost."""
    at = frame
    while at is not None and at.f_globals.get("__name__") in HELPERS:
        at = at.f_back
    if at is not frame or (at is not None and str(at.f_globals.get("__name__")).startswith(f"{ROOM}.")):
        return True
    if frame is not None and _falls_through(frame.f_code, frame.f_lasti):
        return True
    while frame is not None:
        last_words = frame.f_code.co_name == "__del__" or frame.f_globals.get("__name__") in WEAKLY
        if last_words or _lets_go(frame.f_back):
            return True
        frame = frame.f_back
    return False


def _falls_through(code: CodeType, at: int) -> bool:
    """Python 3.13 leaves the jump at the end of a loop out of the `with` around it: an error there would pass it by."""
    return at > 1 and code.co_code[at] in BACK and not _is_covered(code, at) and _is_covered(code, at - 2)


def _is_covered(code: CodeType, at: int) -> bool:
    """Whether a `try` or a `with` of this code is around this place."""
    numbers = list(_numbers(code.co_exceptiontable))
    return any(2 * start <= at < 2 * (start + size) for start, size in zip(numbers[::4], numbers[1::4], strict=True))


def _numbers(table: bytes) -> Iterator[int]:
    """As CPython writes them: six bits in each byte, and the seventh says that there are more."""
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            yield value
            value = 0


def _lets_go(caller: FrameType | None) -> bool:
    return caller is not None and caller.f_lasti >= 0 and caller.f_code.co_code[caller.f_lasti] in LETS_GO


def current_frame_of(ident: int) -> FrameType | None:
    """Where a thread is; None for one that is no more."""
    return sys._current_frames().get(ident)
