"""S1, the budget: one deadline over a task, its six rows and 36/36/48, and what is said when it is spent.

On virtual time through the real openai client, as in `test_s1.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import hangtight
from hangtight.testing import jumping
from tests.acceptance.test_s1 import FOREVER, HEAVY, LIGHT, TALKS, client, played, text_of, timed, warm
from tests.scripted_api import ScriptedApi, Step

STEPS = {"analyze": 1, "plan": 1, "generate": "critical"}
EXHAUSTED = "[Budget exhausted] Task incomplete."
ROWS: list[tuple[str | None, float | None, tuple[float, float, float]]] = [
    ("deep", 45, (13.5, 9.0, 45.0)),
    ("fast", None, (9, 6, 30)),
    ("search", None, (18, 12, 60)),
    ("deep", None, (30, 15, 120)),
    ("fast", 100, (9, 6, 30)),
    (None, None, (45, 45, 600)),
]


@pytest.mark.parametrize(("mode", "left", "limits"), ROWS)
def test_the_six_rows_of_the_table_hold_beneath_the_client(
    mode: str | None, left: float | None, limits: tuple[float, float, float]
) -> None:
    async def main() -> list[float]:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api, mode=mode)
        seen = []
        scripts: list[list[Step]] = [[FOREVER], ["def ", FOREVER], ["def ", 4.0] * 300]
        for script in scripts:
            api.scripts = {LIGHT: TALKS}
            await warm(asked)
            api.scripts = {LIGHT: script}
            if left is None:
                took, _ = await timed(text_of(asked, LIGHT))
            else:
                with hangtight.budget(left):
                    took, _ = await timed(text_of(asked, LIGHT))
            seen.append(took)
        return seen

    assert tuple(played(main)) == pytest.approx(limits)


def test_120_seconds_are_36_36_48_and_what_analyze_saves_is_for_generate() -> None:
    async def main() -> None:
        with hangtight.budget(120, steps=STEPS) as task:
            assert [task.allotted(step) for step in STEPS] == pytest.approx([36, 36, 48])
            assert task.remaining() == 120.0
            assert not task.exhausted
            with task.step("analyze"):
                await asyncio.sleep(6)
            assert [task.allotted(step) for step in ("plan", "generate")] == pytest.approx([36, 48 + 30])

    jumping(main())


def test_when_it_is_spent_the_next_call_is_not_started_and_the_task_ends_with_what_it_has() -> None:
    async def process(api: ScriptedApi) -> str:
        asked, text = client(api), ""
        try:
            with hangtight.budget(60, steps=STEPS) as task:
                for step in STEPS:
                    with task.step(step):
                        try:
                            text = await text_of(asked, HEAVY)
                        except hangtight.GenerationTimeout as late:
                            text = late.partial
        except hangtight.BudgetSpent as spent:
            return str(spent)
        return text

    async def main() -> None:
        api = ScriptedApi({HEAVY: ["def ", 5.0] * 100})
        assert await process(api) == EXHAUSTED
        assert api.asked == [(HEAVY, 0)], "no second call was paid for"
        quick = ScriptedApi({HEAVY: TALKS})
        assert await process(quick) == "def process(): ..."
        assert len(quick.asked) == len(STEPS)

    played(main)


def test_the_stream_of_a_task_ends_with_the_event_of_an_exhausted_budget() -> None:
    async def process_stream(api: ScriptedApi) -> AsyncIterator[dict[str, Any]]:
        try:
            async with hangtight.budget(60) as task:
                while True:
                    async with task.step("generate"):
                        try:
                            await text_of(client(api), HEAVY)
                        except hangtight.GenerationTimeout as late:
                            yield {"event": "timeout", "text": late.partial}
        except hangtight.BudgetSpent as spent:
            yield {"event": "response", "text": str(spent)}

    async def main() -> None:
        api = ScriptedApi({HEAVY: ["def ", 5.0] * 100})
        events = [event async for event in process_stream(api)]
        assert events[-1] == {"event": "response", "text": EXHAUSTED}
        assert [event["event"] for event in events] == ["timeout", "response"]

    played(main)


def test_a_call_in_a_step_may_take_what_the_task_has_left_less_the_minimums_to_come_less_the_reserve() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: ["def ", 2.0] * 1000})
        steps = {"analyze": 1, "plan": {"minimum": 20}, "generate": {"minimum": 25, "priority": "critical"}}
        with hangtight.budget(120, steps=steps, reserve=5) as task:
            with task.step("analyze") as step:
                assert step.remaining() == 120 - 20 - 25 - 5
                took, late = await timed(text_of(client(api)))
                assert (took, late.limit) == (70, "total")
                assert "the budget, in step analyze" in late.source
                assert "hangtight.budget(240" in str(late)
                assert step.should_wrap_up
            assert task.remaining() == 50
            with task.step("plan"):
                took, _ = await timed(text_of(client(api)))
                assert took == 20
            with task.step("generate") as step:
                assert step.remaining() == 25
                took, _ = await timed(text_of(client(api)))
                assert took == 25
            assert task.exhausted
            assert task.remaining() == 5

    played(main)


def test_a_fallback_inside_a_budget_shares_out_what_is_left_of_it() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: TALKS, LIGHT: TALKS})
        await warm(client(api))
        assert await text_of(client(api), HEAVY)
        api.scripts = {HEAVY: [FOREVER], LIGHT: [FOREVER]}
        with hangtight.budget(100):
            took, late = await timed(text_of(client(api, fallback=[LIGHT])))
        assert late.limit == "first_token"
        assert took == pytest.approx(30 + 0.3 * 70)

    played(main)


def test_nested_budgets_only_shorten() -> None:
    async def main() -> None:
        with hangtight.budget(50), hangtight.budget(120) as inner:
            assert inner.remaining() == inner.total == 50
            with hangtight.budget(20) as innermost:
                assert innermost.remaining() == 20
        steps = {"a": 1, "b": {"minimum": 30}}
        with hangtight.budget(50, steps=steps) as task, task.step("a"), hangtight.budget(120) as inner:
            assert inner.remaining() == 20

    jumping(main())


def test_a_hard_budget_interrupts_code_of_the_callers_own() -> None:
    async def main() -> None:
        start = asyncio.get_running_loop().time()
        with pytest.raises(hangtight.BudgetSpent, match="Task incomplete"):
            async with hangtight.budget(120, hard=True):
                await asyncio.sleep(FOREVER)
        assert asyncio.get_running_loop().time() - start == 120

    jumping(main())
