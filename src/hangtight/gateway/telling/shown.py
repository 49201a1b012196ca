"""What is told of one request, one model and one server, as plain dictionaries. Asked for by people, never per token.

No word of a prompt or of an answer is in any of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.core.explaining import Explained, Said, explained
from hangtight.core.layers import Layer, Rank, Resolved
from hangtight.core.limits import AUTO
from hangtight.core.phases import Outcome
from hangtight.core.time import between
from hangtight.core.timers import Timer
from hangtight.drivers import clock
from hangtight.drivers.terms import Terms
from hangtight.drivers.verdicts import verdict

if TYPE_CHECKING:
    from hangtight.core.attempts import Attempt
    from hangtight.core.generation import Generation
    from hangtight.core.heartbeat import Snapshot
    from hangtight.core.orders import Broken, Moved
    from hangtight.core.time import Instant
    from hangtight.drivers.session import Session
    from hangtight.gateway.calls import GatewayCall
    from hangtight.gateway.exchange import Exchange
    from hangtight.gateway.lanes import Lane, LastEnd
    from hangtight.gateway.looking.looker import Seen
    from hangtight.gateway.readings import GatewayReading
    from hangtight.rules.serving import Serving

Members = dict[str, Any]
DIGITS = 3  # of a second
LONGEST_NAME = 200  # characters of what a client calls its run, its step, its model


def iso(wall: float | None) -> str | None:
    """An instant of the wall clock, in UTC."""
    return None if wall is None else datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")


# -- one request --------------------------------------------------------------------------------------------------


def in_flight(exchange: Exchange) -> Members:
    """How a request stands that is under way."""
    told, reading = _about(exchange), exchange.reading
    if reading is None:
        return told
    session = reading.session
    snapshot = session.machine.snapshot(session.clock())
    return {
        **told,
        "phase": snapshot.phase.value,
        "elapsed": rounded(snapshot.elapsed),
        "expected": expected(session),
        "tokens": snapshot.tokens,
        "silence": rounded(snapshot.silence),
        "in_contact": snapshot.in_contact,
        "first_token": rounded(snapshot.first_token),
        "nearest": nearest(snapshot),
        "total": rounded(snapshot.total),
        "budget_left": budget_left(session),
        "doing": snapshot.doing,
        "seen": snapshot.seen,
        "extended": rounded(moved_by(session.machine)),
        "position": reading.position,
        "attempts": [_failed(attempt) for attempt in exchange.call.attempts.told],
    }


def in_full(exchange: Exchange) -> Members:
    """The same with each limit, and where it comes from."""
    return {**in_flight(exchange), **_limits_of(exchange.reading)}


class Under(NamedTuple):
    """What a generation is under: enough to tell why each of its limits is what it is."""

    terms: Terms
    resolved: Resolved
    model: str


def under(session: Session) -> Under:
    return Under(session.terms, session.resolved, session.machine.model)


class Verdict(NamedTuple):
    """The error that an end was: its class, and what it says."""

    kind: str
    words: str


class Ended(NamedTuple):
    """How a request ended: the bare facts, because each request has such an end and few are ever looked at."""

    id: str
    call: str
    model: str
    asked: str
    server: str
    path: str
    mode: str | None
    run: str
    step: str
    client: str
    streams: bool
    left: bool
    ended: float
    outcome: Outcome
    broken: Broken | None = None
    source: str = ""
    elapsed: float = 0.0
    first_token: float | None = None
    tokens: int = 0
    error: str = ""
    extended: float = 0.0
    at_server: Seen | None = None
    """What its server did when it was cancelled. Often that is known only some time after the end."""
    attempts: tuple[Attempt, ...] = ()
    under: Under | None = None
    verdict: Verdict | None = None

    def told(self) -> Members:
        told, broken = self._asdict(), self.broken
        del told["broken"], told["under"], told["verdict"]
        return {
            **told,
            "ended": iso(self.ended),
            "outcome": self.outcome.value,
            "limit": None if broken is None else broken.limit.value,
            "waited": None if broken is None else rounded(broken.waited),
            "elapsed": rounded(self.elapsed),
            "first_token": rounded(self.first_token),
            "extended": rounded(self.extended),
            "at_server": None if self.at_server is None else seen(self.at_server),
            "attempts": [_failed(attempt) for attempt in self.attempts],
        }

    def is_of(self, reading: GatewayReading) -> bool:
        """Whether this attempt brought the end. Those before it were other models, at servers of their own."""
        return self.id == reading.call.id and self.model == _shown(reading.session.machine.model)


def ended(exchange: Exchange) -> Ended:
    """How a request ended."""
    about, reading, now = _about(exchange), exchange.reading, clock.wall()
    if reading is None:  # nothing was sent: its budget was spent, or its terms cannot be meant
        return Ended(**about, ended=now, outcome=Outcome.FAILED, error=exchange.failure)
    session, machine = reading.session, reading.session.machine
    broken, first, looked = machine.broken, machine.first_at, reading.seen
    return Ended(
        **about,
        ended=now,
        outcome=machine.outcome or Outcome.CANCELLED,
        broken=broken,
        source="" if broken is None else session.resolved.values[broken.limit.value].source,
        elapsed=session.elapsed,
        first_token=None if first is None else machine.earlier + first - machine.born,
        tokens=machine.tokens,
        error=session.failure,
        extended=moved_by(machine),
        at_server=looked.result() if looked is not None and looked.done() else None,
        attempts=exchange.call.attempts.told,
        under=under(session),
        verdict=_verdict(session),
    )


def _verdict(session: Session) -> Verdict | None:
    error = verdict(session)
    return None if error is None else Verdict(type(error).__name__, str(error))


def heartbeat(exchange: Exchange, snapshot: Snapshot) -> Members:
    """What goes out while it runs."""
    told = of_event(exchange.call)
    reading = exchange.reading
    if reading is not None:
        told["expected"], told["budget_left"] = expected(reading.session), budget_left(reading.session)
        told["position"] = reading.position
    return {
        **told,
        "phase": snapshot.phase.value,
        "elapsed": rounded(snapshot.elapsed),
        "tokens": snapshot.tokens,
        "silence": rounded(snapshot.silence),
        "in_contact": snapshot.in_contact,
        "nearest": nearest(snapshot),
        "doing": snapshot.doing,
    }


def of_event(call: GatewayCall) -> Members:
    """By what an event about it is known."""
    run, step = run_of(call)
    return {"id": call.id, "model": _shown(call.attempts.model), "run": run, "step": step}


def run_of(call: GatewayCall) -> tuple[str, str]:
    """The task that it belongs to, and the step of it."""
    return _shown(call.terms.run), _shown(call.terms.step)


def moved(move: Moved) -> Members:
    """By how much the text has moved the end of its total."""
    return {"before": rounded(move.before), "after": rounded(move.after), "why": move.why.kind}


def moved_by(machine: Generation) -> float:
    """By how much it has moved it in all; less than nothing where the total became shorter."""
    deadline, clocks = machine.deadline, machine.clocks
    if not deadline.is_short:
        return deadline.moved
    return deadline.length(clocks) - min(clocks.total, clocks.ceiling)


def _failed(attempt: Attempt) -> Members:
    """One that failed. Not what its server said of it: that may quote the model."""
    return {"model": _shown(attempt.model), "fault": attempt.fault.value, "limit": attempt.limit or None}


def seen(found: Seen) -> Members:
    """What a server does with a request that was cancelled."""
    return {"found": found.found.value, "took": rounded(found.took), "way": found.kind, "busy": found.busy}


def _about(exchange: Exchange) -> Members:
    call, reading = exchange.call, exchange.reading
    record = reading.session.record if reading is not None else None
    run, step = run_of(call)
    return {
        "id": exchange.id,
        "call": record.call if record is not None else "",
        "model": _shown(call.attempts.model),
        "asked": _shown(call.asked.model),
        "server": call.target.place,
        "path": exchange.path,
        "mode": call.terms.mode,
        "run": run,
        "step": step,
        "client": call.came.client,
        "streams": exchange.streams,
        "left": exchange.left,
    }


def expected(session: Session) -> float | None:
    """About how long such a call to this model takes, where that was learned."""
    return rounded(session.terms.predict(session.machine.model))


def budget_left(session: Session) -> float | None:
    """What is left of its total, whoever gave that; None where it has none."""
    return rounded(session.machine.due(Timer.TOTAL) - session.clock())


def nearest(snapshot: Snapshot) -> Members | None:
    """The limit that would ring first, if nothing came from now on."""
    if snapshot.nearest is None:
        return None
    return {"limit": snapshot.nearest.value, "rings_in": rounded(snapshot.rings_in)}


# -- its limits ---------------------------------------------------------------------------------------------------


def _limits_of(reading: GatewayReading | None) -> Members:
    if reading is None:
        return {"limits": {}}
    told = limits_under(under(reading.session))
    return {"limits": {each.name: _limit(each.value, each.source, each.overruled) for each in told}}


def limits_under(stood: Under) -> tuple[Explained, ...]:
    """Each limit with its source, and what that overruled."""
    terms = stood.terms
    given = (Layer(Rank.CALL, p.source, dict(p.values), p.change, cuts=p.cuts) for p in terms.places if p.values)
    return explained((*given, *terms.settings.layers(terms.mode, stood.model)), stood.resolved)


def _limit(value: float | None, source: str, overruled: tuple[Said, ...]) -> Members:
    over = [{"value": AUTO.value if said.value is AUTO else said.value, "source": said.source} for said in overruled]
    return {"value": value, "source": source, "overruled": over}


# -- one model ----------------------------------------------------------------------------------------------------


def of_model(lane: Lane | None, now: Instant) -> Members:
    """How it goes with a model; None is one that nobody has asked yet."""
    silent = lane.without_progress_since(now) if lane is not None else None
    lane_progress = lane.last_progress if lane is not None else None
    return {
        "last_progress": None if lane_progress is None else iso(clock.wall() - (now - lane_progress)),
        "last_end": None if lane is None or lane.last_end is None else _last_end(lane.last_end, now),
        "running_without_progress_since": None if silent is None else iso(clock.wall() - silent),
        "running_without_progress_for": rounded(silent),
        "running": lane.admission.running if lane is not None else 0,
        "waiting": lane.admission.waiting if lane is not None else 0,
        "circuit": lane.circuit.state.value if lane is not None and lane.circuit is not None else None,
        "still_running_at_server": lane.house.ghosts if lane is not None else 0,
    }


def _last_end(last: LastEnd, now: Instant) -> Members:
    """How the last one of it ended, and how long ago."""
    told = {"outcome": last.outcome.value, "limit": last.limit or None, "error": last.error}
    return {**told, "ago": rounded(between(last.at, now))}


def of_serving(serving: Serving) -> Members:
    """How the settings describe a model to its clients: in llama-swap's form, and all of it once more in ours."""
    told: Members = {"name": serving.title, "description": serving.description}
    if serving.capabilities:
        told["capabilities"] = dict(serving.capabilities)
    about: Members = {**told, "metadata": dict(serving.metadata)}
    meta: Members = {"llamaswap": about["metadata"], "hangtight": {key: said for key, said in about.items() if said}}
    if any(about.values()):
        told["meta"] = {key: said for key, said in meta.items() if said}
    return {key: said for key, said in told.items() if said}


def why_not(lane: Lane | None, now: Instant) -> str:
    """Why this model would not be asked now; empty where it would be."""
    if lane is None:
        return ""
    if lane.house.is_closed(now):
        return "its server goes on with a generation that was cancelled"
    if lane.circuit is not None and not lane.circuit.admits(now):
        return f"its circuit is {lane.circuit.state.value}"
    return ""


# -- helpers ------------------------------------------------------------------------------------------------------


def rounded(seconds: float | None) -> float | None:
    """No limit is None: JSON knows no infinity."""
    return None if seconds is None or not isfinite(seconds) else round(seconds, DIGITS)


def _shown(name: str) -> str:
    return name[:LONGEST_NAME]
