"""The words of `hangtight ask` about time: the line below the answer, and the receipt at its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hangtight.core.limits import Limit
from hangtight.core.phases import Phase
from hangtight.core.telling import describe

if TYPE_CHECKING:
    from hangtight.core.heartbeat import Snapshot

USUAL_TIMEOUT = 30.0  # what many a client gives a local model
FINE = 10.0  # below that, tenths of a second say something
WORTH_SAYING = 3.0  # seconds of pings; fewer are between any two tokens
DOT = " · "
REACHED_ITS_LENGTH = "length"

# A model may say anything, also what would move our cursor or set the title: all controls but line feed and tab.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return CONTROLS.sub("", text)


def seconds(length: float) -> str:
    """`3.1 s`, `12 s`, `1.5 s`: tenths where they say something."""
    return f"{length:.1f} s" if length < FINE else f"{length:.0f} s"


def rate(snapshot: Snapshot) -> float | None:
    """Tokens per second since the first one, a silence at the end left out; None while that cannot be said."""
    if snapshot.first_token is None or snapshot.tokens <= 1:
        return None
    span = snapshot.elapsed - snapshot.first_token - snapshot.silence
    return (snapshot.tokens - 1) / span if span > 0 else None


def status_line(snapshot: Snapshot, width: int, read: float | None = None) -> str:
    """How a generation stands: phase, elapsed, first token, pace, pings, and what rings when.

    Where that is too wide, what is said least urgently is left out.
    """
    doing = describe(snapshot.phase)
    if read is not None and snapshot.phase is Phase.WAITING:
        doing = f"reading the prompt, {read:.0%}".replace("%", " %")
    first = "" if snapshot.first_token is None else f"first token {seconds(snapshot.first_token)}"
    pace = "" if (found := rate(snapshot)) is None else f"{found:.1f} tokens/s"
    pings = snapshot.in_contact and snapshot.silence >= WORTH_SAYING
    contact = f"pings, no content for {snapshot.silence:.0f} s" if pings else ""
    rings = "" if snapshot.rings_in is None else f"{_named(snapshot.nearest)} rings in {snapshot.rings_in:.0f} s"
    parts = [doing, f"{snapshot.elapsed:.0f} s", first, pace, contact, rings]
    for least in (first, pace, rings, contact):
        line = DOT.join(filter(None, parts))
        if len(line) <= width:
            break
        parts.remove(least)
    return DOT.join(filter(None, parts))


def _named(limit: Limit | None) -> str:
    return "the alarm" if limit is None else limit.value.replace("_", " ")


def receipt(tokens: int, elapsed: float, reason: str = "") -> str:
    """What it was, in one line: `214 tokens in 181 s. A 30 s timeout would have killed this at 17 %.`"""
    line = f"{tokens} token{'' if tokens == 1 else 's'} in {seconds(elapsed)}."
    if elapsed > USUAL_TIMEOUT:
        share = f"{USUAL_TIMEOUT / elapsed:.0%}".replace("%", " %")
        line += f" A {USUAL_TIMEOUT:.0f} s timeout would have killed this at {share}."
    if reason == REACHED_ITS_LENGTH:
        line += " It ended at the server's limit on length."
    return line
