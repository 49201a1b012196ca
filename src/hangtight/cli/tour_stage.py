"""What the tour stands on: the lab and a gateway before it, each a process, in a folder that is gone afterwards."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple, Self

from hangtight.core.time import plain
from hangtight.errors import HangtightError
from hangtight.supervisor.family import start_of
from hangtight.supervisor.guarding import Guard

HALF_A_MINUTE = 30.0  # of a real machine is one second here, at speed 1
HOST = "127.0.0.1"
PATIENCE = 30.0  # seconds until both answer: two starts of Python, on a machine that may be busy
LAST_WORDS = 5.0  # seconds for each to end by itself
TOLD = 40  # lines of what they said that are kept
LAB, GATEWAY = re.compile(r"The lab is at (\S+);"), re.compile(r"hangtight serves at (\S+)")
OURS = ("HANGTIGHT_", "OLLAMA_HEARTBEAT")

RATES = {"fast": 30, "slow": 20, "mid": 16, "loop": 60, "long": 10}  # tokens a second, at speed 1
SETTINGS = """\
# Made by `hangtight demo`. One second here is {second} s of a real machine; behind each number is that of a real one.
limits:
  first_token: {first}    # 45
  cold: {cold}           # 60 more, where a load cannot be seen
  load: {load}           # 300 without a sign of a load that can be seen
  idle: {idle}           # 45
  thinking: {thinking}       # 300
  total: {total}          # 600
heartbeat: {heartbeat}        # 15
modes:
  deep: {{total: {deep}}}  # 120; twice as long for a model that gets on
circuit: false
journal: journal.db
startPort: {port}        # nobody listens there; yours may have the usual 5800
models:
  qwen3-coder:           # the gateway starts its server, and puts it to sleep when nobody asks
    cmd: {lab} --port ${{PORT}} --load-time {loads} --sleep-time {sleeps} --wake-time {wakes}
    sleepMode: enable
    sleepEndpoints: [{{endpoint: "/sleep?level=1"}}]
    wakeEndpoints: [{{endpoint: /wake_up}}]
    ttl: {ttl}
    useModelName: "qwen3-coder,healthy-code,tokens=40,rate={fast}"
  deepseek-r1:           # reasons for long
    proxy: {url}
    useModelName: "deepseek-r1,reasoning=50,healthy-code,tokens=50,rate={slow}"
  mistral-7b:            # hangs in the middle, and its server goes on with pings
    proxy: {url}
    useModelName: "mistral-7b,pings=24,rate={mid},every={every}"
  phi-4:                 # says the same again and again
    proxy: {url}
    useModelName: "phi-4,loop,rate={loop}"
  llama-70b:             # takes a request, and says nothing at all
    proxy: {url}
    limits: {{cold: null}}
    fallback: [qwen3-4b]
    useModelName: "llama-70b,silent"
  qwen3-4b:              # small and healthy
    proxy: {url}
    concurrencyLimit: 2
    queue: 8
    useModelName: "qwen3-4b,tokens=24,rate={mid}"
  qwen3-32b:             # healthy, and in no hurry
    proxy: {url}
    useModelName: "qwen3-32b,healthy-code,tokens=48,rate={long}"
"""


class NoStage(HangtightError):
    """What the tour needs did not start. Says why."""


class Scale(NamedTuple):
    """Lengths of a real machine, and how long they take here."""

    speed: float

    @property
    def second(self) -> float:
        """What one second here stands for."""
        return HALF_A_MINUTE * self.speed

    def real(self, here: float) -> float:
        return here * self.second

    def here(self, real: float) -> float:
        return round(real / self.second, 3)


def settings_text(scale: Scale, url: str, port: int) -> str:
    """The settings of the gateway, for this lab, and a port for the server that it starts."""
    here, lab = scale.here, shlex.join([sys.executable, "-m", "hangtight", "lab", "serve"])
    lengths = {
        "first": here(45), "cold": here(60), "load": here(300), "idle": here(45), "thinking": here(300),
        "total": here(600), "heartbeat": here(15), "deep": here(120), "loads": here(60), "sleeps": here(15),
        "wakes": here(45), "every": here(6),
    }  # fmt: skip
    rates = {name: rate * scale.speed for name, rate in RATES.items()}
    whole = {"ttl": max(1, round(here(300)))}
    numbers = {name: plain(number) for name, number in (lengths | rates | whole).items()}
    return SETTINGS.format(second=plain(scale.second), url=url, port=port, lab=lab, **numbers)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Program:
    """One process of the stage, in a group of its own: Ctrl-C is for us, and we end it."""

    def __init__(self, name: str, ready: re.Pattern[str]) -> None:
        self.name = name
        self.said: deque[str] = deque(maxlen=TOLD)
        self._ready = ready
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, guard: Guard, folder: Path, *words: str) -> str:
        """The address at which it answers. Raises NoStage."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        kept |= {"PYTHONUNBUFFERED": "1", "XDG_DATA_HOME": str(folder / "data")}
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hangtight", *words, cwd=folder, env=kept, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        guard.tell(process.pid, start_of(process.pid))
        self._reading = asyncio.create_task(self._read(process))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(self._url)
        except TimeoutError:
            raise self._failed(f"does not answer within {PATIENCE:g} s") from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            self.said.append(text)
            if (found := self._ready.search(text)) and not self._url.done():
                self._url.set_result(found[1])
        if not self._url.done():
            self._url.set_exception(self._failed("has ended"))

    def _failed(self, why: str) -> NoStage:
        return NoStage("\n".join([f"the {self.name} of the demo {why}", *(f"  {line}" for line in self.said)]))

    def stop(self) -> None:
        """Ask it to end; at once in any case."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    async def gone(self, guard: Guard) -> None:
        """It has ended, by itself or by force."""
        process, reading = self._process, self._reading
        if process is None or reading is None:
            return
        try:
            async with asyncio.timeout(LAST_WORDS):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):  # a second Ctrl-C means now
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        guard.forget(process.pid)
        reading.cancel()
        if self._url.done() and not self._url.cancelled():
            self._url.exception()


class Stage:
    """Both of them, for the length of an `async with` block. `url` is the gateway's, `lab` the lab's."""

    def __init__(self, port: int, scale: Scale) -> None:
        self.scale = scale
        self.url = self.lab = ""
        self._port = port
        self._guard = Guard(LAST_WORDS)
        self._folder = TemporaryDirectory(prefix="hangtight-demo-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._programs = (Program("gateway", GATEWAY), Program("lab", LAB))

    async def __aenter__(self) -> Self:
        try:
            gateway, lab = self._programs
            self._guard.start()
            self.lab = await lab.start(self._guard, self.folder, "lab", "serve", "--port", "0")
            file = self.folder / "hangtight.yaml"
            file.write_text(settings_text(self.scale, self.lab, _free_port()), encoding="utf-8")
            words = ("serve", "--config", str(file), "--port", str(self._port), "--drain", "0.2",
                     "--scale", plain(self.scale.second))  # fmt: skip
            self.url = await gateway.start(self._guard, self.folder, *words)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for program in self._programs:
            program.stop()
        for program in self._programs:
            await program.gone(self._guard)
        await self._guard.close()
        self._folder.cleanup()
