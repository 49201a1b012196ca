"""2,000 streams at once, some of which go silent at instants that are known: who is lost, and when the alarms ring."""

from __future__ import annotations

import math

from benchmarks.gateway.load import Load, Seen, drive, share, told
from benchmarks.gateway.peers import Stage
from benchmarks.gateway.said import SILENT_SINCE, Answer, Ask, Script
from benchmarks.row import Row

STREAMS = 2_000
IDLE = 3.0
GAP = 0.25
"""Seconds between two tokens: 8,000 a second in all, so that one process has time left on two cores that all share."""
TOKENS = 60
SILENT_EACH = 10
"""One stream out of so many goes silent."""
AFTER = (20, 28, 36, 44)
"""After so many tokens, one or the other: some alarms come by themselves and some with others."""
BEGUN_WITHIN = 4.0
LATE = 50.0
"""Milliseconds."""
RSS = 200.0
HEADERS = (("X-Hangtight-Idle", f"{IDLE:g}"),)
"""As a request's own limit: it is no mark against the model, which the others go on using."""


def asks() -> tuple[Ask, ...]:
    healthy = Ask(Script(tokens=TOKENS, gap=GAP), headers=HEADERS)
    silent = [healthy._replace(script=healthy.script._replace(silent_after=after)) for after in AFTER]
    return tuple(ask for one in silent for ask in ([healthy] * (SILENT_EACH - 1) + [one]))


def rows(stage: Stage) -> list[Row]:
    seen = drive(stage.gateway, Load(asks(), STREAMS, 1, spread=BEGUN_WITHIN))
    late = sorted(lateness(ask, answer) for ask, answer in seen.answers if ask.script.silent_after)
    owed = STREAMS // SILENT_EACH
    for line in (*seen.lost[:2], *seen.wrong[:2]):
        told(f"such as: {line}")
    healthy = len(seen.answers) - len(late)
    return [
        Row("2,000 paced streams at once: lost", len(seen.lost), "", 0),
        Row("of these, cut short, timed out though healthy, or wrong", STREAMS - owed - healthy, "", 0),
        Row("of 200 that go silent: without an error event", owed - len(late), "", 0),
        Row("an alarm rings late by, p50", share(late, 0.5), "ms", math.inf),
        Row("an alarm rings late by, p99", share(late, 0.99), "ms", LATE),
        Row("the earliest alarm rings late by", share(late, 0.0), "ms", math.inf),
        Row("gateway, memory with 2,000 streams", seen.rss, "MB", RSS),
        Row("gateway, of a core meanwhile", busy(seen), "%", math.inf),
    ]


def busy(seen: Seen) -> float:
    return seen.cpu / seen.seconds * 100


def lateness(ask: Ask, answer: Answer) -> float:
    """Milliseconds from the end of the limit to the error that says so; below 0 it was too early."""
    since = SILENT_SINCE.search(answer.body)
    return (answer.failed - float(since.group(1)) - IDLE) * 1e3 if since else math.nan
