"""Starts the real server in a process of its own and asks it how busy it is; `with LlamaCpp() as server: ...`."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.realserver.model import write_model

SERVE = Path(__file__).with_name("serve.py")
START = 30.0
END = 5.0
LOOK = 0.01
LOG = "server.log"


class LlamaCpp:
    """llama.cpp's HTTP server on a free port of loopback, with a tiny model called `tiny`. One slot, one thread."""

    def __init__(self, slots: int = 1) -> None:
        self.url = ""
        self._slots = slots
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="hangtight-llama-")

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        model = write_model(folder / "tiny.gguf")
        with (folder / LOG).open("wb") as log:
            words = [sys.executable, str(SERVE), str(model), str(self._slots)]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, text=True)
        try:
            self.url = self._address(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _address(self, process: subprocess.Popen[str]) -> str:
        """The first line that the process says, which comes when the model is loaded."""
        said: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=lambda out: said.put(out.readline()), args=[process.stdout], daemon=True).start()
        try:
            url = said.get(timeout=START).strip()
        except queue.Empty:
            url = ""
        if not url:
            raise RuntimeError(f"the real server did not start:\n{self.log()}")
        return url

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None:
            try:
                process.communicate(timeout=END)  # closes its stdin, upon which it ends
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server runs inside its `with` block"
        return self._process.pid

    def log(self) -> str:
        """What the server has written so far, for an error message."""
        return (Path(self._folder.name) / LOG).read_text(errors="replace")

    def slots(self) -> list[dict[str, Any]]:
        """The server's own account of its slots."""
        with urllib.request.urlopen(f"{self.url}/slots", timeout=START) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def busy(self) -> int:
        """How many slots work."""
        return sum(slot["is_processing"] for slot in self.slots())

    def wait_idle(self, timeout: float = 20.0) -> None:
        """Come back when no slot works. AssertionError if that does not happen."""
        latest = time.monotonic() + timeout
        while self.busy():
            assert time.monotonic() < latest, f"still busy after {timeout:g}s: {self.slots()}"
            time.sleep(LOOK)
