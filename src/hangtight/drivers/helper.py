"""A thread that makes one blocking call at a time for a caller who must be able to walk away."""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import Any

from hangtight.drivers.sources import shut, socket_read_by

GRACE = 0.5  # how long a caller that was told of a timeout waits for its thread to end
LOOK = 0.02
HELPER = "hangtight-reader"


class Abandoned(BaseException):
    """Raised inside the helper's own thread, so that a client library in it ends instead of trying again."""


class Rang(Exception):
    """The caller is called back: a limit was broken while the helper was in its call."""


class Helper:
    """Calls are made one after the other; nothing is read ahead."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._job: Callable[[], Any] | None = None
        self._answer: tuple[Any, BaseException | None] | None = None
        self._called_back = False
        self._over = False
        self._raised = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=HELPER, daemon=True)
        self._thread.start()

    def call(self, job: Callable[[], Any]) -> Any:
        """The result of `job()`, run in the thread. Raises Rang if `call_back` came first."""
        with self._changed:
            if not self._thread.is_alive():
                raise RuntimeError("this generation began before a fork: its thread is the parent's")
            self._job = job
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answer is not None or self._called_back)
            if self._answer is None:
                raise Rang
            (result, error), self._answer = self._answer, None
        if error is not None:
            raise error
        return result

    def call_back(self) -> None:
        """From another thread: the caller shall not wait any longer."""
        with self._changed:
            self._called_back = True
            self._changed.notify_all()

    def end(self) -> bool:
        """End the thread. False if it is stuck in a call that nothing here can interrupt."""
        with self._changed:
            self._over = True
            busy = self._job is not None
            self._changed.notify_all()
        waited = 0.0
        while busy and self._thread.is_alive() and waited < GRACE:
            self._interrupt()
            self._thread.join(LOOK)
            waited += LOOK
        if not busy:
            self._thread.join(GRACE)
        return not self._thread.is_alive()

    def _interrupt(self) -> None:
        """Wake the socket it is blocked in, and raise in it once, so that a library does not simply ask again.

        Never anywhere else: an exception from outside that lands between a lock and its `try` leaves it locked.
        """
        ident = self._thread.ident
        if ident is None or self._job is None or (sock := socket_read_by(ident)) is None:
            return
        if not self._raised:
            self._raised = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Abandoned))
        shut(sock)

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._job is not None or self._over)
                    job = self._job
                    if job is None:
                        return
                answer = self._do(job)
                with self._changed:
                    self._job, self._answer = None, answer
                    self._changed.notify_all()
                    if self._over:
                        return
        except Abandoned:
            return

    def _do(self, job: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        try:
            return job(), None
        except Abandoned:
            self._job = None  # heard once: a second one would land in the thread's own last lines
            raise
        except BaseException as error:  # noqa: BLE001 - handed to the caller whole, whatever it is
            return None, error
