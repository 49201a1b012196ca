"""What is written down about a generation: small facts, made on the hot path and told in words by the writer.

Instants in here are wall-clock seconds since the epoch (`at`) or seconds since the generation began (`after`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hangtight.core.layers import Resolved


class Begun(NamedTuple):
    """A generation began: what its limits are and where each number comes from."""

    id: str
    call: str
    """The id of the first attempt of the same call; its own for a first attempt."""
    at: float
    resolved: Resolved | None
    """None where the call was not begun."""
    model: str = ""
    mode: str = ""
    run: str = ""
    step: str = ""
    host: str = ""
    """`127.0.0.1:11434`, or empty where it is not known."""
    prompt_tokens: int = 0
    """As estimated from the text; 0 where nothing is known."""
    left: float | None = None
    """What the budget had left."""


class Named(NamedTuple):
    """The model, or its server, showed itself only later; other limits may hold from then on."""

    id: str
    after: float
    model: str
    host: str
    resolved: Resolved | None = None


class Kind(StrEnum):
    """What may be noted between the beginning and the end."""

    QUEUED = "queued"
    """It waits for a slot; `told` is its place, 1 for the next to go."""
    ADMITTED = "admitted"
    """It has one; `told` is how many seconds it waited."""
    LOADING = "loading"
    READY = "ready"
    HEARTBEAT = "heartbeat"
    """`told` is the core's Heartbeat."""
    EXTENDED = "extended"
    """What the text says has moved the deadline; `told` is from where, to where, and why."""
    SHORTENED = "shortened"
    SUSPECTED = "may be stuck"
    """`told` is what was seen, without a word of the text."""
    LOOPED = "looping"
    """It repeats itself; `told` is how."""
    LET_GO_ON = "let go on"
    """Whoever was asked said that this loop is as it should be."""
    RANG = "rang"
    """A limit was broken; `told` is the core's Broken."""
    CANCEL_SENT = "cancel sent"
    CANCEL_AGAIN = "cancel sent again"
    CANCEL_CONFIRMED = "cancel confirmed"
    """The source is closed; `told` is how many seconds that took."""
    LEFT_RUNNING = "left running"
    EXCUSED = "excused"
    """Our own alarm came late; `told` is by how many seconds."""
    FALLBACK = "fallback"
    """This one was asked in place of another; `told` is the core's Attempt that failed."""
    PAUSED = "paused"
    """`told` is the owner."""
    RESUMED = "resumed"
    WRAP_UP = "should wrap up"
    """The step has used what was allotted to it; `told` is the name of the step."""
    REMARK = "remark"
    """A sentence for people."""


class Noted(NamedTuple):
    """A time decision, or a sign of life."""

    id: str
    after: float
    kind: Kind
    told: Any = None


class Ended(NamedTuple):
    """The verdict."""

    id: str
    after: float
    """Elapsed, when the verdict fell."""
    outcome: str
    tokens: int = 0
    first_token: float | None = None
    longest_gap: float | None = None
    """The longest silence between two pieces; None where there were not two."""
    limit: str = ""
    """The limit that was broken."""
    waited: float | None = None
    source: str = ""
    """Where that limit came from."""
    prompt_tokens: int | None = None
    """As the server counts them."""
    answer_tokens: int | None = None
    error: str = ""
    """One line: what went wrong, where something did. Never text of the model."""


class Dropped(NamedTuple):
    """Somebody nearer to the wire keeps the clocks of this generation: its record is theirs."""

    id: str


class Happening(StrEnum):
    """What changes how a run of a workflow, or a step of it, stands. Of other kinds it is only known that they were."""

    HEARTBEAT = "LLM_HEARTBEAT"
    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RUN_FINISHED = "run_finished"
    STEP_STARTED = "step_started"
    PROGRESS = "progress"
    """Changes its step, and is no line of its own: there may be thousands."""
    TIMED_OUT = "timed_out"
    RETRIED = "retried"
    STEP_FINISHED = "step_finished"


class Happened(NamedTuple):
    """An event of a run of a workflow, as the workflow tells it."""

    run: str
    at: float
    kind: str
    flow: str = ""
    step: str = ""
    payload: str = ""
    """In words, for people."""
    told: Mapping[str, Any] | None = None
    """`elapsed`, `outcome`, `error`, ... whatever there is."""


Entry = Begun | Named | Noted | Ended | Dropped | Happened
