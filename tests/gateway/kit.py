"""The gateway as strangers run it: the installed command in a folder of its own, asked over real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SERVES = re.compile(r"hangtight serves at (\S+)")
PATIENCE = 20.0  # seconds until it serves, and until it has ended: a bound for what hangs, never a measurement


class Served:
    """`hangtight serve` in a process, with these settings; `.url` is where it serves, `.said` what it said."""

    def __init__(self, folder: Path, settings: str, *options: str, **environment: str) -> None:
        self.folder = folder
        self.journal = folder / "journal.db"
        (folder / "hangtight.yaml").write_text(settings)
        command = [sys.executable, "-m", "hangtight", "serve", "--config", "hangtight.yaml", "--port", "0", *options]
        told = {**os.environ, "HANGTIGHT_JOURNAL": str(self.journal), **environment}
        self.process = subprocess.Popen(
            command, cwd=folder, env=told, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.lines: list[str] = []
        self.url = ""
        self._serves = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._listener.start()
        if not self._serves.wait(PATIENCE) or not self.url:
            self.process.kill()
            raise AssertionError(f"it does not serve:\n{self.said}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it did not end:\n{self.said}") from None
        finally:
            self._listener.join(PATIENCE)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := SERVES.search(line):
                self.url = found[1]
                self._serves.set()
        self._serves.set()
        self.process.stderr.close()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    def get(self, path: str) -> Any:
        """The JSON at this path."""
        return self.ask("GET", path)[1]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, body (JSON, where it is) and headers of a plain request."""
        data = None if body is None else json.dumps(body).encode()
        sent = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, _read(response.read()), dict(response.headers)
        except urllib.error.HTTPError as refused:
            return refused.code, _read(refused.read()), dict(refused.headers)


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def all_at(url: str, **more: str) -> str:
    """Settings with which every model is asked at this server."""
    lines = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f'models:\n  "*":\n    proxy: {url}\n{lines}'
