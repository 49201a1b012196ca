"""The scenes of the tour: what is asked, and how it should come out. Nothing here is acted but the models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from hangtight.cli.telling import receipt
from hangtight.cli.tour_asking import Answer
from hangtight.core.time import plain
from hangtight.drivers.budget.task import Budget

if TYPE_CHECKING:
    from hangtight.cli.tour import Tour

DEEP = "deep"
STEPS: dict[str, object] = {"analyze": 1, "plan": 1, "generate": "critical"}
FOR_ALL = 270.0  # seconds of a real machine, for the task of the last scene
UNTIL_IT_STOPS = 5.0  # seconds
SOME = 20  # tokens of 24, 40 or 100: that they came, and not how many exactly


class Outcome(NamedTuple):
    """What came of a scene. `held` says whether it is what should have come."""

    held: bool
    words: str
    ids: tuple[str, ...] = ()
    elapsed: float = 0.0
    error: tuple[str, ...] = ()
    """The three lines that the client was told, where that was the point."""


class Scene(NamedTuple):
    title: str
    line: str
    """What does it, as one writes it for a real machine."""
    play: Callable[[Tour], Awaitable[Outcome]]


def _of(held: bool, words: str, *answers: Answer, shown: bool = False) -> Outcome:
    """What should not have come is shown as it came."""
    last = answers[-1]
    if not held:
        words = f"this did not come out as it should (HTTP {last.status}, {last.tokens} tokens): please report it"
    elapsed = round(sum(answer.elapsed for answer in answers), 3)
    lines = tuple(last.lines) if shown or not held else ()
    return Outcome(held, words, tuple(answer.id for answer in answers), elapsed, lines)


async def slow_load(tour: Tour) -> Outcome:
    answer = await tour.ask("qwen3-coder")
    loaded = any(told.get("phase") == "loading" for told in tour.heard("heartbeat"))
    held = loaded and answer.finished and answer.tokens >= SOME
    return _of(held, f"It was waited for. {_receipt(tour, answer)}", answer)


async def thinking(tour: Tour) -> Outcome:
    answer = await tour.ask("deepseek-r1", DEEP)
    moves = tour.heard("extended")
    held = bool(moves) and answer.finished and answer.tokens >= SOME
    if not held:
        return _of(False, "", answer)
    real, why = tour.stage.scale.real, moves[0]["why"]
    before, after = (plain(round(real(moves[0][name]))) for name in ("before", "after"))
    words = f"It was {why} when its {before} s were over, so it could have {after}. {_receipt(tour, answer)}"
    return _of(True, words, answer)


async def hang(tour: Tour) -> Outcome:
    answer = await tour.ask("mistral-7b")
    looks = await tour.until("looked", UNTIL_IT_STOPS, answer.id)
    stopped = bool(looks) and looks[-1]["found"] == "stopped"
    held = answer.error.get("code") == "idle" and answer.tokens >= SOME and stopped
    real = tour.stage.scale.real(answer.error.get("waited") or 0.0)
    words = f"Caught after {real:.0f} s of pings without a word: {answer.tokens} tokens are kept, the server stopped."
    return _of(held, words, answer, shown=True)


async def loop(tour: Tour) -> Outcome:
    answer = await tour.ask("phi-4", DEEP)
    await tour.until("looked", UNTIL_IT_STOPS, answer.id)
    held = answer.error.get("code") == "intent" and "repeats itself" in answer.lines[0]
    real = tour.stage.scale.real(answer.elapsed)
    words = f"Cut after {real:.0f} s: it was never silent, and would have gone on until its total."
    return _of(held, words, answer, shown=True)


async def fallback(tour: Tour) -> Outcome:
    answer = await tour.ask("llama-70b", DEEP)
    scale = tour.stage.scale
    held = answer.finished and answer.model == "qwen3-4b" and scale.real(answer.elapsed) < 120
    words = (
        f"llama-70b said nothing, {answer.model} answered in what was left of 120 s: both in "
        f"{scale.real(answer.elapsed):.0f} s."
    )
    return _of(held, words, answer)


async def budget(tour: Tour) -> Outcome:
    """The steps save for the critical one; when all is spent nothing more is begun."""
    real = tour.stage.scale.real
    answers = []
    with Budget(tour.stage.scale.here(FOR_ALL), steps=STEPS, name=tour.run) as task:
        first = real(task.allotted("generate"))
        for name, model in (("analyze", "qwen3-4b"), ("plan", "qwen3-4b"), ("generate", "qwen3-32b")):
            with task.step(name) as step:
                tour.says(f"{name} has {real(step.allotted):.0f} s of the {FOR_ALL:.0f}")
                more = real(step.allotted)
                answers.append(await tour.ask(model, task=task))
                tour.says(f"{name} took {real(answers[-1].elapsed):.0f} s")
        await asyncio.sleep(max(0.0, task.remaining()))
        spent = await _is_refused(tour, task)
    held = spent and more > first and all(answer.finished for answer in answers)
    words = (
        f"What two steps saved gave the third {more:.0f} s in place of {first:.0f}. "
        "When all is spent, the next call is not begun."
    )
    return _of(held, words, *answers)


async def _is_refused(tour: Tour, task: Budget) -> bool:
    with task.step("generate"):
        answer = await tour.ask("qwen3-4b", task=task)
    tour.says(" ".join(answer.lines[:1]))
    return not answer.tokens and answer.error.get("code") == "budget"


def _receipt(tour: Tour, answer: Answer) -> str:
    return receipt(answer.tokens, tour.stage.scale.real(answer.elapsed))


SCENES = (
    Scene("A slow load survives", "limits: {load: 300}        # hangtight.yaml; the default", slow_load),
    Scene("A thinking model lives", "modes: {deep: {total: 120}}        # and X-Hangtight-Mode: deep", thinking),
    Scene("A hang is caught", "limits: {idle: 45}        # hangtight.yaml; the default", hang),
    Scene("A loop is cut", "modes: {deep: {intent: true}}        # on by itself in a mode", loop),
    Scene("A fallback that fits", "models: {llama-70b: {fallback: [qwen3-4b]}}        # hangtight.yaml", fallback),
    Scene(
        "A budget is shared",
        f'with hangtight.budget({FOR_ALL:.0f}, steps={{"analyze": 1, "plan": 1, "generate": "critical"}}) as task:',
        budget,
    ),
)
