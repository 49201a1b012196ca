"""The clocks of one guarded block: the house's own session and machine, fed by the steps of `generate()`.

Knows nothing of torch. Between two tokens somebody always waits for the next one, so the fast lane writes `since` and
`tokens` and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Advised, Broke, Cancelled, Content, Handed, Left
from hangtight.core.orders import Cancel
from hangtight.core.telling import Door
from hangtight.core.time import Instant, Seconds, after
from hangtight.core.timers import Timer
from hangtight.drivers import clock
from hangtight.drivers.attention import NEVER_LOOKED, Attention
from hangtight.drivers.faults import failure_of
from hangtight.drivers.given import AROUND, Given, given
from hangtight.drivers.session import Session
from hangtight.drivers.terms import Terms, terms_of
from hangtight.drivers.verdicts import verdict
from hangtight.errors import SettingsError

if TYPE_CHECKING:
    from hangtight.errors import BackendError, GenerationTimeout
    from hangtight.intent.findings import Finding

SILENCES = ("first_token", "idle", "thinking")
SHARE, LEAST, MOST = 0.1, 0.05, 5.0


def grace_of(seconds: float) -> float:
    """How much later than the limit the next, harder layer rings: the gentler one keeps what `generate` returns."""
    return min(max(SHARE * seconds, LEAST), MOST)


class Vigil:
    """Keeps the clocks of one block, however many generations run in it."""

    def __init__(self, limit: float | None, *, idle: float | None, intent: Any, model: str, source: str) -> None:
        self.now = clock.now
        terms = _terms(limit, idle, intent, model, source).here()
        self.session = Session(terms, clock.OURS, model=model, host=None)
        self.session.begin()
        self.session.attention, self.session.look_at = None, NEVER_LOOKED  # each row has its own reader
        self.session.note(Handed())
        self.wanted = terms.intent(model)
        """Whether the text is read along."""
        self.machine = self.session.machine
        self.rang = False
        """Time is over."""
        self._total = self.machine.due(Timer.TOTAL) - self.machine.born
        self._rang_at = self.machine.born
        self._for_others = False
        self._due: float = 0.0
        self._idle: float = 0.0

    # -- the lengths ------------------------------------------------------------------------------------------

    @property
    def total(self) -> float:
        """How long the block may take, counted from its start."""
        return self._total

    @property
    def idle(self) -> float:
        """How long nothing may come, once a generation runs; before the first token and after it."""
        return max(self.machine.clocks.idle, self.machine.clocks.first_token)

    @property
    def first_over(self) -> float:
        """After so many seconds something may be over, and not sooner."""
        return min(self.total, self.idle)

    def hard_at(self) -> Instant:
        """When to interrupt what did not come to a next token: a grace after the limit that was asked kindly."""
        machine = self.machine
        if self.rang:
            return after(self._rang_at, Seconds(grace_of(self.first_over)))
        total = after(machine.due(Timer.TOTAL), Seconds(grace_of(self.total)))
        return min(total, after(machine.due(Timer.SILENCE), Seconds(grace_of(self.idle))))

    # -- what happens -----------------------------------------------------------------------------------------

    def begins(self) -> None:
        """A generation begins: somebody waits for its next token."""
        self.session.ask()

    def rests(self) -> None:
        """It is over; what the block does now is no silence of the model."""
        if not self.rang:
            self.session.note(Handed())

    def came(self, tokens: int) -> bool:
        """A step gave so many tokens. True where time is over. Called for each token, so it does little."""
        machine, at = self.machine, self.now()
        gap = at - machine.since
        if machine.lane is Content and at < self._due and gap < self._idle:
            if gap > machine.longest:  # noqa: PLR1730 - a call of max() costs as much as the rest
                machine.longest = gap
            machine.since = at
            machine.tokens += tokens
            return False
        return self._looks(at, tokens)

    def _looks(self, at: Instant, tokens: int) -> bool:
        """Beside the lane: a clock may be due, or this is the first token."""
        if self.rang or self.rings(at):
            return True
        session, machine = self.session, self.machine
        session.note(Content())
        machine.tokens += tokens - 1
        session.ask()
        self._due = min(machine.due(Timer.TOTAL), machine.due(Timer.HEARTBEAT))
        self._idle = machine.clocks.idle
        return False

    def excuse(self, length: Seconds) -> None:
        """Work of ours, of which nothing is taken from the grace that the block has to end in."""
        self._rang_at = after(self._rang_at, length)

    def is_due(self) -> bool:
        """A limit is broken now, whether or not anything was stopped for it yet."""
        at = self.now()
        return self.rang or at >= min(self.machine.due(Timer.TOTAL), self.machine.due(Timer.SILENCE))

    def rings(self, at: Instant | None = None) -> bool:
        """What is due is due now."""
        if not self.rang:
            for order in self.session.wake(self.now() if at is None else at):
                if isinstance(order, Cancel):
                    self._hears(order)
        return self.rang

    def _hears(self, order: Cancel) -> None:
        self.session.rang, self._rang_at, self.rang = order, self.now(), True

    def rings_for_others(self) -> None:
        """Another rank's time is over, so ours is, too: all stop at one step."""
        if not self.rings():
            at = self.now()
            spent = Seconds(max(at - self.machine.born - self.machine.given_back, 0.0))
            self.machine.renew(replace(self.machine.clocks, total=spent, extend_to=spent), at)
            self.rings(at)
            self._for_others = True

    def loops(self, found: Finding, attention: Attention) -> None:
        """A row said the same again and again, and was stopped for it."""
        if not self.rang:
            self.session.attention = attention
            for order in self.session.note(Advised(found)):
                if isinstance(order, Cancel):
                    self._hears(order)

    # -- the end ----------------------------------------------------------------------------------------------

    def close(self, error: BaseException | None = None, *, tokens: int, partial: str) -> None:
        """The block is left, by that error of somebody else if there is one."""
        session = self.session
        self.machine.tokens = tokens
        session.parts = [partial] if partial else []
        if isinstance(error, Exception):
            session.failure = failure_of(error)
            session.note(Broke())
        elif error is not None:
            session.note(Cancelled() if isinstance(error, KeyboardInterrupt) else Left())
        session.close()

    def verdict(self) -> GenerationTimeout | BackendError | None:
        """The error that this end is, if it is one."""
        error = verdict(self.session) if self.rang else None
        if error is not None and self._for_others:
            error.add_note("the time of another rank was over: all ranks stop at the same step")
        return error

    @property
    def elapsed(self) -> float:
        return self.session.elapsed


def _terms(limit: float | None, idle: float | None, intent: Any, model: str, source: str) -> Terms:
    """What was given here, then `limits()` around it, then the settings.

    Silence that nobody limits is no fault here: a model that trains is in memory, and its step takes what it takes.
    """
    door = Door(source + "({name}={value})")
    own = [_own("limit", dict.fromkeys(("total",), limit), door)]
    if idle is not None:
        own.append(_own("idle", dict.fromkeys(SILENCES, idle), door))
    if intent is not None:
        own.append(given({"intent": intent}))
    places: tuple[Given, ...] = (*own, *AROUND.get())
    values = terms_of(*places, door=door).resolved(None, False, model).values
    if values["idle"].is_default:
        return terms_of(*places, given(dict.fromkeys(SILENCES, None), source=source), door=door)
    if values["first_token"].is_default:  # who limits silence means that before the first token, too
        led = values["idle"]
        places = (*places, given({"first_token": led.value}, source=led.source, change=led.change))
    return terms_of(*places, door=door)


def _own(name: str, values: dict[str, Any], door: Door) -> Given:
    """A setting of ours by the name that the caller knows, also where it is refused."""
    try:
        return given(values, change=door.change.replace("{name}", name))
    except SettingsError as refused:
        raise SettingsError(name, refused.found, refused.wanted) from None
