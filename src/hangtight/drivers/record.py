"""What one generation puts down in the journal while it lives. Nothing here waits, and nothing here can fail."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from hangtight.core.attempts import Fault
from hangtight.core.facts import Absent, Admitted, Fact, Paused, Queued, Ready, Resumed
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.orders import Cancel, CancelAgain, Excused, Moved
from hangtight.core.phases import Outcome
from hangtight.drivers import clock
from hangtight.drivers.whys import command_of
from hangtight.errors import BudgetSpent
from hangtight.journal.entries import Begun, Dropped, Ended, Kind, Named, Noted

if TYPE_CHECKING:
    from hangtight.core.attempts import Attempt
    from hangtight.core.layers import Resolved
    from hangtight.core.orders import Order
    from hangtight.core.time import Instant
    from hangtight.drivers.session import Session
    from hangtight.drivers.terms import Terms
    from hangtight.journal.entries import Entry
    from hangtight.journal.recording import Recorder

NOT_BEGUN = "not begun"
SHORT = 8  # characters of an id that are enough to find it


class Record:
    """The journal's side of a session. It must not keep the session alive; its times count from its own beginning."""

    __slots__ = (
        *("__weakref__", "_began", "_clock", "_elsewhere", "_keeping", "_machine", "_over", "_process", "_queued_at"),
        *("_step", "call", "id"),
    )

    def __init__(self, session: Session, keeping: Recorder, began: Instant | None = None) -> None:
        self._keeping = keeping
        self._over = self._elsewhere = False
        self._process = os.getpid()
        self._clock, self._machine = session.clock, session.machine
        now = session.clock()
        self._began = now if began is None else began
        self._queued_at: Instant | None = None
        self.id = session.wanted_id or keeping.new_id()
        self.call: str = session.call or self.id
        self._step = _begun(
            (self.id, self.call), session.terms, session.model or "", host=session.host, resolved=session.resolved
        )
        self._step = self._step._replace(at=self._step.at - (now - self._began))
        if session.asker is not None and session.asker.record is not None:
            self._step = session.asker.record.lent_to(self._step)
        self._put(self._step)
        share = session.terms.share
        if share is not None:
            share.budget.records.add(self)
        if session.replaces is not None:
            self._put(Noted(self.id, 0.0, Kind.FALLBACK, _told(session.replaces)))

    def _put(self, entry: Entry) -> None:
        if not self._elsewhere:
            self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        """Whatever is wrong with the journal is not the generation's concern. After a fork it is the parent's."""
        if os.getpid() == self._process:
            try:  # `suppress` would cost as much as the entry itself
                self._keeping.put(entry)
            except Exception:  # noqa: BLE001
                return

    def __del__(self) -> None:
        """Thrown away unread, or before it was read: nobody will tell how it ended."""
        if not self._over:
            with suppress(Exception):
                tokens, first, longest = self._seen(0)
                self._put(Ended(self.id, self._clock() - self._began, Outcome.LEFT.value, tokens, first, longest))

    def _seen(self, others: int) -> tuple[int, float | None, float | None]:
        """Tokens, the first one, the longest gap; without those that generations beneath have in rows of their own."""
        machine = self._machine
        if others:
            return machine.tokens - others, None, None
        first = None if machine.first_at is None else max(0.0, machine.first_at - self._began)
        return machine.tokens, first, machine.longest if machine.tokens > 1 else None

    @property
    def command(self) -> str:
        """What to type to see all that happened."""
        return command_of(self.id[:SHORT], self._keeping.url)

    def named(self, session: Session) -> None:
        """The model, or its server, is known now; other limits may hold."""
        self._put(Named(self.id, self._time(session), session.model or "", session.host, session.resolved))

    def happened(self, fact: Fact, session: Session) -> None:
        """Few facts are worth a line; what else happens is in the numbers at the end."""
        match fact:
            case Queued(place):
                self._queued_at = session.clock()
                self._note(session, Kind.QUEUED, place)
            case Admitted():
                since = self._queued_at
                self._note(session, Kind.ADMITTED, None if since is None else session.clock() - since)
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
                case Cancel(broken, looped):
                    if broken is not None:
                        self._note(session, Kind.RANG, broken)
                    if looped is not None:
                        self._note(session, Kind.LOOPED, str(looped))
                    self._note(session, Kind.CANCEL_SENT)
                case CancelAgain():
                    self._note(session, Kind.CANCEL_AGAIN)
                case Moved(before, after, why):
                    kind = Kind.EXTENDED if after > before else Kind.SHORTENED
                    self._note(session, kind, {"before": before, "after": after, "why": why.kind})
                case Excused(late):  # pragma: no branch - mypy holds that there is no other
                    self._note(session, Kind.EXCUSED, late)

    def noted(self, session: Session, kind: Kind, told: object = None) -> None:
        """A decision that no machine ordered."""
        self._note(session, kind, told)

    def _time(self, session: Session) -> float:
        return session.clock() - self._began

    def _note(self, session: Session, kind: Kind, told: object = None) -> None:
        self._put(Noted(self.id, self._time(session), kind, told))

    def ended(self, session: Session) -> None:
        """The source is closed. What is told apart: when the verdict fell, and when the source was gone."""
        machine = session.machine
        outcome: Outcome | None = machine.outcome
        assert outcome is not None, "a closed generation has its verdict"
        assert machine.ended_at is not None, "and the instant of it"
        self._over = True
        elapsed = max(0.0, machine.ended_at - self._began)
        if session.left_running:
            self._note(session, Kind.LEFT_RUNNING)
        elif session.rang is not None:
            took = session.clock() - machine.ended_at
            self._put(Noted(self.id, elapsed + took, Kind.CANCEL_CONFIRMED, took))
        broken, usage = machine.broken, None if session.dropped else session.usage
        self._put(
            Ended(
                self.id,
                elapsed,
                outcome.value,
                *self._seen(session.merged if session.dropped else 0),
                broken.limit.value if broken is not None else "",
                broken.waited if broken is not None else None,
                session.resolved.values[broken.limit.value].source if broken is not None else "",
                usage.prompt if usage is not None else None,
                usage.answer if usage is not None else None,
                session.failure,
            )
        )

    def wrapped_up(self, step: str) -> None:
        """The step in which it runs has used what was allotted to it."""
        if step == self._step.step:
            self._tell(Noted(self.id, clock.wall() - self._step.at, Kind.WRAP_UP, step))

    def lent_to(self, other: Begun) -> Begun:
        """The other one with what is known here: the limits that were given for it, its step, what its budget had."""
        own = self._step
        mine = other._replace(resolved=own.resolved, mode=own.mode, run=own.run, step=own.step)
        return mine._replace(prompt_tokens=own.prompt_tokens, left=own.left)

    def move_to(self, other: str) -> None:
        """Our own gateway has it in the journal, under this id. What only we know is told there."""
        if not self._elsewhere:
            self.dropped()
        self._elsewhere, self.id = True, other

    def dropped(self) -> None:
        """Somebody nearer to the wire keeps these clocks."""
        self._over = True
        self._put(Dropped(self.id))


def not_begun(terms: Terms, model: str, keeping: Recorder) -> str:
    """A call that did not fit into its budget any more is a decision about time, too. Gives what to type to see it."""
    own = keeping.new_id()
    with suppress(Exception):
        keeping.put(_begun((own, own), terms, model))
        keeping.put(Ended(own, 0.0, NOT_BEGUN, error=BudgetSpent.__name__))
    return command_of(own[:SHORT], keeping.url)


def _begun(
    ids: tuple[str, str], terms: Terms, model: str, *, host: str = "", resolved: Resolved | None = None
) -> Begun:
    share, tokens = terms.share, terms.situation.prompt_tokens
    left = None if share is None else share.left()
    mode = terms.mode or ""
    return Begun(*ids, clock.wall(), resolved, model, mode, terms.run, terms.step, host, tokens, left)


def _told(failed: Attempt) -> dict[str, object]:
    """Of a timeout our own words; never those of a server, which may quote a prompt or a key."""
    ours = failed.reason if failed.fault is Fault.TIMEOUT else f"error of the {failed.fault}"
    told = {"model": failed.model, "fault": failed.fault.value, "limit": failed.limit}
    return {**told, "elapsed": failed.elapsed, "tokens": failed.tokens, "reason": ours}
