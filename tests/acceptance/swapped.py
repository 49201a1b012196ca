"""`hangtight serve` with the lab's model servers run by it: what it wrote down, and what became of each of them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import openai
import psutil

from tests.gateway.kit import PATIENCE, Served
from tests.journal.kit import soon

POST = """
import socket, sys

port, path = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port))) as server:
    head = f"POST {path} HTTP/1.1", "host: x", "content-length: 0", "connection: close", "", ""
    server.sendall("\\r\\n".join(head).encode())
    status = server.recv(65536).decode().splitlines()[0]
print("it answered", status)
sys.exit(" 200 " not in status)
"""
"""What cmdSleep and cmdWake run: `curl -fsX POST`, without curl."""

MARK = "HANGTIGHT_ACCEPTED_BY"
NUMBERS = count(1)
TOOK = re.compile(r"\b(completed|stopped|killed) in \d+\.\ds$")
ASKED: Any = [{"role": "user", "content": "build me a complex script that processes images"}]
TOGETHER = {"all": {"swap": False, "exclusive": False}}
"""A group in which nobody has to go for another."""


def lab(*manners: str, says: str = "tokens=3", **keys: Any) -> dict[str, Any]:
    """The section of a model that the lab's server plays in this manner; it says this whenever it is asked."""
    return {"manners": manners, "useModelName": f"lab,{says}", **keys}


class Swapped(Served):
    """The gateway, and the servers that it runs. At the end nothing of them is left."""

    def __init__(self, folder: Path, models: Mapping[str, dict[str, Any]], **top: Any) -> None:
        script = folder / "post.py"
        script.write_text(POST)
        self.ports = dict(zip(models, _free_ports(len(models)), strict=True))
        sections = {name: _section(dict(said), self.ports[name], script) for name, said in models.items()}
        if "groups" in top:
            top["groups"] = {name: {**group, "members": list(models)} for name, group in top["groups"].items()}
        self._own = f"{os.getpid()}.{next(NUMBERS)}"
        told = {MARK: self._own, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
        super().__init__(folder, json.dumps({**top, "models": sections}), **told)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            super().__exit__(kind, error, _)
        finally:
            left = [] if soon(lambda: not list(self._left())) else list(self._left())
            for process in left:
                process.kill()
        assert not left or error is not None, f"left behind: {left}"

    def _left(self) -> Iterator[psutil.Process]:
        """Whatever it has started, and has not ended."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._own and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except psutil.Error:
                continue

    def commands(self) -> list[psutil.Process]:
        """Those of cmdSleep and cmdWake that run."""
        return [each for each in self._left() if any(word.endswith("post.py") for word in each.cmdline())]

    # -- what is done with a model ------------------------------------------------------------------------------

    def put(self, model: str, into: str) -> Any:
        """`wake`, `sleep` or `stop` it; what is told when that has ended."""
        return self.ask("POST", f"/hangtight/models/{model}/{into}")[1]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`hangtight model ...`."""
        return subprocess.run(
            [sys.executable, "-m", "hangtight", "model", *words, "--url", self.url],
            capture_output=True, text=True, check=False, cwd=self.folder, timeout=50,
        )  # fmt: skip

    def says(self, model: str, patience: float = PATIENCE) -> Iterator[str]:
        """What comes of a request, word by word."""
        with openai.OpenAI(base_url=self.openai, api_key="any", timeout=patience, max_retries=0) as client:
            for chunk in client.chat.completions.create(model=model, messages=ASKED, stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    # -- what is seen of it -------------------------------------------------------------------------------------

    def seen(self, model: str) -> Any:
        return next(each for each in self.get("/hangtight/models")["models"] if each["model"] == model)

    def until(self, model: str, phase: str) -> None:
        assert soon(lambda: self.seen(model)["phase"] == phase), self.seen(model)

    def of_the_server(self, model: str) -> Any:
        """What the server itself tells: whether it sleeps, and how often it did."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[model]}/lab/process", timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def log(self, *models: str) -> list[str]:
        """What we wrote down about these, without how long things took."""
        return told_of(self.ask("GET", "/logs")[1], *models)


def told_of(log: str, *models: str) -> list[str]:
    """Our own lines about these models; `#` is in the place of how long something took."""
    ours = re.compile(rf"\[[A-Z]+\] +<({'|'.join(map(re.escape, models))})> ")
    return [TOOK.sub(r"\1 in #s", line) for line in log.splitlines() if ours.match(line)]


def _section(said: dict[str, Any], port: int, script: Path) -> dict[str, Any]:
    post = f"{sys.executable} -IS {script} {port}"
    serve = (sys.executable, "-m", "hangtight.testing.lab", "--port", str(port), *said.pop("manners"))
    usual = {
        "cmd": " ".join(serve),
        "proxy": f"http://127.0.0.1:{port}",
        "cmdSleep": f"{post} /sleep?level=1",
        "cmdWake": f"{post} /wake_up",
    }
    return {**usual, **said}


def _free_ports(number: int) -> list[int]:
    """All held until all are known: so no two are the same."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
