"""A thread of a process that does runs: it shows that we live, sees who does not, and learns what should stop.

What may take long, to bury who is dead and to mend, is done in a second one: a cancellation does not wait for that.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from hangtight.drivers.clock import now
from hangtight.flows.durable.databases import is_away
from hangtight.flows.durable.names import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.flows.durable.leases import Leases

BEAT: Final = 1.0
LOST: Final = 5.0
"""Seconds of our own clock without a beat of another worker, after which it is taken for dead."""
LOOK: Final = 0.25
"""Seconds between two looks at what should stop: a cancellation from another process has a second."""
MEND: Final = 10.0
"""Seconds between two looks at what is ours and is not done: there should be nothing."""


class Observed:
    """Who lives, seen from here. While we saw nothing, nobody has grown older."""

    def __init__(self, lost: float = LOST) -> None:
        self._lost = lost
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked: float | None = None

    def look(self, beats: dict[str, int], at: float) -> frozenset[str]:
        """The dead among them."""
        if self._looked is not None and at - self._looked > self._lost / 2:
            self._seen.clear()  # we were stopped, or the database was away: for the others it may be the same
        self._looked = at
        self._seen = {
            worker: old if (old := self._seen.get(worker)) and old[0] == beat else (beat, at)
            for worker, beat in beats.items()
        }
        return frozenset(worker for worker, (_, since) in self._seen.items() if at - since > self._lost)

    def blind(self) -> None:
        self._seen.clear()


class Pulse:
    """`look` is called every `LOOK`, `bury` with the dead after each beat, `mend` every `MEND`. They block, and may
    raise for a database that is away."""

    def __init__(
        self,
        leases: Leases,
        look: Callable[[], None],
        mend: Callable[[], None],
        bury: Callable[[str], None] | None = None,
        *,
        beat: float = BEAT,
        lost: float = LOST,
    ) -> None:
        self._leases, self._look, self._mend, self._bury = leases, look, mend, bury
        self._beat, self._lost = beat, lost
        self._turned = self._seen = now()
        self._observed = Observed(lost)
        self._over = threading.Event()
        self._alive: frozenset[str] = frozenset({leases.me})
        leases.renew()
        self._who_is_dead()
        self._dead: frozenset[str] = frozenset()
        works = (self._live, self._tend)
        self._threads = [threading.Thread(target=work, name="hangtight-pulse", daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> frozenset[str]:
        """As of the last beat. Who is new counts as alive, who has gone in peace does not."""
        return self._alive

    def slept(self) -> bool:
        """This process was stopped, or is so busy: what was taken from it meanwhile is not known yet."""
        return now() - self._turned > self._lost / 2

    def is_blind(self) -> bool:
        """It slept, or the database was away."""
        return now() - self._seen > self._lost / 2

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _live(self) -> None:
        due = 0.0
        while not self._over.wait(LOOK):
            try:
                self._look()
                self._turned = self._seen = now()
                if now() >= due:
                    due = now() + self._beat
                    self._leases.renew()
                    self._dead = self._who_is_dead()
            except Exception as problem:  # noqa: BLE001 - without this thread nothing here could be cancelled any more
                _complain(problem)
                self._observed.blind()
                self._dead = frozenset()
                self._turned = now()

    def _tend(self) -> None:
        mends = now() + MEND
        while not self._over.wait(LOOK):
            try:
                for worker in sorted(self._dead if self._bury is not None else ()):
                    if worker in self._dead and self._bury is not None:  # still: it may have been seen to live again
                        self._bury(worker)
                        self._dead -= {worker}
                if now() >= mends:
                    mends = now() + MEND
                    self._mend()
            except Exception as problem:  # noqa: BLE001 - as above
                _complain(problem)

    def _who_is_dead(self) -> frozenset[str]:
        beats = self._leases.beats()
        dead = self._observed.look(beats, now()) | frozenset(filter(is_gone, beats))
        self._alive = frozenset(beats) - dead | {self._leases.me}
        return dead - {self._leases.me}


def _complain(problem: Exception) -> None:
    if not is_away(problem):
        import logging

        logging.getLogger("hangtight").warning("the record of runs cannot be looked at: %s", problem)
