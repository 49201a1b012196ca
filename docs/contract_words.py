"""The words of the time contract's page: each limit in a sentence, and each layer that may give one.

`make_time_contract.py` puts the numbers beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hangtight.core.layers import Rank


@dataclass(frozen=True, kw_only=True)
class Row:
    """One limit in words. `fed_by` are the names that a room outside of core must use for the clock to start."""

    starts: str
    restarts: str
    stops: str
    about: str
    fed_by: tuple[str, ...] = ()


ROWS: dict[str, Row] = {
    "first_token": Row(
        starts="the request is sent",
        restarts="the server, or a process on stderr, shows that it gets on with the load or the prompt",
        stops="first progress",
        about="Silence before the first piece. A model that may have to load gets more, see the allowances.",
    ),
    "idle": Row(
        starts="somebody waits for the next piece",
        restarts="progress",
        stops="the end; stands while nobody waits",
        about="Silence in the middle. While you work on a piece the clock stands: a slow reader is not a slow model.",
    ),
    "total": Row(
        starts="the call, or later for a model that may have to load",
        restarts="never; it may be moved up to `extend_to`",
        stops="the end",
        about="The whole call. No token moves it by itself; in a mode, what the text shows may, see below.",
    ),
    "extend_to": Row(
        starts="with `total`",
        restarts="never",
        stops="the end",
        about="How far `total` may be moved up for a model that gets on. As long as `total`, it moves nothing.",
    ),
    "heartbeat": Row(
        starts="the call",
        restarts="each heartbeat",
        stops="the end, however it ends",
        about="Not a limit but an interval: the sign of life for `on_heartbeat`. 0 or `None` is off.",
    ),
    "thinking": Row(
        starts="first reasoning",
        restarts="reasoning",
        stops="content",
        about="Takes the place of `idle` while the model reasons. Pings do not restart it.",
    ),
    "unstreamed": Row(
        starts="the call",
        restarts="never",
        stops="the answer",
        about="An answer that comes in one piece, as `await hangtight.watch(...)` waits for. No token is seen there.",
    ),
    "queue": Row(
        starts="the request is accepted",
        restarts="never",
        stops="a slot is given",
        about="Waiting for a slot.",
        fed_by=("Queued",),
    ),
    "load": Row(
        starts="the server says that the model is not in memory",
        restarts="load progress",
        stops="the model is in memory",
        about="A load that can be seen, on a server that tells.",
        fed_by=("Absent",),
    ),
    "cancel": Row(
        starts="we ask the source to stop",
        restarts="we ask again",
        stops="the source is closed",
        about="How long a source may take to close. It is reported (`.left_running`), never raised.",
    ),
    "cold": Row(
        starts="-",
        restarts="-",
        stops="-",
        about="Not a clock but an allowance: what `first_token` gets on top for a load that nobody can see.",
    ),
}

RANKS: dict[Rank, str] = {
    Rank.CALL: "what this call was given: its arguments or options, its headers, `limits()` around it, its client",
    Rank.STEP: "`step_timeout` of the settings, for a call inside a step of a budget",
    Rank.RUN: "a run of a workflow",
    Rank.MODE: "the mode: what the project's rules say of it, then `hangtight.yaml`, then what is shipped",
    Rank.MODEL: "the model's own section of the settings, then the sections of patterns that match its name",
    Rank.ENVIRONMENT: "environment variables, then those of `.env`",
    Rank.FILE: "the general section of the project's rules, then that of `hangtight.yaml`",
    Rank.DEFAULT: "the numbers of the table above",
}
