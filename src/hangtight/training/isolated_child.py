"""The process of `isolate=True`, as its parent sees it: started, spoken to, ended, and looked whether it is gone."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from multiprocessing import process as running
from multiprocessing.connection import wait
from typing import Any

from hangtight.core.time import Instant, Seconds
from hangtight.drivers import clock
from hangtight.errors import BackendError, LoadTimeout, SettingsError
from hangtight.training.isolated_worker import serve

NAME = "hangtight-isolated"
WITHOUT_MAIN_GUARD = 79
"""With this exit code it says that it was about to run the script instead of importing it."""
UNTIL_GONE = 5.0
"""Seconds that the kernel may take to carry out a kill. A driver that hangs can take for ever."""
GUARD_LINE = 'used in a script that starts under `if __name__ == "__main__":`, because its process imports that script'


def refuse_while_main_is_imported() -> None:
    """Spawning imports the script anew. One without a guard comes here in the new process, and would train there."""
    if not _is_inheriting():
        return
    leave_the_training_to_the_parent()
    raise SettingsError("isolate", True, GUARD_LINE)


def leave_the_training_to_the_parent() -> None:
    """Ends this process where it is ours and only imports the script: it must not train."""
    if _is_inheriting() and multiprocessing.current_process().name == NAME:
        os._exit(WITHOUT_MAIN_GUARD)  # an error could be caught by what guards the training against errors


def _is_inheriting() -> bool:
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))


class Child:
    """One process, from its start to its end."""

    def __init__(self, start_limit: float) -> None:
        import torch

        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        life, self._life = context.Pipe(duplex=False)
        self._start_limit = start_limit
        self._ready = False
        arguments = (theirs, life, torch.get_num_threads())
        self._process = context.Process(target=serve, args=arguments, name=NAME, daemon=True)
        self._began = clock.now()
        try:
            self._process.start()
        finally:
            theirs.close()
            life.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def wait_until_ready(self) -> None:
        if self._ready:
            return
        if self.receive(Instant(self._began + self._start_limit)) is None:
            raise late(self._start_limit)
        self._ready = True

    def send(self, message: tuple[Any, ...]) -> None:
        try:
            self.connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
        except OSError:
            raise self._died() from None

    def receive(self, until: float) -> tuple[Any, ...] | None:
        """The next message; None where none comes until then. A process that died is an error."""
        left = until - clock.now()
        if left <= 0 and not self.connection.poll():
            return None
        ready = wait([self.connection, self._process.sentinel], None if left == float("inf") else max(left, 0))
        if not ready:
            return None
        try:
            if self.connection.poll():
                message: tuple[Any, ...] = pickle.loads(self.connection.recv_bytes())
                return message
        except (EOFError, ConnectionError):
            raise self._died() from None
        raise self._died()

    def _died(self) -> BaseException:
        self._process.join(UNTIL_GONE)
        code = self._process.exitcode
        if code == WITHOUT_MAIN_GUARD:
            return SettingsError("isolate", True, GUARD_LINE)
        when = "in the middle of a generation" if self._ready else "while it started"
        error = BackendError(f"the process of isolate=True {_how(code)} {when}; what it said is above")
        error.returncode = code
        return error

    def end(self) -> bool:
        """Killed, with all that it started, and reaped. False where it is still there."""
        self._process.kill()
        gone = True
        if sys.platform != "win32" and self._process.pid is not None:
            from hangtight.drivers.tree import Tree

            tree = Tree(self._process.pid)
            tree.kill()
            self._process.join(UNTIL_GONE)
            gone = tree.is_gone()
        else:
            self._process.join(UNTIL_GONE)
        self.connection.close()
        self._life.close()
        return gone and not self._process.is_alive()

    def leave(self) -> None:
        """In a forked process: lets go of what is the parent's, so that nothing here ends it or keeps it."""
        self.connection.close()
        self._life.close()
        running._children.discard(self._process)  # type: ignore[attr-defined]


def late(limit: float) -> LoadTimeout:
    error = LoadTimeout(f"the process of isolate=True timed out: it was not ready after {Seconds(limit):g}s")
    error.limit, error.waited = "load", limit
    return error


def _how(code: int | None) -> str:
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (often: out of memory)" if name == "SIGKILL" else "")
