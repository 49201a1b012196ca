"""Words that the command line, the journal and the gateway share: lengths, and what a model is at."""

from __future__ import annotations

from hangtight.intent.findings import Doing

USUAL_TIMEOUT = 30.0  # seconds: what many a client gives a local model
FINE = 10.0  # below that, tenths of a second say something
PLAINLY = frozenset(doing.value for doing in Doing if doing is not Doing.STUCK)
"""What a model is at; all else that is said of it is a suspicion."""


def seconds(length: float) -> str:
    """`3.1 s`, `12 s`, `1.5 s`: tenths where they say something."""
    return f"{length:.1f} s" if length < FINE else f"{length:.0f} s"


def at_work(doing: str) -> str:
    """What it is at, in a word; a suspicion is told as one."""
    if not doing or doing in PLAINLY:
        return doing
    return "may be stuck" if doing == Doing.STUCK else f"may be stuck ({doing})"
