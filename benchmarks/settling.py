"""What it costs to know the limits of a call: outside of a budget, inside one, and to put it down in the journal."""

from __future__ import annotations

import tempfile
import threading
import time
import timeit
from pathlib import Path

import hangtight
from benchmarks.row import Row
from hangtight.core.layers import Situation
from hangtight.core.phases import Outcome
from hangtight.drivers import clock
from hangtight.drivers.given import AROUND, given
from hangtight.drivers.record import Record
from hangtight.drivers.session import Session
from hangtight.drivers.standing import settings
from hangtight.drivers.terms import Terms, terms_of
from hangtight.drivers.watch import DOOR
from hangtight.journal.recording import Recorder

CALLS, TIMES = 2_000, 40
GENERATIONS = 2_000
MICRO = 1e6
CONFIG = "limits: {idle: 60}\nmodes: {deep: {total: 100}}\nmodels: {qwen3-coder: {limits: {idle: 90}}}\n"


def of_a_call() -> Terms:
    return terms_of(
        given({"idle": 60}, "deep"), *AROUND.get(), door=DOOR, situation=Situation(prompt_tokens=100)
    ).here()


def each(work: object) -> float:
    """Microseconds; the least of many, because others use the machine too."""
    return min(timeit.repeat(work, number=CALLS, repeat=TIMES)) / CALLS * MICRO  # type: ignore[arg-type]


def resolving() -> list[Row]:
    def resolve() -> None:
        of_a_call().resolved(None, False, "qwen3-coder")

    rows = [Row("the limits of a call, resolved again", each(resolve), "us", 20)]
    with hangtight.budget(1000, steps={"plan": 1, "generate": "critical"}) as task, task.step("plan"):
        rows.append(Row("the same inside a step of a budget", each(resolve), "us", 20))
        terms = of_a_call()
        armed = each(lambda: terms.resolved(None, False, "qwen3-coder"))
        rows.append(Row("arming a call from its budget", armed, "us", 5))
    return rows


def arming() -> Row:
    """What it costs to begin a generation whose text is to be read along, beyond one whose text is not."""

    def begin(intent: bool) -> object:
        terms = terms_of(given({"intent": intent}, "deep"), door=DOOR).here()
        return lambda: Session(terms, clock.OURS, model="qwen3-coder").begin()

    return Row("intent, added to the beginning of a call", each(begin(True)) - each(begin(False)), "us", 5)


def recording() -> Row:
    """CPU of the caller's thread alone; the writer has one of its own."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(str(Path(folder) / "journal.db"), wall=clock.wall)
        recorder.start()
        recorder.flush(10)
        session = Session(of_a_call(), clock.OURS, model="qwen3-coder")
        session.machine.outcome, session.machine.ended_at = Outcome.FINISHED, clock.now()
        spent = []
        for _ in range(GENERATIONS):
            before = time.thread_time()
            Record(session, recorder).ended(session)
            spent.append(time.thread_time() - before)
        kept = recorder.flush(30)
        recorder.close()
    assert kept, "what was measured was written"
    return Row("the journal, of the caller's CPU per generation", sorted(spent)[len(spent) // 2] * MICRO, "us", 10)


def rows() -> list[Row]:
    settings()
    return [*resolving(), arming(), recording()]


if __name__ == "__main__":
    for row in rows():
        print(row, threading.active_count())
