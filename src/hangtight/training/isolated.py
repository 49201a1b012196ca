"""Generations in a process of their own, which can be killed: the only way to end a C call or a GPU that hangs.

The process is spawned once for a model and kept warm. It sees the weights of the model that trains here, as they are
at the call: they are shared memory (see `isolated_sending`). `if __name__ == "__main__":` is needed around the start of
a script, as with everything that spawns.

Random numbers: each call is seeded from the state of this process and the number of the call. That state is only
looked at, so a run with and without evaluations draws the same numbers.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from hangtight.drivers import clock
from hangtight.errors import BackendError, SettingsError
from hangtight.training.isolated_child import Child, late, refuse_while_main_is_imported
from hangtight.training.isolated_worker import Asked

START_LIMIT = 120.0
"""Seconds that the process may take to be ready: it imports torch, transformers and the script anew."""

Rows = list[list[int]]
OnTokens = Callable[[Rows], "bool | Collection[int] | None"]
"""Sees all tokens so far at each step. True stops all rows, some numbers stop these rows."""


@dataclass(slots=True)
class Came:
    """What came back, whole or not."""

    output: Any = None
    """What `generate` returned; None where its process was killed."""
    rows: Rows = field(default_factory=list)
    """The new tokens of each row, as the stopping criteria saw them (beams are rows, padding is kept)."""
    killed: bool = False
    stopped: bool = False
    """It stopped between two tokens: at the limit, or because `on_tokens` said so."""
    elapsed: float = 0.0
    """Seconds since it was asked; the start of the process is not among them."""
    gone: bool = True
    """False where the process was killed and still did not end, as in a driver that hangs."""


def isolated(model: Any) -> Isolation:
    """The one isolation of this model. It ends with the model, with `close()`, or with this process."""
    refuse_while_main_is_imported()
    with _LOCK:
        found = _ALL.get(model)
        if found is None:
            found = _ALL[model] = Isolation(model)
        return found


class Isolation:
    """A process that generates with today's weights of a model, and can be killed."""

    def __init__(self, model: Any, *, start_limit: float = START_LIMIT) -> None:
        self.start_limit = start_limit
        self._model = weakref.ref(model)
        self._children: list[Child] = []
        self._structure = b""
        self._held: dict[Any, Any] = {}
        self._calls = 0
        self._lock = threading.RLock()
        _MADE.add(self)
        weakref.finalize(self, _end_all, self._children)
        weakref.finalize(model, _end_all, self._children)

    def _forget(self) -> None:
        """In a forked process: what was started belongs to the process that started it."""
        self._lock = threading.RLock()
        for child in self._children:
            child.leave()
        self._children.clear()

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        child = self._child
        return None if child is None else child.pid

    @property
    def _child(self) -> Child | None:
        return self._children[0] if self._children and self._children[0].is_alive() else None

    def warm_up(self) -> None:
        """Starts the process, if it does not run, and does not wait for it."""
        refuse_while_main_is_imported()
        with self._lock:
            if self._child is None:
                self._end()
                self._structure, self._held = b"", {}
                self._children.append(Child(self.start_limit))

    def ready(self) -> None:
        """Waits until the process runs and has the model as it is now. Its limit is `start_limit`."""
        from hangtight.training import isolated_sending as sending

        model = self._model()
        if model is None:
            raise ReferenceError("the model of this isolation is gone, and its process with it")
        with self._lock:
            sending.refuse_what_is_compiled(model)
            packed = sending.pack(model)
            if self._child is not None and packed.structure == self._structure:
                return
            sending.refuse_what_cannot_be_shared(model)
            self.warm_up()
            with self._ended_by_any_error():
                self._children[0].wait_until_ready()
                sending.make_shared(packed.storages.values())
                packed = sending.pack(model)
                self._send(packed.structure, packed.storages)

    def _send(self, structure: bytes, storages: dict[Any, Any]) -> None:
        from hangtight.training import isolated_sending as sending

        child = self._children[0]
        sent, fds = sending.told({key: each for key, each in storages.items() if key not in self._held})
        child.send(("model", structure, sent, set(storages), len(fds)))
        sending.send_fds(child.connection, fds)
        match child.receive(clock.now() + self.start_limit):
            case ("held",):
                self._structure, self._held = structure, storages
            case ("error", ImportError() | AttributeError() as error):
                wanted = "of classes in a module that can be imported, because isolate=True imports them elsewhere"
                raise SettingsError("model", error, wanted) from error
            case ("error", error):
                raise error
            case _:
                raise late(self.start_limit)

    def generate(
        self,
        kwargs: dict[str, Any],
        *,
        limit: float | None,
        grace: float = 1.0,
        idle: float | None = None,
        on_tokens: OnTokens | None = None,
    ) -> Came:
        """`model.generate(**kwargs)` over there. At `limit` it stops between two tokens; `grace` later it is killed.

        `idle` is the longest silence before and between tokens; there only the kill ends it. An error over there is
        raised here. Any error here, an interrupt among them, ends the process.
        """
        from hangtight.training import isolated_sending as sending

        with self._lock:
            settings = sending.pickled(kwargs)
            self.ready()
            asked = Asked(limit, grace, self._seed(), sending.autocasts(self._model()))
            sending.finish_what_was_queued(self._held.values())
            call = _Call(self._children[0], idle, on_tokens)
            with self._ended_by_any_error():
                error = call.run(settings, asked)
            if call.came.killed:
                call.came.gone = self._end()
            elif error is not None:
                if any(each.device.type == "cuda" for each in self._held.values()):
                    self._end()  # after an error there, everything may fail from now on
                raise error
            return call.came

    def _seed(self) -> int:
        import torch

        self._calls += 1
        state = bytes(torch.get_rng_state().tolist()) + self._calls.to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(state, digest_size=8).digest(), "little") >> 1

    @contextlib.contextmanager
    def _ended_by_any_error(self) -> Iterator[None]:
        """An interrupt is one, too: what it left half done over there is nobody's any more."""
        try:
            yield
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Ends the process. The next call starts a new one."""
        with self._lock:
            self._end()
            self._structure, self._held = b"", {}

    def _end(self) -> bool:
        return _end_all(self._children)


class _Call:
    """One generation over there, as it is seen from here."""

    def __init__(self, child: Child, idle: float | None, on_tokens: OnTokens | None) -> None:
        self.came = Came()
        self._child = child
        self._idle = math.inf if idle is None else idle
        self._on_tokens = on_tokens

    def run(self, settings: bytes, asked: Asked) -> BaseException | None:
        """Until it ended or is to be killed. The error that was raised over there is returned."""
        began = clock.now()
        last = began + asked.grace + (math.inf if asked.limit is None else asked.limit)
        self._child.send(("generate", settings, tuple(asked)))
        message = self._last_message(began, last, asked.grace)
        self.came.elapsed = clock.now() - began
        match message:
            case ("done", output, stopped):
                self.came.output, self.came.stopped = output, stopped
            case ("error", error):
                return cast("BaseException", error)
            case _:
                self.came.killed = True
        return None

    def _last_message(self, news: float, last: float, grace: float) -> tuple[Any, ...] | None:
        """None where none comes in time."""
        while True:
            try:
                message = self._child.receive(min(last, news + self._idle + grace))
            except BackendError:
                if clock.now() < last:
                    raise
                return None  # we slept, and it ended itself
            news = clock.now()
            if message is None or message[0] != "tokens":
                return message
            self._take(*message[1:])
            if news >= last:
                return None  # it was asked to stop, and goes on

    def _take(self, rows: Rows, whole: bool) -> None:
        if whole or not self.came.rows:
            self.came.rows = rows
        else:
            for so_far, new in zip(self.came.rows, rows, strict=True):
                so_far.extend(new)
        stop = self._on_tokens(self.came.rows) if rows and self._on_tokens is not None else None
        if stop:
            self._child.send(("stop", None if stop is True else list(stop)))


_LOCK = threading.Lock()
_ALL: weakref.WeakKeyDictionary[Any, Isolation] = weakref.WeakKeyDictionary()
_MADE: weakref.WeakSet[Isolation] = weakref.WeakSet()


def _end_all(children: list[Child]) -> bool:
    gone = True
    while children:
        gone = children[-1].end() and gone
        children.pop()
    return gone


def _after_fork_in_child() -> None:
    global _LOCK  # noqa: PLW0603 - it may be held by a thread that is not in this process
    _LOCK = threading.Lock()
    for each in list(_MADE):
        each._forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
