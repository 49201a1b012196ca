"""What the end of a generation is for its caller: the errors, with all that only a driver knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hangtight.core.attempts import Fault
from hangtight.core.phases import Outcome
from hangtight.core.telling import looping_error, timeout_error
from hangtight.drivers.faults import attempt_of
from hangtight.drivers.whys import why
from hangtight.errors import BackendError, GenerationTimeout, Looping, Truncated
from hangtight.intent.findings import Channel

if TYPE_CHECKING:
    from hangtight.core.orders import Broken
    from hangtight.core.telling import Door
    from hangtight.drivers.session import Session
    from hangtight.intent.findings import Finding

E = TypeVar("E", bound=GenerationTimeout)


def verdict(session: Session) -> GenerationTimeout | BackendError | None:
    """The error that the end of this generation is, if it is one."""
    machine = session.machine
    if machine.broken is not None:
        return _timeout(session, machine.broken)
    if machine.looped is not None:
        return _looping(session, machine.looped)
    if machine.outcome is Outcome.TRUNCATED:
        error = Truncated(
            f"{machine.model}: the stream ended after {machine.tokens} tokens without a finish reason "
            "and without its end mark; what came is in .partial"
        )
        error.elapsed, error.partial = session.elapsed, session.partial
        return error
    return None


def _timeout(session: Session, broken: Broken) -> GenerationTimeout:
    told = timeout_error(
        broken, session.machine, session.resolved, elapsed=session.elapsed, door=_door(session), why=why(session.record)
    )
    error = _with_all(told, session)
    if session.left_running:
        error.add_note("its source could not be stopped and is left running (.left_running)")
    return error


def _looping(session: Session, found: Finding) -> Looping:
    attention = session.attention  # a watch may have turned it off since
    wanted = session.terms.intent(session.model or "") if attention is None else attention.wanted
    told = looping_error(
        found,
        session.machine,
        elapsed=session.elapsed,
        door=_door(session),
        origin=wanted.source,
        why=why(session.record),
    )
    error = _with_all(told, session)
    error.useful = error.partial if attention is None else attention.useful(error.partial)
    error.may_fall_back = "fallback" in wanted.intent.ladder and found.channel is not Channel.CALLS
    return error


def _with_all(error: E, session: Session) -> E:
    error.partial, error.left_running = session.partial, session.left_running
    error.attempts = (attempt_of(error, Fault.TIMEOUT, model=session.machine.model, elapsed=session.elapsed),)
    return error


def _door(session: Session) -> Door:
    return session.terms.door if session.partial else session.terms.door._replace(kept="")
