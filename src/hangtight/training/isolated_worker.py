"""The process of `isolate=True`: it holds the parent's weights, generates when asked, and dies with it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.drivers import clock

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

LONGER_THAN_ITS_PARENT = 5.0
"""Seconds behind the instant at which the parent kills it: then it ends itself, so the parent is not there."""


class Asked(NamedTuple):
    """What goes over for one generation, beside what `generate` is called with."""

    limit: float | None
    grace: float
    seed: int
    autocasts: list[tuple[str, Any]]


def serve(connection: Connection, life: Connection, threads: int) -> None:
    """All that this process does. It never returns before the parent closes the connection, or is gone."""
    _die_with_the_parent(life)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    if sys.platform != "win32":
        os.setpgid(0, 0)
    _open_as_many_files_as_allowed()
    import torch
    import transformers.generation  # noqa: F401 - seconds, which belong to the start

    torch.set_num_threads(threads)
    connection.send_bytes(pickle.dumps(("ready",)))
    worker = Worker(connection)
    with contextlib.suppress(EOFError):
        while True:
            worker.answer(pickle.loads(connection.recv_bytes()))


def _die_with_the_parent(life: Connection) -> None:
    """The parent holds the other end of `life` and never writes, so it ends when the parent does, however that came.

    A thread sees it on any system, but not while a C call holds the interpreter lock. On Linux the kernel sends SIGIO
    for it, which ends us even then. (Not PR_SET_PDEATHSIG: it rings when the *thread* that started us ends.)
    """
    threading.Thread(target=_exit_at_the_end_of, args=(life,), daemon=True).start()
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
        fcntl.fcntl(life.fileno(), fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life.fileno(), fcntl.F_SETFL, fcntl.fcntl(life.fileno(), fcntl.F_GETFL) | os.O_ASYNC)


def _open_as_many_files_as_allowed() -> None:
    """Each storage of the weights is one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _exit_at_the_end_of(life: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        life.recv_bytes()
    os._exit(1)


class Worker:
    """The model over there, and what is done with it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._storages: dict[Any, Any] = {}
        self._model: Any = None
        self._devnull = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as this process

    def answer(self, message: tuple[Any, ...]) -> None:
        try:
            match message:
                case ("model", structure, sent, keys, count):
                    self._hold(structure, sent, keys, count)
                    reply: tuple[Any, ...] = ("held",)
                case ("generate", settings, asked):
                    reply = self._generate(pickle.loads(settings), Asked(*asked))
                case _:  # an order to stop what had already ended
                    return
        except Exception as error:  # noqa: BLE001 - raised again in the parent
            reply = ("error", _travelling(error))
        self._connection.send_bytes(pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))
        del reply, message
        _give_back_what_is_free()

    def _hold(self, structure: bytes, sent: list[Any], keys: set[Any], count: int) -> None:
        from hangtight.training import isolated_sending as sending

        fds = sending.receive_fds(self._connection, count)
        self._model = None
        known = {key: storage for key, storage in self._storages.items() if key in keys}
        self._storages = known | sending.taken(sent, fds)
        self._model = sending.unpack(structure, self._storages)

    def _generate(self, settings: dict[str, Any], asked: Asked) -> tuple[Any, ...]:
        import torch

        torch.manual_seed(asked.seed)
        prompt, reorders = _prompt_length(self._model, settings), _reorders(self._model, settings)
        reporter = Reporter(self._connection, asked.limit, prompt, reorders)
        if _asks_criteria(self._model):
            from transformers import StoppingCriteriaList

            theirs = settings.pop("stopping_criteria", None) or []
            settings["stopping_criteria"] = StoppingCriteriaList([*theirs, reporter])
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._ending_itself(asked))
            for kind, dtype in asked.autocasts:
                stack.enter_context(torch.autocast(kind, dtype=dtype))
            stack.enter_context(torch.no_grad())
            output = self._model.generate(**settings)
        return "done", output, reporter.stopped

    @contextlib.contextmanager
    def _ending_itself(self, asked: Asked) -> Iterator[None]:
        """A thread in C that needs no interpreter lock: even if nobody can kill us, this deadline holds."""
        if asked.limit is None:
            yield
            return
        faulthandler.dump_traceback_later(
            asked.limit + asked.grace + LONGER_THAN_ITS_PARENT, exit=True, file=self._devnull
        )
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


class Reporter:
    """A stopping criterion: tells the parent each new token, stops rows at the limit or when the parent says so."""

    def __init__(self, connection: Connection, limit: float | None, prompt: int | None, reorders: bool) -> None:
        self._connection = connection
        self._deadline = None if limit is None else clock.now() + limit
        self._sent = prompt
        self._reorders = reorders
        self._stop_all = False
        self._stop_rows: set[int] = set()
        self.stopped = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        if self._sent is None:
            self._sent = input_ids.shape[1] - 1
        rows = input_ids[:, self._sent :].tolist()
        if not self._reorders:
            self._sent = input_ids.shape[1]
        self._connection.send_bytes(pickle.dumps(("tokens", rows, self._reorders)))
        self._look()
        stop = torch.full((len(rows),), self._stop_all, dtype=torch.bool, device=input_ids.device)
        if self._stop_rows:
            stop[[row for row in self._stop_rows if row < len(rows)]] = True
        return stop

    def _look(self) -> None:
        while self._connection.poll():
            match pickle.loads(self._connection.recv_bytes()):
                case ("stop", None):
                    self._stop_all = True
                case ("stop", rows):
                    self._stop_rows |= set(rows)
                case other:
                    raise RuntimeError(f"the parent said {other!r} in the middle of a generation")
        if self._deadline is not None and clock.now() >= self._deadline:
            self._stop_all = True
        self.stopped = self._stop_all or bool(self._stop_rows)


def _give_back_what_is_free() -> None:
    """Memory of the GPU that we would keep for the next generation is the training's in the meantime."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _asks_criteria(model: Any) -> bool:
    import inspect

    parameters = inspect.signature(model.generate).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return takes_any or "stopping_criteria" in parameters


def _prompt_length(model: Any, settings: dict[str, Any]) -> int | None:
    """How many ids stand before the first new one. None: one fewer than at the first step."""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        given = settings.get("decoder_input_ids")
    else:
        given = settings.get("inputs") if settings.get("inputs") is not None else settings.get("input_ids")
    shape: tuple[int, ...] = tuple(getattr(given, "shape", ()))
    return shape[1] if len(shape) == 2 else None


def _reorders(model: Any, settings: dict[str, Any]) -> bool:
    """Beams change places, so that what was sent of a row before is not its beginning any more."""
    given, usual = settings.get("generation_config"), getattr(model, "generation_config", None)
    beams = (settings.get("num_beams"), getattr(given, "num_beams", None), getattr(usual, "num_beams", None))
    return next((count for count in beams if count is not None), 1) > 1


def _travelling(error: Exception) -> BaseException:
    """The error with the lines of this process as a note, or where it cannot be pickled, its words."""
    error.add_note("In the process of isolate=True:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - any class may pickle in any wrong way
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.__notes__ = list(error.__notes__)
        return plain
    return error
