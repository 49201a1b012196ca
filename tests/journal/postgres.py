"""A real PostgreSQL for the tests: Debian's binaries, a folder that is gone afterwards, a socket in that folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

USER = "hangtight"


def binaries() -> Path | None:
    """Where `initdb` and `postgres` are: in PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return places[-1].parent if places else None


class Postgres:
    """Starts on `start()`; `stop()` is a fast shutdown, after which it can be started again."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = Path(tempfile.mkdtemp(prefix="hangtight-pg-"))
        self.process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self.identity: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.identity |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        options = f"-A trust -U {USER} -E UTF8 --locale=C --no-sync".split()
        command: list[Any] = [place / "initdb", "-D", self.data, *options]
        subprocess.run(command, check=True, capture_output=True, **self.identity)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def start(self) -> None:
        options = {"listen_addresses": "", "fsync": "off", "unix_socket_directories": self.folder}
        settings = [each for name, value in options.items() for each in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.place / "postgres", "-D", self.data, *settings], stdout=log, stderr=log, **self.identity
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def new_database(self) -> str:
        name = f"journal_{uuid4().hex}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url("postgres"), autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True
