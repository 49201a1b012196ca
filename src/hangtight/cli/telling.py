"""The words of `hangtight ask` about time: the line below the answer, and the receipt at its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.core.limits import Limit
from hangtight.core.phases import Phase
from hangtight.core.telling import describe
from hangtight.core.time import plain
from hangtight.core.words import PLAINLY, USUAL_TIMEOUT, at_work, seconds
from hangtight.intent.findings import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hangtight.core.heartbeat import Snapshot
    from hangtight.errors import Looping

WORTH_SAYING = 3.0  # seconds of pings; fewer are between any two tokens
DOT = " · "
WHOLE = 100.0  # per cent
REACHED_ITS_LENGTH = "length"

# A model may say anything, also what would move our cursor or set the title: all controls but line feed and tab.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return CONTROLS.sub("", text)


def rate(snapshot: Snapshot) -> float | None:
    """Tokens per second since the first one, a silence at the end left out; None while that cannot be said."""
    if snapshot.first_token is None or snapshot.tokens <= 1:
        return None
    span = snapshot.elapsed - snapshot.first_token - snapshot.silence
    return (snapshot.tokens - 1) / span if span > 0 else None


class Move(NamedTuple):
    """By what the model was at, its total was moved."""

    before: float
    after: float
    why: str

    @property
    def is_longer(self) -> bool:
        return self.after > self.before

    def __str__(self) -> str:
        return f"deadline {plain(round(self.before, 1))} s -> {plain(round(self.after, 1))} s"


def moved(snapshot: Snapshot, total: float | None) -> Move | None:
    """How its total stands beside the one that was promised, where it differs."""
    if snapshot.total is None or total is None or snapshot.total == total:
        return None
    return Move(total, snapshot.total, snapshot.doing)


def status_line(snapshot: Snapshot, width: int, read: float | None = None, total: float | None = None) -> str:
    """How a generation stands: phase, what it says, elapsed, first token, pace, pings, its deadline, what rings when.

    Where that is too wide, what is said least urgently is left out.
    """
    phase = describe(snapshot.phase)
    if read is not None and snapshot.phase is Phase.WAITING:
        phase = f"reading the prompt, {read:.0%}".replace("%", " %")
    first = "" if snapshot.first_token is None else f"first token {seconds(snapshot.first_token)}"
    pace = "" if (found := rate(snapshot)) is None else f"{found:.1f} tokens/s"
    pings = snapshot.in_contact and snapshot.silence >= WORTH_SAYING
    contact = f"pings, no content for {snapshot.silence:.0f} s" if pings else ""
    rings = "" if snapshot.rings_in is None else f"{_named(snapshot.nearest)} rings in {snapshot.rings_in:.0f} s"
    move = moved(snapshot, total)
    deadline, doing = "" if move is None else str(move), at_work(snapshot.doing)
    parts = [phase, doing, f"{snapshot.elapsed:.0f} s", first, pace, contact, deadline, rings]
    for least in (first, pace, deadline, rings, contact, doing):
        line = DOT.join(filter(None, parts))
        if len(line) <= width:
            break
        parts.remove(least)
    return DOT.join(filter(None, parts))


def _named(limit: Limit | None) -> str:
    return "the alarm" if limit is None else limit.value.replace("_", " ")


def receipt(tokens: int, elapsed: float, reason: str = "", move: Move | None = None) -> str:
    """What it was, in one line: `214 tokens in 181 s. A 30 s timeout would have killed this at 17 %.`"""
    line = f"{tokens} token{'' if tokens == 1 else 's'} in {seconds(elapsed)}{_extended(move)}."
    if elapsed > USUAL_TIMEOUT:
        share = f"{USUAL_TIMEOUT / elapsed:.0%}".replace("%", " %")
        line += f" A {USUAL_TIMEOUT:.0f} s timeout would have killed this at {share}."
    if reason == REACHED_ITS_LENGTH:
        line += " It ended at the server's limit on length."
    return line


def _extended(move: Move | None) -> str:
    """` (extended 120 -> 192 s: it was coding)`; what was taken away did no harm in the end."""
    if move is None or not move.is_longer:
        return ""
    why = f": it was {move.why}" if move.why in PLAINLY else ""
    return f" (extended {plain(move.before)} -> {plain(move.after)} s{why})"


def worth_keeping(error: Looping, where: str) -> str:
    """How much of the text does not repeat itself, in a line; nothing where there is no text."""
    whole, kept = len(error.partial), len(error.useful)
    if whole:
        part = f"all {whole:,}" if kept == whole else f"the first {kept:,} of the {whole:,}"
    elif error.loop is not None and error.loop.channel is Channel.ANSWER:
        part = f"the first {error.loop.start + error.loop.period:,}"  # of what nobody kept, the loop says it
    else:
        return ""
    return f"worth keeping:  {part} characters {where}\n"


def how_far(told: Mapping[str, Any], since: float = 0.0) -> str:
    """How far a run was, and when it will end; `since` are the seconds that have gone since that was told.

    >>> how_far({"percent": 42.5, "left": 20.0, "left_low": 8.0, "left_high": 60.0}, since=10.0)
    '42 %, about 10 s left (0 to 50 s)'
    """
    percent = told.get("percent")
    if not isinstance(percent, int | float):
        return ""
    share = f"{int(percent)} %"
    if percent >= WHOLE:
        return share
    lengths = (told.get(name) for name in ("left", "left_low", "left_high"))
    left, low, high = (max(0.0, each - since) if isinstance(each, int | float) else None for each in lengths)
    if left is None:
        return share if high is None else f"{share}, at most {high:.0f} s left"
    span = "" if low is None or high is None else f" ({low:.0f} to {high:.0f} s)"
    return f"{share}, about {left:.0f} s left{span}"
