"""Who keeps the clocks: a watch, or a client of ours beneath it, which is nearer to the wire.

One generation has one machine. While a client of ours keeps it, the watch above stands aside; when that generation
has ended, the clocks are the watch's again, because its source may go on and ask another model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from hangtight.core.facts import Content, Fact, Paused, Resumed
from hangtight.core.phases import Outcome, Phase
from hangtight.core.time import Seconds
from hangtight.errors import GenerationTimeout, Truncated

if TYPE_CHECKING:
    from hangtight.core.attempts import Attempt
    from hangtight.core.generation import Generation
    from hangtight.core.orders import Order
    from hangtight.drivers.record import Record
    from hangtight.drivers.session import Session

FAILURES = (Outcome.TIMEOUT, Outcome.LOOPING, Outcome.FAILED, Outcome.TRUNCATED)
DEPUTY = "a client of ours"
"""Who owns the pause of a watch whose clocks are kept beneath it."""


def _nothing() -> None:
    """There is no alarm."""


class Relay:
    """The part of a session that hands its clocks over and takes them back."""

    __slots__ = (
        "asker",
        "attempts",
        "call",
        "chained",
        "chief",
        "deputy",
        "dropped",
        "failed_as",
        "failure",
        "given_above",
        "hand",
        "hidden",
        "lends",
        "merged",
        "replaces",
        "stands_aside",
        "wanted_id",
        "wrapped",
    )

    if TYPE_CHECKING:
        machine: Generation
        parts: list[str]
        excused: float
        usage: Any
        left_running: bool
        record: Record | None
        note: Callable[[Fact], tuple[Order, ...]]
        ask: Callable[[], None]

    def __init__(self) -> None:
        self.chief: Session | None = None
        """The watch above, while we keep the clocks in its stead."""
        self.deputy: Session | None = None
        """The last session of a client of ours beneath."""
        self.stands_aside = False
        """It keeps the clocks at this moment."""
        self.attempts: tuple[Attempt, ...] = ()
        """What a client of ours tried before this generation."""
        self.chained = False
        """The watch has a chain of its own: a client of ours beneath has none then."""
        self.hidden = False
        """Its pieces are put together before the watch sees them: what it sees is counted there."""
        self.lends = False
        """The source may ask models through clients of ours, at any step."""
        self.merged = 0
        """How many tokens there were when the last generation beneath had ended."""
        self.hand: tuple[Callable[[], object], Callable[[], object]] = (_nothing, _nothing)
        """What stops our own alarm, and what sets it again."""
        self.failure = ""
        """What went wrong, for the journal."""
        self.failed_as: Attempt | None = None
        """Another model was asked because of this."""
        self.replaces: Attempt | None = None
        """What failed before, so that this one is asked."""
        self.call = ""
        """Under which id the journal has the attempts of this call."""
        self.wanted_id = ""
        """Under which id the journal shall have this one; nothing where any is right."""
        self.dropped = False
        """The journal has the generation beneath in its place."""
        self.given_above = Seconds(0.0)
        """So much of what persons gave back to our `total` they gave before we kept the clocks."""
        self.asker: Session | None = None
        """Who asks our own gateway from inside this process, with clocks of his own that ring first."""
        self.wrapped: BaseException | None = None
        """Our own error, which something between us and the source has taken for another."""

    def take_over(self, watching: Session, *, whole: bool = True) -> None:
        """Keep the clocks of one generation in the stead of that watch, which stands aside meanwhile.

        What the watch was given counts beneath: the time of persons only where the `whole` call counts, and not
        what is left of it, in which that time is contained.
        """
        self.chief, watching.deputy, watching.stands_aside = watching, cast("Session", self), True
        self.call, self.replaces, watching.replaces = watching.call, watching.replaces, None
        if watching.record is not None:
            if self.call == watching.record.id:
                self.call = ""  # no row has that id any more
            watching.record.dropped()
            watching.record, watching.dropped, watching.call = None, True, ""
        watching.note(Paused(DEPUTY))
        machine, above = self.machine, watching.machine
        machine.beat_at = above.beat_at
        machine.deadline.go_on_from(above.deadline, machine.clocks)
        if whole:
            self.given_above = above.given_back
            machine.given_back = Seconds(machine.given_back + above.given_back)
        watching.hand[0]()

    def stand_for(self, asker: Session) -> None:
        """The journal has this generation in the place of that one, which asks us for it."""
        self.asker, self.replaces = asker, asker.replaces
        if asker.record is not None and self.wanted_id:
            if asker.call == asker.record.id:
                asker.call = self.wanted_id  # no row has that id any more
            self.call = asker.call
            asker.record.move_to(self.wanted_id)

    def follow_asker(self) -> None:
        """Who asked for it has gone, because his own clocks rang, or he was told to stop: that is how it ended."""
        asker, self.asker = self.asker, None
        if asker is None or asker.machine.outcome is None or self.machine.outcome is not Outcome.LEFT:
            return
        own = cast("Session", self)
        own.machine.follow(asker.machine)
        own.resolved = asker.resolved
        if asker.rang is not None and own.record is not None:
            own.record.ordered((asker.rang,), own)

    def hand_back(self) -> None:
        """This generation has ended; the source of the watch may go on, and begin another one."""
        chief, self.chief = self.chief, None
        if chief is None or not chief.stands_aside:
            return
        chief.stands_aside = False
        chief.excused += self.excused
        chief.left_running = chief.left_running or self.left_running
        chief.usage = self.usage
        above, machine = chief.machine, self.machine
        above.deadline.go_on_from(machine.deadline, above.clocks)
        above.given_back = Seconds(above.given_back + machine.given_back - self.given_above)
        waits = above.waiting
        told = not self.hidden or above.phase is Phase.UNSTREAMED
        if told and machine.outcome not in FAILURES and machine.tokens:
            tokens = above.tokens + machine.tokens
            chief.note(Content())
            above.tokens = tokens
            chief.parts.extend(self.parts)
            chief.merged = above.tokens
        chief.note(Resumed(DEPUTY))
        if waits:
            chief.ask()
        above.beat_at = machine.beat_at
        chief.hand[1]()

    @property
    def apart(self) -> Session | None:
        """The last generation beneath, while what it brought is not ours: it runs, or it has failed."""
        deputy = self.deputy
        if deputy is None or self.stands_aside or deputy.machine.outcome in FAILURES:
            return deputy
        return None

    def follow(self) -> None:
        """Nothing came after the last generation beneath: its end is ours too."""
        deputy = self.deputy
        if deputy is None or deputy.machine.outcome is None or deputy.machine.outcome in FAILURES:
            return
        if self.machine.outcome not in (None, Outcome.LEFT):
            return
        if self.machine.tokens == self.merged:
            self.machine.follow(deputy.machine)

    def follow_into(self, error: BaseException) -> None:
        """It ended with this error; something in between may have put its own around ours."""
        if self.deputy is None:
            return
        found: BaseException | None = error
        while found is not None and not isinstance(found, GenerationTimeout | Truncated):
            found = found.__cause__
        if found is not None:
            self.machine.follow(self.deputy.machine)
            self.wrapped = found if found is not error and isinstance(error, TimeoutError) else None
