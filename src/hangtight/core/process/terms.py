"""The clocks of a process: how long each part of its life may last, and the name of each alarm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hangtight.core.time import FOREVER, Seconds

MOST_DOUBLED = 30  # a pause that was doubled so often is longer than any life


class Clock(StrEnum):
    """Every reason to wake. One phase has one of them; a start and a ready process have the nearer of two."""

    START = "start"
    """Spawned, and its check endpoint does not answer."""
    STALL = "stall"
    """It loads, and shows no progress of it."""
    LEAVE = "leave"
    """It was to go as soon as it had served who waited: they are in now."""
    HANG = "hang"
    """Requests run, and no token comes from anywhere."""
    TTL = "ttl"
    """Nobody has asked for anything since the last request ended."""
    DRAIN = "drain"
    """Somebody wants it gone, and requests are still running."""
    SLEEP = "sleep"
    """The sleep command runs."""
    WAKE = "wake"
    """The wake command runs."""
    STOP = "stop"
    """It was asked to end."""
    KILL = "kill"
    """It was killed, and nobody has seen yet that it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was resolved for one model. No request's deadline ever shortens these: the process is shared."""

    start: Seconds = Seconds(120.0)
    stall: Seconds | None = None
    """Where given it counts from the last load progress, and `start` is the ceiling over it."""
    sleep: Seconds = Seconds(60.0)
    wake: Seconds = Seconds(60.0)
    stop: Seconds = Seconds(10.0)
    kill: Seconds = Seconds(10.0)
    """From the kill until it is called stubborn. The kernel needs milliseconds, a driver that frees a GPU seconds."""
    drain: Seconds = Seconds(300.0)
    ttl: Seconds = FOREVER
    hang: Seconds = Seconds(300.0)
    can_sleep: bool = False
    """It has a command to sleep and one to wake: whenever it may choose, it sleeps and does not stop."""
    has_stop: bool = False
    """It has a command that stops it: nothing else reaches what is no child of ours, as behind `docker run`."""
    first_pause: Seconds = Seconds(1.0)
    longest_pause: Seconds = Seconds(60.0)
    """Also how long it must have been ready to show that it works."""
    most_failures: int = 5

    def pause(self, failures: int) -> Seconds:
        """How long nobody may start it after so many failures in a row: twice as long each time, up to the longest."""
        if failures >= self.most_failures:
            return self.longest_pause
        return Seconds(min(self.first_pause * 2 ** min(failures - 1, MOST_DOUBLED), self.longest_pause))
