"""How `hangtight demo` runs: the stage, the scenes one after the other, and some load until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Coroutine
from contextlib import suppress
from importlib.util import find_spec
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.cli.called import as_called
from hangtight.cli.process import FAILED, OK, code_for_signal, say, stop_on_signals
from hangtight.cli.settings import USAGE, fail
from hangtight.cli.tour_asking import Answer, Told, ask, listen
from hangtight.cli.tour_faces import Face, face_for, phase_of
from hangtight.cli.tour_scenes import DEEP, SCENES
from hangtight.cli.tour_stage import HOST, OURS, NoStage, Scale, Stage
from hangtight.core.telling import WHY
from hangtight.core.time import plain
from hangtight.core.words import at_work
from hangtight.drivers import clock
from hangtight.drivers.budget.task import HEADER
from hangtight.drivers.http11 import HTTPError
from hangtight.drivers.record import SHORT

if TYPE_CHECKING:
    from hangtight.cli.tour_scenes import Outcome, Scene
    from hangtight.drivers.budget.task import Budget

PARTS = ("uvicorn", "httptools", "msgspec", "prometheus_client")
READ = (1.0, 1.0, 7.0)
"""Seconds after a scene for whoever reads along; short until the first hang, for which somebody has come."""
TELLS = 2.0  # seconds in which an event comes behind what it tells of
HEARS = 5.0  # seconds until the gateway tells us what happens
EVERY = 2.0  # seconds between two requests of the load
AT_ONCE = 6
LOAD = (
    ("qwen3-32b", DEEP), ("qwen3-coder", ""), ("qwen3-4b", ""), ("deepseek-r1", DEEP), ("mistral-7b", ""),
    ("qwen3-4b", ""), ("qwen3-32b", DEEP), ("llama-70b", DEEP), ("qwen3-4b", ""), ("phi-4", DEEP),
)  # fmt: skip


class Plan(NamedTuple):
    """What was asked for on the command line."""

    port: int
    stays: bool
    speed: float
    scene: int | None
    as_json: bool


class Tour:
    """One who asks as any client does, and hears what the gateway tells about it."""

    def __init__(self, stage: Stage, face: Face, *, stays: bool) -> None:
        self.stage = stage
        self.face = face
        self._stays = stays
        self.run = ""
        self.listening = asyncio.Event()
        self._news = asyncio.Event()
        self._began = clock.now()
        self._heard: list[tuple[str, Told]] = []
        self._stood: dict[str, str] = {}

    async def ask(self, model: str, mode: str = "", task: Budget | None = None) -> Answer:
        """A question of this scene; in a task it has what that has left."""
        headers = {"x-hangtight-run": self.run}
        if task is not None:
            headers = {HEADER: task.to_header()}
        if mode:
            headers["x-hangtight-mode"] = mode
        answer = await ask(self.stage.url, model, headers)
        await self.until("ended", TELLS, answer.id)
        return answer

    def heard(self, name: str) -> list[Told]:
        """The events of this name, in this scene."""
        return [told for event, told in self._heard if event == name]

    async def until(self, name: str, longest: float, about: str) -> list[Told]:
        """Those about this generation, once there is one; what has not come by then is not there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while about not in [told["id"] for told in self.heard(name)]:
                    self._news.clear()
                    await self._news.wait()
        return [told for told in self.heard(name) if told["id"] == about]

    def says(self, words: str) -> None:
        self.face.happened(clock.now() - self._began, words)

    async def play(self, number: int, scene: Scene) -> bool:
        """Whether it came out as it should."""
        self._began, self._heard, self._stood = clock.now(), [], {}
        self.run = f"{number} {scene.title.lower()}"
        self.face.begin(number, scene)
        outcome = await scene.play(self)
        outcome = outcome if self._stays else outcome._replace(error=tuple(map(_without_door, outcome.error)))
        self.face.end(number, scene, outcome, self._to_read_on(outcome))
        self.run = ""
        return outcome.held

    def _to_read_on(self, outcome: Outcome) -> str:
        """The same as in the error, as the reader has called us, and in one piece on a terminal."""
        known = self._stays and outcome.error and outcome.ids and outcome.ids[-1]
        return f"{_log_of(self.stage)} {outcome.ids[-1][:SHORT]}" if known else ""

    def hear(self, name: str, told: Told) -> None:
        """An event of the gateway; what others ask there meanwhile is not of the tour."""
        self.listening.set()
        if not self.run or told.get("run") != self.run:
            return
        self._heard.append((name, told))
        self._news.set()
        model = told.get("model", "")
        if name == "heartbeat":
            self.face.live(told)
            stood = ", ".join(filter(None, (phase_of(told), at_work(str(told.get("doing") or "")))))
            if self._stood.get(model) != stood:
                self._stood[model] = stood
                self.says(f"{model}: {stood}")
        elif name in ("extended", "shortened"):
            before, after = (plain(round(told[each], 1)) for each in ("before", "after"))
            self.says(f"{model}: deadline {before} s -> {after} s, {told['why']}")
        elif name == "ended":
            self.says(f"{model}: {told['outcome']}, {told['tokens']} tokens in {told['elapsed']:.1f} s")
        elif name == "looked":
            self.says(f"{model}: its server was told to stop, and has {told['found']}")


def demo_command(plan: Plan) -> int:
    """Show it, and return the exit code."""
    if missing := [name for name in PARTS if find_spec(name) is None]:
        fail(f"demo needs {missing[0]}, which is not installed\nto get it:  pip install 'hangtight[gateway]'", USAGE)
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]  # the tour has settings of its own
    _needs(plan.port)
    return asyncio.run(_signalled(plan))


def _needs(port: int) -> None:
    """Said here, where the line to type can be that of this command."""
    from hangtight.gateway.door.listening import CannotListen, bound

    try:
        with bound(HOST, port):
            pass
    except CannotListen as error:
        why = str(error).partition("\n")[0]
        fail(f"{why}\nto take any free one:  {as_called()} demo --port 0", FAILED)


async def _signalled(plan: Plan) -> int:
    interrupted: list[int] = []
    stop_on_signals(interrupted)
    stays: list[int] = []
    try:
        return await _demo(plan, stays)
    except NoStage as error:
        say(f"hangtight: {error}\n")
        return FAILED
    except asyncio.CancelledError:
        say("\nended, and with it all that it had started\n")
        return stays[0] if stays else code_for_signal(interrupted)


async def _demo(plan: Plan, stays: list[int]) -> int:
    """`stays` gets the exit code once nothing but Ctrl-C is waited for."""
    face = face_for(as_json=plan.as_json)
    async with Stage(plan.port, Scale(plan.speed)) as stage:
        tour = Tour(stage, face, stays=plan.stays)
        return await _while_it_serves(stage, tour, _conduct(plan, tour, stays))


async def _while_it_serves(stage: Stage, tour: Tour, conducted: Coroutine[Any, Any, int]) -> int:
    """A gateway that ends in the middle of it is an end of the demo."""
    hearing = asyncio.create_task(listen(stage.url, tour.hear))
    conducting = asyncio.create_task(conducted)
    tasks = {hearing, conducting}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not conducting.done():
            with suppress(HTTPError):
                hearing.result()
            raise NoStage("the gateway of the demo has ended")
        return conducting.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _conduct(plan: Plan, tour: Tour, stays: list[int]) -> int:
    stage, face = tour.stage, tour.face
    async with asyncio.timeout(HEARS):
        await tour.listening.wait()
    second = plain(stage.scale.second)
    face.intro([
        f"A gateway at {stage.url}, and models that misbehave behind it.",
        f"Look on:  {stage.url}/ui",
        f"One second here is {second} s of a real machine: its 45 s of silence are {plain(stage.scale.here(45))} s.",
    ])  # fmt: skip
    code = OK
    for number, scene in enumerate(SCENES, 1):
        if plan.scene in (None, number):
            code = OK if await tour.play(number, scene) and code == OK else FAILED
            if face.is_watched:
                await asyncio.sleep(READ[min(number, len(READ)) - 1] / plan.speed)
    if code != OK:
        say("hangtight: this demo did not go as it should have\n")
    if plan.stays:
        stays.append(code)
        face.intro(_to_try(stage))
        await _load(stage)
    return code


def _without_door(line: str) -> str:
    """The journal is gone with the demo."""
    return line.partition(WHY)[0]


def _log_of(stage: Stage) -> str:
    return f"{as_called()} log --journal {shlex.quote(str(stage.folder / 'journal.db'))}"


def _to_try(stage: Stage) -> list[str]:
    """What one may type now. Each address stands on a line that fits, or is the only thing on it."""
    return [
        "",
        "It stays up, with some load, until Ctrl-C.",
        "  look:",
        f"    {stage.url}/ui",
        f"    {as_called()} top --url {stage.url}",
        "  a hang:",
        f"    curl -N {stage.url}/v1/chat/completions \\",
        "      -H 'content-type: application/json' \\",
        '      -d \'{"model": "mistral-7b", "stream": true,',
        '           "messages": [{"role": "user", "content": "Hi"}]}\'',
        "  a client:",
        f'    client = openai.OpenAI(base_url="{stage.url}/v1",',
        '        api_key="none")',
        '    client.chat.completions.create(model="qwen3-coder",',
        '        messages=[{"role": "user", "content": "Hi"}])',
        "  its journal:",
        f"    {_log_of(stage)}",
        "  its settings:",
        f"    {stage.folder / 'hangtight.yaml'}",
    ]


async def _load(stage: Stage) -> None:
    """Something to see, for ever; never more at once than a few."""
    running: set[asyncio.Task[Answer]] = set()
    try:
        for model, mode in cycle(LOAD):
            headers = {"x-hangtight-run": "load"} | ({"x-hangtight-mode": mode} if mode else {})
            running.add(asyncio.create_task(ask(stage.url, model, headers)))
            await asyncio.sleep(EVERY / stage.scale.speed)
            running = {each for each in running if not each.done()}
            if len(running) >= AT_ONCE:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in running:
            each.cancel()
