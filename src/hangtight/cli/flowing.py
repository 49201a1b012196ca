"""How `hangtight flow` runs, resumes and cancels runs, and what it exits with."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.cli import ending
from hangtight.cli.elsewhere import Elsewhere
from hangtight.cli.following import Drawn, Face, Words, face_for
from hangtight.cli.journals import leave_journal, quiet_logs
from hangtight.cli.keeping import MEMORY, found, store_at, that_place, troubles
from hangtight.cli.printing import line_of, put_lines
from hangtight.cli.process import FAILED, OK, SIGNALLED, TIMED_OUT, code_for_signal, say, stop_on_signals
from hangtight.cli.settings import USAGE, fail, use
from hangtight.flows.definition.steps import TAKEN, inputs_of

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow
    from hangtight.flows.durable.store import Durable
    from hangtight.flows.engine import Engine

CODES: Mapping[str, int] = {
    "finished": OK,
    "failed": FAILED,
    "timeout": TIMED_OUT,
    "cancelled": SIGNALLED + signal.SIGINT,
}
MEANT_TO_END = (signal.SIGINT, signal.SIGTERM)


class Wanted(NamedTuple):
    """One run, as it was asked for."""

    flow: str
    inputs: tuple[str, ...]
    models: tuple[str, ...]
    changes: tuple[str, ...]
    limits: Mapping[str, Any]
    """`total` and `heartbeat`, where they were written."""
    workspace: str
    submit: bool


def run_command(wanted: Wanted, url: str | None, config: str | None, *, as_json: bool) -> int:
    """Run it to its end, whatever that is, and return the exit code for it."""
    _begin(config)
    with troubles():
        from hangtight.flows.definition.overriding import changes_in, models_in, overridden
        from hangtight.flows.definition.reading import load
        from hangtight.flows.interval import remarks

        flow = load(wanted.flow)
        given: dict[str, Any] = {"models": models_in(wanted.models), "changes": changes_in(wanted.changes)}
        given["total"] = wanted.limits.get("total")
        inputs = inputs_in(wanted.inputs)
        _complete(flow, inputs)
        shown = overridden(flow, given["models"], given["changes"])
        store = store_at(url, or_none=not wanted.submit)
        face = face_for(shown, as_json=as_json)
        engine = _engine(wanted, face, store)
        for remark in [] if "heartbeat" in wanted.limits else remarks():
            say(f"{remark}\n")
        if wanted.submit and store is not None:
            spec, _ = engine.prepared(flow, **given, inputs=inputs)
            asyncio.run(_submit(store, spec))
            put_lines([spec.id])
            return OK
        work = _run(engine, flow, given, inputs, face, url)
        return _to_the_end(work)


def resume_command(run: str, url: str | None, config: str | None, *, as_json: bool) -> int:
    """Go on with it here, to its end."""
    _begin(config)
    with troubles():
        return _to_the_end(_resume(run, url, as_json=as_json))


def cancel_command(run: str, url: str | None, config: str | None) -> int:
    """End it wherever it is."""
    _begin(config)
    with troubles():
        return asyncio.run(_cancel(run, url))


def worker_command(url: str | None, config: str | None, at_once: int, *, as_json: bool) -> int:
    """Do runs until a signal."""
    _begin(config)
    with troubles():
        return _to_the_end(_work(url, at_once, as_json=as_json), meant_to_end=True)


# -- what is done -----------------------------------------------------------------------------------------------------


async def _run(
    engine: Engine, flow: Flow, given: Mapping[str, Any], inputs: Mapping[str, Any], face: Face, url: str | None
) -> int:
    try:
        async with face.following():
            result = await engine.arun(flow, **given, **inputs)
    finally:
        await engine.aclose()
    _where(face, engine.workspace)
    _tell(result.id, result.outcome, result.error, url)
    return CODES.get(result.outcome, FAILED)


async def _submit(store: Durable, spec: Any) -> None:
    try:
        await store.submit(spec)
    finally:
        await store.close()


async def _resume(run: str, url: str | None, *, as_json: bool) -> int:
    from hangtight.flows.definition.as_data import flow_of
    from hangtight.flows.engine import Engine

    store = _kept(url)
    engine = Engine(store=store)
    try:
        known = await found(store, run)
        if known.status == "finished":
            say(f"run {known.spec.id} has finished already\n")
            return OK
        face = face_for(flow_of(known.spec), as_json=as_json)
        elsewhere = Elsewhere(known.spec.id, known.spec.flow, face)
        engine.listen(elsewhere.hear)
        async with face.following(), elsewhere.waited_for():
            ended = await store.run(known.spec, engine.body)
            await elsewhere.over(ended)
    finally:
        await engine.aclose()
    _where(face, known.spec.workspace)
    _tell(known.spec.id, ended.outcome, ended.error, url)
    return CODES.get(ended.outcome, FAILED)


async def _cancel(run: str, url: str | None) -> int:
    store = _kept(url)
    try:
        known = await found(store, run)
        if not await store.cancel(known.spec.id):
            say(f"hangtight: run {known.spec.id} does not run: {known.status}\n")
            return FAILED
        put_lines([f"run {known.spec.id} is told to end"])
        return OK
    finally:
        await store.close()


async def _work(url: str | None, at_once: int, *, as_json: bool) -> int:
    from hangtight.flows.engine import Engine

    store = _kept(url, at_once)
    face = face_for(None, as_json=as_json)
    engine = Engine(on_event=face.hear, store=store)
    try:
        async with face.following(ends=False):
            if isinstance(face, Words):
                say("waiting for runs; Ctrl-C ends this worker\n")
            await store.work(engine.body)
    finally:
        await engine.aclose()
    return OK


# -- how --------------------------------------------------------------------------------------------------------------


def _begin(config: str | None) -> None:
    # Before the journal's thread begins, which imports it too: of two imports at a time one may see half a package.
    import sqlalchemy  # noqa: F401

    quiet_logs()
    use(config)


def _kept(url: str | None, at_once: int | None = None) -> Durable:
    store = store_at(url, at_once=at_once)
    assert store is not None, "without a store the command has ended"
    return store


def _engine(wanted: Wanted, face: Face, store: Durable | None) -> Engine:
    from hangtight.flows.engine import Engine
    from hangtight.flows.run.wording import COMMAND

    beats = {"heartbeat": wanted.limits["heartbeat"]} if "heartbeat" in wanted.limits else {}
    engine = Engine(wanted.workspace, on_event=face.hear, store=store, **beats)
    engine.words = COMMAND
    return engine


def _to_the_end(work: Coroutine[Any, Any, int], *, meant_to_end: bool = False) -> int:
    """The exit code of it, or of the signal that has ended it."""
    interrupted: list[int] = []

    async def bounded() -> int:
        stop_on_signals(interrupted)
        return await work

    try:
        code = ending.run(bounded())
    except asyncio.CancelledError:
        meant = meant_to_end and interrupted and interrupted[0] in MEANT_TO_END
        code = OK if meant else code_for_signal(interrupted)
    except BaseException:
        leave_journal()
        raise
    return ending.leave(code)


def _where(face: Face, workspace: str | Path) -> None:
    if isinstance(face, Drawn):
        put_lines([line_of(f"what was put out is in {workspace}")])


def _tell(run: str, outcome: str, error: str, url: str | None) -> None:
    if error and outcome != "finished":
        say("".join(f"{line_of(line)}\n" for line in error.splitlines()))
        say(f"what happened:  hangtight flow show {run}{that_place(None if url == MEMORY else url)}\n")


def inputs_in(words: Iterable[str]) -> dict[str, str]:
    """Of `idea=a list of books`, or `idea=@idea.md`; `@@` begins a text that begins with @. What is no such ends the
    command."""
    inputs: dict[str, str] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not (sign and name.strip()):
            fail(f"--input {word!r} cannot be used: it must be NAME=TEXT, or NAME=@FILE", USAGE)
        if name.strip() in TAKEN:
            fail(f"--input {word!r} cannot be used: no input can be called {name.strip()}", USAGE)
        inputs[name.strip()] = _text_of(name, text)
    return inputs


def _complete(flow: Flow, inputs: Mapping[str, str]) -> None:
    """The line to type for what is missing."""
    missing = [name for name, must in inputs_of(flow.steps.values()).items() if must and name not in inputs]
    if missing:
        words = " ".join(f"--input {name}=TEXT" for name in missing)
        fail(f"flow {flow.name} needs to be given:  {words}", USAGE)


def _text_of(name: str, text: str) -> str:
    if text.startswith("@@") or not text.startswith("@"):
        return text.replace("@@", "@", 1) if text.startswith("@@") else text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        fail(f"--input {name}={text} cannot be read: {why}", USAGE)
