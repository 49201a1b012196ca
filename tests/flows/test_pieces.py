"""A step in pieces, on virtual time: who is asked what, what a piece costs, and what another life does again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import BudgetSpent, GenerationTimeout, SettingsError
from hangtight.flows import Engine, EventType, Flow, generate, load
from hangtight.flows.definition.as_data import definition, from_definition
from hangtight.flows.port import Calling, Ended, RunSpec, Work
from tests.flows.kit import Written, problems_of, written
from tests.flows.lives import Durable, end, life, soon
from tests.flows.models import CODER, FOREVER, Told, ran
from tests.flows.serving_pieces import Serving

__all__ = ["written"]
SECTIONS = {"by": "sections"}
FILES = {"by": "files"}
THREE = ['["One", "Two", "Three"]']


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def go(step: Any, answers: list[Any], **given: Any) -> Told:
        return ran(monkeypatch, tmp_path / "work", Flow("f", [step]), {CODER: answers}, **given)

    return go


def book(**settings: Any) -> Any:
    return generate("book", "Write of ${input.idea}", model=CODER, **{"split": SECTIONS, **settings})


def code(**settings: Any) -> Any:
    return generate("code", "Write it", model=CODER, **{"split": FILES, **settings})


class Keeping:
    """A store of one run that goes on with what its steps have put out, as a durable one does."""

    def __init__(self, done: dict[str, Any] | None = None) -> None:
        self.done = done or {}

    async def run(self, spec: RunSpec, body: Any) -> Ended:
        async def step(name: str, work: Work) -> Any:
            if name not in self.done:
                self.done[name] = json.loads(json.dumps(await work()))
            return self.done[name]

        ended: Ended = await body(spec, Calling(step, resumed=bool(self.done)))
        return ended

    async def outputs(self, run: str) -> dict[str, Any]:
        return self.done

    async def cancel(self, run: str) -> bool:
        return False

    async def close(self) -> None:
        pass


# -- what is asked and put out --------------------------------------------------------------------------------


def test_sections_are_planned_then_written_one_by_one_and_joined_in_order(run: Any, tmp_path: Path) -> None:
    told = run(book(), [THREE, ["# One\n\na\n"], ["# Two\n\nb"], ["# Three\n\nc"]], idea="cats")
    whole = "# One\n\na\n\n# Two\n\nb\n\n# Three\n\nc\n"
    assert told.result.outputs == {"book": whole}
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["book.md"]
    assert (tmp_path / "work" / "book.md").read_text() == whole
    asked = [each["messages"][-1]["content"] for each in told.models.asked]
    assert len(asked) == 4
    assert all(each.startswith("Write of cats\n\n---\n") for each in asked)
    assert "of 50 at most" in asked[0]
    assert all("1. One\n2. Two\n3. Three" in each for each in asked[1:])
    assert "Write section 2 now, Two" in asked[2]


def test_files_are_written_each_into_its_own_below_the_folder_of_the_step(run: Any, tmp_path: Path) -> None:
    plan = ["- src/a.py\n- ../../outside.py\n- README.md"]
    told = run(code(), [plan, ["```py\na = 1\n```"], ["# Use"]])
    folder = tmp_path / "work" / "code"
    assert (folder / "src" / "a.py").read_text() == "a = 1\n"
    assert (folder / "README.md").read_text() == "# Use"
    assert not (tmp_path / "outside.py").exists()
    assert sorted(path.name for path in folder.rglob("*")) == ["README.md", "a.py", "src"]
    assert "a = 1" in told.result.outputs["code"]
    assert told.of(EventType.STEP_FINISHED, "code")[0].told["missing"] == ["../../outside.py"]
    assert "[../../outside.py was planned and is missing" in (tmp_path / "work" / "code.md").read_text()


def test_each_piece_is_told_of_with_its_number(run: Any) -> None:
    told = run(book(), [THREE, ["a ", 20.0, "b"], ["b"], ["c"]], idea="x")
    numbered = [(e.step, e.told.get("piece"), e.told.get("of")) for e in told.of(EventType.STEP_STARTED)]
    pieces = [("book/1", 1, 3), ("book/2", 2, 3), ("book/3", 3, 3)]
    assert numbered == [("book", None, None), ("book/plan", None, None), *pieces]
    ended = [(e.step, e.told["outcome"]) for e in told.of(EventType.STEP_FINISHED)]
    assert [step for step, _ in ended] == ["book/plan", "book/1", "book/2", "book/3", "book"]
    assert {outcome for _, outcome in ended} == {"finished"}
    last = told.of(EventType.STEP_FINISHED, "book")[0].told
    assert (last["pieces"], last["model"], last.get("missing")) == (3, CODER, None)
    assert last["tokens"] == sum(e.told["tokens"] for e in told.of(EventType.STEP_FINISHED) if "/" in e.step)
    seen = [e.told["tokens"] for e in told.of(EventType.PROGRESS, "book")]
    assert seen == sorted(seen)
    assert seen
    beats = told.of(EventType.HEARTBEAT)
    assert [(e.step, e.told["piece"], round(e.told["elapsed"])) for e in beats] == [("book/1", 1, 15)]


# -- time -----------------------------------------------------------------------------------------------------


def test_a_piece_that_goes_silent_costs_that_piece_and_is_marked(run: Any, tmp_path: Path) -> None:
    told = run(book(), [THREE, ["# One"], ["# Tw", FOREVER], ["# Three"]], idea="x")
    assert told.result.finished
    text = told.result.outputs["book"]
    assert text.startswith("# One\n\n# Tw\n\n[Two is missing: ")
    assert "stuck - no output for 45s" in text
    assert text.endswith("# Three\n")
    assert told.of(EventType.STEP_FINISHED, "book")[0].told["missing"] == ["Two"]
    assert told.of(EventType.STEP_FINISHED, "book/2")[0].told["outcome"] == "timeout"
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["book.md"]


def test_the_timeout_of_the_step_is_shared_by_its_pieces_and_what_one_saves_is_for_the_others(run: Any) -> None:
    """Of 100 s the first may take a third; it takes 10, and the two others have 45 each."""
    slow = ["a ", 10.0] * 60
    told = run(book(timeout=100), [THREE, ["a ", 10.0, "b"], list(slow), list(slow)], idea="x")
    limits = {e.step: e.told["timeout"] for e in told.of(EventType.STEP_STARTED)}
    assert limits == pytest.approx({"book": 100, "book/plan": 24.75, "book/1": 33, "book/2": 44.6, "book/3": 45}, abs=1)
    assert told.result.finished
    assert told.result.elapsed == pytest.approx(99.5, abs=0.6)
    error = told.of(EventType.TIMED_OUT, "book/2")[0].told["error"]
    assert "its share of 100s" in error
    assert "timeout=200  for step book" in error


def test_a_piece_gets_no_more_than_its_share_also_where_only_the_run_has_a_total(run: Any) -> None:
    slow = ["a ", 3.0] * 200
    told = run(book(timeout=None), [THREE, *(list(slow) for _ in range(3))], idea="x", total=90)
    assert isinstance(told.result.cause, GenerationTimeout | BudgetSpent)
    assert [round(e.told["elapsed"]) for e in told.of(EventType.STEP_FINISHED) if "/" in e.step] == [0, 30, 30, 30]
    told = run(book(timeout=None), [THREE, ["a"], list(slow), ["b"]], idea="x", total=90)
    assert told.result.finished
    assert told.result.elapsed == pytest.approx(45, abs=1)


def test_without_a_plan_there_is_nothing(run: Any, tmp_path: Path) -> None:
    told = run(book(timeout=100), [["1. ", FOREVER]], idea="x")
    assert (told.result.outcome, told.result.step) == ("timeout", "book")
    assert told.result.elapsed == pytest.approx(24.75, abs=0.5)
    assert (tmp_path / "work" / "book.md.partial").read_text() == "1. "
    assert (tmp_path / "work" / "book.md.error").exists()


def test_a_step_of_which_no_piece_came_has_timed_out(run: Any) -> None:
    told = run(book(), [THREE, ["a", FOREVER], ["b", FOREVER], ["c", FOREVER]], idea="x")
    assert told.result.outcome == "timeout"
    assert told.result.elapsed == pytest.approx(135, abs=1)


def test_a_step_that_must_be_whole_fails_with_a_piece_after_the_others_were_written(run: Any, tmp_path: Path) -> None:
    split = {"by": "files", "whole": True}
    told = run(code(split=split), [['["a.py", "b.py"]'], ["a = ", FOREVER], ["b = 1"]])
    assert told.result.outcome == "timeout"
    folder = tmp_path / "work" / "code"
    assert sorted(path.name for path in folder.iterdir()) == ["a.py.error", "a.py.partial", "b.py"]
    assert (folder / "a.py.partial").read_text() == "a = "


def test_a_piece_has_retries_of_its_own(run: Any) -> None:
    told = run(book(retries=1), [[503], THREE, ["a"], [503], ["b"], ["c"]], idea="x")
    assert told.result.outputs["book"] == "a\n\nb\n\nc\n"
    assert [event.step for event in told.of(EventType.RETRIED)] == ["book/plan", "book/2"]
    told = run(book(retries=1), [["[]"], THREE, ["a"], ["b"], ["c"]], idea="x")
    assert told.result.finished


def test_a_piece_that_is_refused_is_the_failure_of_the_step(run: Any, tmp_path: Path) -> None:
    told = run(book(), [THREE, ["a"], [400], ["c"]], idea="x")
    assert told.result.outcome == "failed"
    assert len(told.models.asked) == 3
    assert (tmp_path / "work" / "book.md.partial").read_text().strip() == "a"


# -- another life ---------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_writes_only_what_is_missing(run: Any, tmp_path: Path) -> None:
    store = Keeping()
    plan = ['["a.py", "b.py", "c.py"]']
    split = {"by": "files", "whole": True}
    first = run(code(split=split), [plan, ["a"], ["b", FOREVER], ["c"]], engine={"store": store})
    assert first.result.outcome == "timeout"
    assert sorted(store.done) == ["code/1", "code/3", "code/plan"]
    (tmp_path / "work" / "code" / "c.py").unlink()
    again = run(code(split=split), [["b"]], engine={"store": store})
    assert again.result.finished
    assert len(again.models.asked) == 1
    assert [(tmp_path / "work" / "code" / f"{name}.py").read_text() for name in "abc"] == ["a", "b", "c"]
    recorded = [e.step for e in again.of(EventType.STEP_FINISHED) if e.told.get("recorded")]
    assert recorded == ["code/plan", "code/1", "code/3"]


KILLED = """
from tests.flows.test_pieces import whole_run
asyncio.run(whole_run(sys.argv[1], sys.argv[2], sys.argv[3]))
"""


async def whole_run(url: str, folder: str, server: str) -> None:
    """In a process of its own."""
    os.environ["OPENAI_BASE_URL"] = server
    engine = Engine(folder, store=Durable(url))
    result = await engine.arun(Flow("f", [book()]), run_id="r1", idea="x")
    await engine.aclose()
    print(result.outcome, flush=True)


@pytest.mark.real
def test_a_run_that_was_killed_between_two_pieces_goes_on_with_the_next(tmp_path: Path) -> None:
    url, folder = str(tmp_path / "runs.db"), tmp_path / "work"
    with Serving([THREE[0], "# One", None]) as server:
        first = life(KILLED, url, str(folder), server.url)
        try:
            assert soon(lambda: len(server.asked) == 3)
            first.send_signal(signal.SIGKILL)
            first.communicate()
        finally:
            end(first)
        server.answers += ["# Two", "# Three"]
        again = life(KILLED, url, str(folder), server.url)
        try:
            assert again.communicate(timeout=60)[0].strip() == "finished"
        finally:
            end(again)
    assert (folder / "book.md").read_text() == "# One\n\n# Two\n\n# Three\n"
    assert ["section 2 now" in each for each in server.asked] == [False, False, True, True, False]

    async def kept() -> list[str]:
        store = Durable(url)
        known = await store.show("r1")
        await store.close()
        assert known is not None
        return [step.name for step in known.steps]

    assert asyncio.run(kept()) == ["book/plan", "book/1", "book/2", "book/3", "book"]


# -- what may be said -----------------------------------------------------------------------------------------


def test_how_a_step_is_split_stands_in_a_file_and_in_the_definition_of_a_run(written: Written) -> None:
    path = written(
        "steps:\n  a:\n    generate: x\n    split: {by: files, most: 5}\n  b: {generate: y, split: sections}\n"
    )
    flow = load(path)
    assert flow.steps["a"].split == {"by": "files", "most": 5, "whole": False}
    assert flow.steps["b"].split == {"by": "sections", "most": 50, "whole": False}
    assert from_definition(json.loads(json.dumps(definition(flow)))) == flow


@pytest.mark.parametrize(
    "said",
    ["{by: pages}", "{most: 3}", "{by: files, most: 51}", "{by: files, whole: 1}", "{by: files, x: 1}", "3", "{}"],
)
def test_what_cannot_be_meant_is_refused_with_its_line(written: Written, said: str) -> None:
    (problem,) = problems_of(written(f"steps:\n  a:\n    generate: x\n    split: {said}\n"))
    assert (problem.line, problem.key) == (4, "steps.a.split")


def test_only_a_generation_is_split(written: Written) -> None:
    (problem,) = problems_of(written("steps:\n  a:\n    tool: ls\n    split: files\n"))
    assert "left out" in problem.wanted


def test_nobody_else_writes_into_the_folder_of_the_files() -> None:
    for output in ("code/a.py", "Code"):
        with pytest.raises(SettingsError, match="the folder of a step"):
            Flow("f", [code(), generate("other", "x", output=output)])
    Flow("f", [code(split=SECTIONS), generate("other", "x", output="code/a.py")])
