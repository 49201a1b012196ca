"""What is told of a process, in words. The lines about sleep and wake are a contract: they hold to the byte."""

from __future__ import annotations

from typing import Final

from hangtight.core.process.facts import PutAway, Rest, Why
from hangtight.core.process.orders import Level, Tell
from hangtight.core.process.phases import Phase
from hangtight.core.time import Seconds, spoken

SHUTTING_DOWN: Final = "hangtight is shutting down"
TAKEN_AWAY: Final = "it was stopped before it was ready"
CUT_OFF: Final = "it was stopped at once"
NOT_SEEN_TO_END: Final = "whatever runs, nothing was heard of its end"

Fallback = tuple[Tell, str]
"""For the log, and for who waits for the sleep or the wake."""


def took(length: Seconds) -> str:
    """How long something took; always with one decimal, `15.0s` too."""
    return f"{length:.1f}s"


def requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


# -- start ----------------------------------------------------------------------------------------------------


def starting(limit: Seconds) -> Tell:
    return Tell(Level.INFO, f"Executing cmd (timeout: {spoken(limit)})")


def started(length: Seconds) -> Tell:
    return Tell(Level.INFO, f"Model start completed in {took(length)}")


def spawn_failed(why: str) -> str:
    return f"cmd failed: {why}"


def start_timed_out(limit: Seconds, heard: str = "") -> str:
    return _and_heard(f"start timed out after {spoken(limit)}", heard)


def load_stuck(limit: Seconds, heard: str = "") -> str:
    return _and_heard(f"load stuck - no progress for {spoken(limit)}", heard)


def _and_heard(why: str, heard: str) -> str:
    return f"{why}; {heard}" if heard else why


def exited(why: str, phase: Phase) -> str:
    when = "before it was ready" if phase in (Phase.STARTING, Phase.WAKING) else f"while {phase}"
    return f"process exited ({why}) {when}"


# -- sleep and wake -------------------------------------------------------------------------------------------


def going_to_sleep(limit: Seconds) -> Tell:
    return Tell(Level.INFO, f"Executing cmdSleep (timeout: {spoken(limit)})")


def slept(length: Seconds) -> Tell:
    return Tell(Level.INFO, f"Model sleep completed in {took(length)}")


def sleep_timed_out(limit: Seconds) -> Fallback:
    told = f"cmdSleep timed out after {spoken(limit)}, falling back to Stop()"
    return Tell(Level.ERROR, told), f"sleep command timed out after {spoken(limit)}"


def sleep_failed(why: str) -> Fallback:
    return Tell(Level.ERROR, f"cmdSleep failed, falling back to Stop(): {why}"), f"sleep command failed: {why}"


def waking(limit: Seconds) -> Tell:
    return Tell(Level.INFO, f"Executing cmdWake (timeout: {spoken(limit)})")


def woken(length: Seconds) -> Tell:
    return Tell(Level.INFO, f"Model wake completed in {took(length)}")


def wake_timed_out(limit: Seconds) -> Fallback:
    told = f"cmdWake timed out after {spoken(limit)}, restarting process"
    return Tell(Level.ERROR, told), f"wake command timed out after {spoken(limit)}"


def wake_failed(why: str) -> Fallback:
    return Tell(Level.ERROR, f"cmdWake failed, restarting process: {why}"), f"wake command failed: {why}"


# -- the end --------------------------------------------------------------------------------------------------


def draining(running: int, wish: PutAway, limit: Seconds) -> Tell:
    goes = "sleep" if wish.to is Rest.SLEEP else "stop"
    return Tell(Level.INFO, f"Waiting for {requests(running)} before {goes}: {wish.why} (timeout: {spoken(limit)})")


def drained_in_vain(limit: Seconds) -> str:
    return f"drain timed out after {spoken(limit)}"


def drain_timed_out(running: int, limit: Seconds) -> Tell:
    return Tell(Level.WARN, f"{drained_in_vain(limit)}, cutting off {requests(running)}")


def cut_off(why: Why) -> str:
    return SHUTTING_DOWN if why is Why.SHUTDOWN else CUT_OFF


def stood_still(late: Seconds) -> Tell:
    """It was us, and not the model."""
    return Tell(Level.INFO, f"hangtight stood still for {took(late)}: its clocks are put back by that")


def idle(limit: Seconds) -> Tell:
    return Tell(Level.INFO, f"Idle for {spoken(limit)} ({Why.TTL})")


def hung(running: int, limit: Seconds) -> str:
    return f"process stuck - no output for {spoken(limit)} with {requests(running)} running"


def found_hung(why: str) -> str:
    return f"process stuck: {why}"


def stopping(why: str, limit: Seconds) -> Tell:
    reason = f": {why}" if why else ""
    return Tell(Level.INFO, f"Stopping process{reason} (timeout: {spoken(limit)})")


def killing(limit: Seconds) -> Tell:
    return Tell(Level.WARN, f"stop timed out after {spoken(limit)}, killing process")


def gone(length: Seconds, killed: bool) -> Tell:
    return Tell(Level.INFO, f"Process {'killed' if killed else 'stopped'} in {took(length)}")


def stubborn(left: str) -> str:
    return f"process stuck - killed, and still there: {left}"


def kept_waiting(failures: int, pause: Seconds) -> Tell:
    times = "once" if failures == 1 else f"{failures} times in a row"
    return Tell(Level.WARN, f"failed {times}, no new start for {spoken(pause)}")
