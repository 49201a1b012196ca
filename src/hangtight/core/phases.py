"""The phases of one generation and every legal step between them: the specification, the check, the diagram."""

from __future__ import annotations

from enum import StrEnum

from hangtight.core.facts import (
    Absent,
    Admitted,
    Advised,
    Asked,
    Broke,
    Calling,
    Cancelled,
    Closed,
    Contact,
    Content,
    Fact,
    Finished,
    Handed,
    Left,
    LoadProgress,
    Paused,
    PrefillProgress,
    Queued,
    Ready,
    Reasoning,
    Resident,
    Resumed,
    Slept,
    Whole,
)


class Phase(StrEnum):
    QUEUED = "queued"
    LOADING = "loading"
    WAITING = "waiting"
    UNSTREAMED = "unstreamed"
    THINKING = "thinking"
    STREAMING = "streaming"
    CLOSING = "closing"
    CANCELLING = "cancelling"
    ENDED = "ended"


class Outcome(StrEnum):
    """The one verdict on a generation."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    LOOPING = "looping"
    """We ended it, because it said the same again and again."""
    FAILED = "failed"
    LEFT = "left"
    CANCELLED = "cancelled"


Row = dict[type[Fact], Phase]


def _live(phase: Phase) -> Row:
    """What may happen at any time in a living generation."""
    staying: tuple[type[Fact], ...] = (Asked, Handed, Contact, Advised, Paused, Resumed, Slept)
    return dict.fromkeys(staying, phase) | {
        Closed: Phase.ENDED,
        Broke: Phase.ENDED,
        Left: Phase.CANCELLING,
        Cancelled: Phase.CANCELLING,
    }


_ANSWERING: Row = {
    Content: Phase.STREAMING,
    Calling: Phase.STREAMING,
    Reasoning: Phase.THINKING,
    Finished: Phase.CLOSING,
}


_ABOUT_THE_LOAD: tuple[type[Fact], ...] = (LoadProgress, PrefillProgress, Resident, Absent, Ready)
"""The server is asked for some of this beside the request: the answer may come when it moves nothing any more."""


def _flowing(phase: Phase) -> Row:
    """Content flows. A server that still talks about its load or its prompt is merely in contact."""
    return _live(phase) | dict.fromkeys(_ABOUT_THE_LOAD, phase) | _ANSWERING


LEGAL: dict[Phase, Row] = {
    Phase.QUEUED: _live(Phase.QUEUED)
    | {
        Queued: Phase.QUEUED,
        Resident: Phase.QUEUED,
        Admitted: Phase.WAITING,
        Absent: Phase.LOADING,
    },
    Phase.LOADING: _live(Phase.LOADING)
    | _ANSWERING
    | {
        Admitted: Phase.LOADING,
        Absent: Phase.LOADING,
        LoadProgress: Phase.LOADING,
        PrefillProgress: Phase.WAITING,
        Ready: Phase.WAITING,
        Resident: Phase.WAITING,
        Whole: Phase.UNSTREAMED,
    },
    Phase.WAITING: _live(Phase.WAITING)
    | _ANSWERING
    | {
        Queued: Phase.QUEUED,
        Absent: Phase.LOADING,
        LoadProgress: Phase.WAITING,
        PrefillProgress: Phase.WAITING,
        Ready: Phase.WAITING,
        Resident: Phase.WAITING,
        Whole: Phase.UNSTREAMED,
    },
    Phase.UNSTREAMED: _live(Phase.UNSTREAMED)
    | dict.fromkeys(_ABOUT_THE_LOAD, Phase.UNSTREAMED)
    | {Content: Phase.UNSTREAMED, Calling: Phase.UNSTREAMED, Whole: Phase.UNSTREAMED, Finished: Phase.CLOSING}
    | {Queued: Phase.QUEUED},
    Phase.THINKING: _flowing(Phase.THINKING),
    Phase.STREAMING: _flowing(Phase.STREAMING),
    # After the finish reason only usage and the end mark are due; but a second choice may still be streaming.
    Phase.CLOSING: _flowing(Phase.CLOSING),
    # What was already on its way when we asked the source to stop still counts as received.
    Phase.CANCELLING: _flowing(Phase.CANCELLING)
    | dict.fromkeys((Content, Calling, Reasoning, Finished, Queued, Admitted, Whole), Phase.CANCELLING),
    Phase.ENDED: {},
}


class IllegalFact(Exception):
    """A driver recorded what cannot happen in this phase: a bug of ours, never of a model."""

    def __init__(self, phase: Phase, fact: Fact) -> None:
        super().__init__(f"{type(fact).__name__} cannot happen to a generation that is {phase}")
