"""A function in a process of its own, which can be ended at any time with all that it started."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangtight.drivers.budget.shares import current
from hangtight.drivers.budget.task import Budget
from hangtight.drivers.given import AROUND, Given
from hangtight.errors import BackendError, SettingsError
from hangtight.flows.definition import finding
from hangtight.flows.run import processes

MAIN = "__hangtight_main__"


@dataclass(frozen=True, slots=True)
class Task:
    """All that the other process has to know."""

    name: str
    """Where the function is: `module:name`, or in the program itself `path:name`."""
    is_in_main: bool
    arguments: Mapping[str, Any]
    places: tuple[Given, ...] = ()
    header: str = ""
    """What is left of the budget around it."""
    path: list[str] = field(default_factory=list)
    folder: str = "."


async def call(function: Callable[..., Any], called: str, arguments: Mapping[str, Any], folder: Path, mark: str) -> Any:
    """What the function returns over there. Raises what it raises; cancelled, all of it is ended."""
    name, is_in_main = _name_of(function, called)
    around = current()
    places = tuple(place for place in AROUND.get() if place.on_loop is None)  # a hook of ours is not over there
    header = "" if around is None else around.budget.to_header()
    task = Task(name, is_in_main, dict(arguments), places, header, list(sys.path), str(folder))
    with tempfile.TemporaryDirectory(prefix="hangtight-", ignore_cleanup_errors=True) as between:
        asked, answered = Path(between, "asked"), Path(between, "answered")
        _put(task, asked)
        command = [sys.executable, "-m", "hangtight.flows.run.isolated", str(asked), str(answered)]
        await processes.heard(command, mark, sys.stdout.write, stderr=_pass_on)
        result, failure = _taken(answered)
    if failure is not None:
        raise failure
    return result


def _put(task: Task, path: Path) -> None:
    try:
        path.write_bytes(pickle.dumps(task))
    except Exception as error:
        raise SettingsError(task.name, task.arguments, f"given what can be pickled ({error})") from error


def _taken(path: Path) -> tuple[Any, BaseException | None]:
    outcome: tuple[Any, BaseException | None] = pickle.loads(path.read_bytes())
    return outcome


def _pass_on(data: bytes) -> None:
    """What it prints is seen, as if it ran here."""
    sys.stderr.write(data.decode("utf-8", "replace"))


def _name_of(function: Callable[..., Any], called: str) -> tuple[str, bool]:
    if name := finding.reference(function) or called:
        return name, False
    main = getattr(sys.modules["__main__"], "__file__", None)
    name = getattr(function, "__qualname__", repr(function))
    if getattr(function, "__module__", "") == "__main__" and main and "<" not in name:
        return f"{Path(main).absolute()}:{name}", True
    raise SettingsError("isolate", name, "with a function of a module, by which another process finds it")


def _function(task: Task) -> Callable[..., Any]:
    if not task.is_in_main:
        found: Callable[..., Any] = finding.found(task.name, Path(task.folder))
        return found
    path, _, name = task.name.rpartition(":")
    there: Any = runpy.run_path(path, run_name=MAIN)
    first, *rest = name.split(".")
    there = there[first]
    for part in rest:
        there = getattr(there, part)
    function: Callable[..., Any] = there
    return function


def _outcome(task: Task) -> tuple[Any, BaseException | None]:
    try:
        with ExitStack() as inside:
            token = AROUND.set(task.places)
            inside.callback(AROUND.reset, token)
            if task.header:
                inside.enter_context(Budget.from_header(task.header))
            result = _function(task)(**task.arguments)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            return result, None
    except Exception as error:  # noqa: BLE001 - it is raised again by who asked
        return None, error


def main(asked: str, answered: str) -> None:
    """In the process of its own."""
    task: Task = pickle.loads(Path(asked).read_bytes())
    sys.path[:] = task.path
    outcome = _outcome(task)
    try:
        told = pickle.dumps(outcome)
        pickle.loads(told)
    except Exception as error:  # noqa: BLE001 - what cannot travel is told in words
        what = error if outcome[1] is None else outcome[1]
        told = pickle.dumps((None, BackendError(f"{type(what).__name__}: {what}")))
    Path(answered).write_bytes(told)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
