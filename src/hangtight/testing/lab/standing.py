"""Whether the server's model is loaded, asleep or awake, and how often it changed: a vLLM in sleep mode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from hangtight.testing.lab.manners import Manners
from hangtight.testing.lab.pause import Schedule
from hangtight.testing.lab.wire import LOADING, compact

LOAD_STEPS = 10
ASLEEP = "The model is asleep"


class State(Enum):
    """Where the model is. It answers requests in one of them."""

    LOADING = "loading"
    READY = "ready"
    FALLING_ASLEEP = "falling asleep"
    ASLEEP = "asleep"
    WAKING = "waking"


@dataclass
class Record:
    """What was asked of the server as a process; `slept_busy` counts sleeps that came while requests were open."""

    slept: int = 0
    woken: int = 0
    sleeps_failed: int = 0
    wakes_failed: int = 0
    slept_busy: int = 0
    levels: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


class Standing:
    """The state of one server. Changes come one after the other; each is made to its end, whoever asked left."""

    def __init__(self, manners: Manners, say: Callable[[str], None]) -> None:
        self.state = State.LOADING if manners.loading.load_time else State.READY
        self.percent = 0
        self.record = Record()
        self._manners = manners
        self._say = say
        self._turn = asyncio.Lock()
        self._up: Schedule | None = None

    def listens(self) -> None:
        """From now on somebody can connect."""
        self._up = Schedule()

    async def load(self) -> None:
        """Become ready, unless that was done before."""
        schedule, loading = Schedule(), self._manners.loading
        while self.state is State.LOADING:
            await schedule.wait(loading.load_time / LOAD_STEPS)
            self.percent += 100 // LOAD_STEPS
            if loading.load_progress:
                self._say(f"load {self.percent} %")
            if self.percent == 100:
                self.state = State.READY

    def refusal(self) -> bytes | None:
        """The body of the 503 for who asks now; like llama.cpp's it is the same for every API. None when ready."""
        if self.state is State.READY:
            return None
        told = {"code": 503, "message": ASLEEP, "type": "unavailable_error"}
        if self.state is State.LOADING:
            told["message"] = LOADING
            if self._manners.loading.load_progress:
                told["percent"] = self.percent
        return compact({"error": told})

    async def sleep(self, level: int, *, busy: bool) -> bool:
        """Fall asleep; False where that fails, and then it stays awake."""
        sleeping, record = self._manners.sleeping, self.record
        async with self._turn:
            if self.state is not State.READY:
                return True
            record.slept_busy += busy
            record.levels.append(level)
            await self._change(State.FALLING_ASLEEP, sleeping.sleep_time)
            self.state = State.READY if sleeping.sleep_fails else State.ASLEEP
            record.slept += not sleeping.sleep_fails
            record.sleeps_failed += sleeping.sleep_fails
        return not sleeping.sleep_fails

    async def wake(self) -> bool:
        """Wake up; False where that fails, and then it sleeps on."""
        sleeping, record = self._manners.sleeping, self.record
        async with self._turn:
            if self.state is not State.ASLEEP:
                return True
            await self._change(State.WAKING, sleeping.wake_time)
            self.state = State.ASLEEP if sleeping.wake_fails else State.READY
            record.woken += not sleeping.wake_fails
            record.wakes_failed += sleeping.wake_fails
        return not sleeping.wake_fails

    def hangs(self, finished: Callable[[], int]) -> bool:
        """Whether it takes requests and says nothing, after it has answered so many."""
        after = self._manners.hanging.hangs_after
        return after is not None and finished() >= after

    def health_is_closed(self) -> bool:
        after = self._manners.hanging.closes_health
        return after is not None and self._up is not None and self._up.elapsed >= after

    async def _change(self, meanwhile: State, seconds: float) -> None:
        self.state = meanwhile
        await Schedule().wait(seconds)
