"""What one generation puts down in the journal while it lives. Nothing here waits, and nothing here can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangtight.core.facts import Absent, Fact, Paused, Ready, Resumed
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.orders import Cancel, CancelAgain, Excused
from hangtight.drivers import clock
from hangtight.journal.entries import Begun, Dropped, Ended, Kind, Named, Noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.core.attempts import Attempt
    from hangtight.core.orders import Order
    from hangtight.core.phases import Outcome
    from hangtight.drivers.session import Session
    from hangtight.journal.entries import Entry
    from hangtight.journal.recording import Recorder

SHORT = 8  # characters of an id that are enough to find it


class Record:
    """The journal's side of a session. It must not keep the session alive, nor the other way round."""

    __slots__ = ("_put", "call", "id")

    def __init__(self, session: Session, put: Callable[[Entry], None], new_id: str, before: Record | None) -> None:
        self._put = put
        self.id = new_id
        self.call: str = before.call if before is not None else new_id
        terms, share = session.terms, session.terms.share
        put(
            Begun(
                new_id,
                self.call,
                clock.wall(),
                session.resolved,
                session.model or "",
                terms.mode or "",
                terms.run,
                terms.step,
                session.host,
                terms.situation.prompt_tokens,
                None if share is None else share.left(),
            )
        )

    @property
    def command(self) -> str:
        """What to type to see all that happened."""
        return f"hangtight log {self.id[:SHORT]}"

    def instead_of(self, failed: Attempt) -> None:
        """This one was asked because another failed."""
        self._put(Noted(self.id, 0.0, Kind.FALLBACK, failed))

    def named(self, session: Session) -> None:
        """The model, or its server, is known now; other limits may hold."""
        self._put(Named(self.id, session.own_time, session.model or "", session.host, session.resolved))

    def happened(self, fact: Fact, session: Session) -> None:
        """Few facts are worth a line; what else happens is in the numbers at the end."""
        match fact:
            case Absent():
                self._note(session, Kind.LOADING)
            case Ready():
                self._note(session, Kind.READY)
            case Paused(owner):
                self._note(session, Kind.PAUSED, owner)
            case Resumed(owner):
                self._note(session, Kind.RESUMED, owner)
            case _:
                pass

    def ordered(self, orders: tuple[Order, ...], session: Session) -> None:
        for order in orders:
            match order:
                case Heartbeat():
                    self._note(session, Kind.HEARTBEAT, order)
                case Cancel(broken):
                    if broken is not None:
                        self._note(session, Kind.RANG, broken)
                    self._note(session, Kind.CANCEL_SENT)
                case CancelAgain():
                    self._note(session, Kind.CANCEL_AGAIN)
                case Excused(late):  # pragma: no branch - mypy holds that there is no other
                    self._note(session, Kind.EXCUSED, late)

    def _note(self, session: Session, kind: Kind, told: object = None) -> None:
        self._put(Noted(self.id, session.own_time, kind, told))

    def ended(self, session: Session) -> None:
        """The source is closed. What is told apart: when the verdict fell, and when the source was gone."""
        machine = session.machine
        outcome: Outcome | None = machine.outcome
        assert outcome is not None, "a closed generation has its verdict"
        assert machine.ended_at is not None, "and the instant of it"
        if session.left_running:
            self._note(session, Kind.LEFT_RUNNING)
        elif session.rang is not None:
            took = session.clock() - machine.ended_at
            self._put(Noted(self.id, machine.ended_at - machine.born + took, Kind.CANCEL_CONFIRMED, took))
        broken, usage = machine.broken, session.usage
        self._put(
            Ended(
                self.id,
                machine.ended_at - machine.born,
                outcome.value,
                machine.tokens,
                None if machine.first_at is None else machine.first_at - machine.born,
                machine.longest if machine.tokens > 1 else None,
                broken.limit.value if broken is not None else "",
                broken.waited if broken is not None else None,
                session.resolved.values[broken.limit.value].source if broken is not None else "",
                usage.prompt if usage is not None else None,
                usage.answer if usage is not None else None,
                session.failure,
            )
        )

    def dropped(self) -> None:
        """Somebody nearer to the wire keeps these clocks."""
        self._put(Dropped(self.id))


def record_of(session: Session, keeping: Recorder, before: Session | None) -> Record:
    """The record of a session that has just begun."""
    former = before.record if before is not None else None
    record = Record(session, keeping.put, keeping.new_id(), former)
    if before is not None and before.failed_as is not None:
        record.instead_of(before.failed_as)
    return record
