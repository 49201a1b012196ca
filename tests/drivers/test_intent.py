"""The text moves the deadline, through `watch` on virtual time: the ladder, who turns it off, what is told and kept."""

from __future__ import annotations

import asyncio
import pickle
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain as joined
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hangtight
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.time import Seconds
from hangtight.drivers.given import AROUND, given
from hangtight.drivers.terms import terms_of
from hangtight.drivers.watch import DOOR, Watch
from hangtight.intent.findings import Finding, Rule
from hangtight.testing import Said, ScriptedModel, jumping
from hangtight.testing.lab.healthy import said_of_code
from hangtight.testing.lab.script import Answer
from hangtight.testing.lab.words import said
from hangtight.testing.scripted import Hang, NoReason
from tests.acceptance.kit import project, read
from tests.acceptance.test_s1 import LIGHT, TALKS, client, played, text_of, timed, warm
from tests.scripted_api import ScriptedApi, Step

CODE = [said_of_code(index) for index in range(2000)]
DRIFT = [said(Answer(text="drift"), index) for index in range(1500)]
SENTENCE = ["I ", "will ", "now ", "open ", "the ", "file ", "again ", ". "]
LOOP = SENTENCE * 100
ENDLESS = SENTENCE * 1000
UNIT = "".join(SENTENCE)
ANSWER = ["def ", "process", "(): ", "..."]
FALLS_BACK = {"ladder": ["notify", "fallback"]}
NO_FALLBACK = {"ladder": ["notify", "ask", "cut"]}


class Seen(NamedTuple):
    """How one generation went."""

    took: float
    error: Any
    text: str
    told: list[Heartbeat]
    outcome: str | None

    @property
    def moves(self) -> list[str]:
        return [str(beat.moved) for beat in self.told if beat.moved is not None]


def went(watching: Any, told: list[Heartbeat] | None = None) -> Seen:
    async def main() -> Seen:
        error = None
        try:
            async for _ in watching:
                pass
        except hangtight.HangtightError as raised:
            error = raised
        return Seen(round(watching.elapsed, 2), error, watching.partial, told or [], watching.outcome)

    seen = jumping(main())
    return seen._replace(told=told or [])


def watched(*steps: Any, **settings: Any) -> Seen:
    told: list[Heartbeat] = []
    given = {"mode": "deep", "cold": None, "heartbeat": 6, **settings}
    return went(hangtight.watch(ScriptedModel(*steps), model="m", on_heartbeat=told.append, **given), told)


def loops(seen: Seen) -> Finding:
    assert isinstance(seen.error, hangtight.Looping), seen
    assert seen.error.loop is not None
    assert (seen.outcome, seen.error.limit) == ("looping", "intent")
    return seen.error.loop


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda told_of: told.append(str(told_of.exc_value)))
    return told


# -- the ladder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ladder", [[], ["notify"]])
def test_without_a_rung_that_ends_it_a_loop_runs_on_to_its_total(ladder: list[str]) -> None:
    seen = watched(Said(LOOP, every=0.1), intent={"ladder": ladder})
    assert (seen.outcome, seen.took, seen.text) == ("finished", 80, UNIT * 100)
    assert seen.told[-1].now.doing == "stuck"
    late = watched(Said(ENDLESS, every=0.1), intent={"ladder": ladder})
    assert (type(late.error), late.took, late.moves) == (hangtight.TotalTimeout, 120, [])


def test_who_is_asked_may_let_it_go_on_and_is_asked_again_at_twice_the_copies() -> None:
    asked: list[Finding] = []

    def hook(found: Finding) -> bool:
        asked.append(found)
        return True

    seen = watched(Said(LOOP, every=0.1), on_loop=hook)
    assert (seen.outcome, seen.text) == ("finished", UNIT * 100)
    assert {(found.rule, found.period, found.start) for found in asked} == {(Rule.EXACT, len(UNIT), 0)}
    copies = [found.copies for found in asked]
    assert len(copies) > 1
    assert all(later >= 2 * earlier for earlier, later in pairwise(copies))


def test_who_is_asked_may_change_its_mind() -> None:
    answers = iter([True, True, False])
    seen = watched(Said(ENDLESS, every=0.1), on_loop=lambda _: next(answers))
    assert loops(seen).copies > 4 * 15
    assert next(answers, None) is None


@pytest.mark.parametrize("answer", [False, None, 1, "yes"])
def test_only_true_lets_it_go_on(answer: object) -> None:
    assert loops(watched(Said(ENDLESS, every=0.1), on_loop=lambda _: answer)).period == len(UNIT)


def _fails(_: Finding) -> bool:
    raise ValueError("the hook is broken")


def test_a_hook_that_would_have_to_be_awaited_is_refused_at_once() -> None:
    async def later(_: Finding) -> bool:
        return True

    with pytest.raises(hangtight.SettingsError, match="plain function"):
        hangtight.watch(["x"], mode="deep", on_loop=later)


@pytest.mark.parametrize(("hook", "word"), [(_fails, "the hook is broken")])
def test_a_hook_that_cannot_answer_lets_nothing_go_on_and_is_told(
    hook: Callable[[Finding], object], word: str, complaints: list[str]
) -> None:
    loops(watched(Said(ENDLESS, every=0.1), on_loop=hook))
    (told,) = complaints
    assert word in told


def test_nobody_is_asked_where_the_ladder_has_no_such_rung() -> None:
    asked: list[Finding] = []
    loops(watched(Said(ENDLESS, every=0.1), on_loop=asked.append, intent={"ladder": ["cut"]}))
    assert asked == []


def test_a_hook_is_not_asked_by_an_alarm() -> None:
    """A loop in few large pieces: nobody reads along before `total`, and that alarm may ring in any thread."""
    asked: list[Finding] = []
    steps = Said([UNIT * 100], every=20), Said([UNIT] * 3, every=45)
    seen = watched(*steps, idle=60, on_loop=asked.append)
    assert (type(seen.error), seen.took, asked) == (hangtight.TotalTimeout, 120, [])
    loops(watched(*steps, idle=60))


class Models:
    """Some models behind a function that takes a name; knows who was asked."""

    def __init__(self, **scripts: Any) -> None:
        self.scripts = scripts
        self.asked: list[str] = []

    def __call__(self, model: str) -> ScriptedModel:
        self.asked.append(model)
        return ScriptedModel(*self.scripts[model])


def chained(models: Models, *, holds: bool = True, **settings: Any) -> Watch[Any]:
    first, *others = models.scripts
    terms = terms_of(given({"cold": None, **settings}, "deep"), *AROUND.get(), door=DOOR)
    return Watch(models, terms, model=first, fallback=others, holds=holds)


@pytest.mark.parametrize("intent", [True, FALLS_BACK])
def test_another_model_answers_as_long_as_nobody_has_seen_a_word(intent: Any) -> None:
    models = Models(a=[Said(ENDLESS, every=0.1)], b=[Said(ANSWER, every=1)])
    watching = chained(models, intent=intent)
    seen = went(watching)
    assert (seen.outcome, seen.text, models.asked) == ("finished", "".join(ANSWER), ["a", "b"])
    (failed,) = watching.attempts
    assert (failed.model, failed.limit) == ("a", "intent")
    assert "stuck" in failed.reason


def test_without_that_rung_nobody_else_is_asked() -> None:
    models = Models(a=[Said(ENDLESS, every=0.1)], b=[Said(ANSWER, every=1)])
    seen = went(chained(models, intent=NO_FALLBACK))
    loops(seen)
    assert models.asked == ["a"]


def test_a_ladder_without_cut_ends_only_what_another_model_can_take_over() -> None:
    models = Models(a=[Said(ENDLESS, every=0.1)], b=[Said(ENDLESS, every=0.1)])
    seen = went(chained(models, intent=FALLS_BACK))
    assert (type(seen.error), seen.took, models.asked) == (hangtight.TotalTimeout, 120, ["a", "b"])
    seen = went(chained(Models(a=[Said(LOOP, every=0.1)], b=[]), holds=False, intent=FALLS_BACK))
    assert (seen.outcome, seen.text) == ("finished", UNIT * 100), "its words were seen: nobody can take over"


def test_what_was_handed_on_already_is_cut_and_not_begun_anew() -> None:
    models = Models(a=[Said(ENDLESS, every=0.1)], b=[Said(ANSWER, every=1)])
    loops(went(chained(models, holds=False)))
    assert models.asked == ["a"]


# -- on and off -----------------------------------------------------------------------------------------------


def test_limits_around_the_code_turn_it_off_and_the_call_on_again() -> None:
    with hangtight.limits(intent=False):
        assert watched(Said(LOOP, every=0.1)).outcome == "finished"
        loops(watched(Said(LOOP, every=0.1), intent=True))
    assert watched(Said(LOOP, every=0.1), intent=False).outcome == "finished"


def test_without_a_mode_it_is_off_and_on_where_that_is_asked() -> None:
    assert watched(Said(LOOP, every=0.1), mode=None).outcome == "finished"
    loops(watched(Said(LOOP, every=0.1), mode=None, intent=True))
    extended = watched(Said(CODE, every=0.5), mode=None, total=100, extend_to=150)
    assert (extended.took, type(extended.error)) == (150, hangtight.TotalTimeout)


@pytest.mark.parametrize("settings", [{"intent": False}, {"intent": {"ladder": ["notify"]}}])
def test_our_client_is_told_once_for_all_its_calls(settings: dict[str, Any]) -> None:
    async def main() -> str:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api, mode="deep", **settings)
        await warm(asked)
        api.scripts = {LIGHT: list(joined.from_iterable(zip(LOOP, repeat(0.1))))}
        return await text_of(asked, LIGHT)

    assert played(main) == UNIT * 100


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("intent: false", False),
        ("intent: {ladder: [notify]}", False),
        ("modes: {deep: {intent: false}}", False),
        ("models: {m: {intent: false}}", False),
        ("models: {another: {intent: false}}", True),
        ("intent: false\nmodels: {m: {intent: true}}", True),
        ("limits: {total: 120}", True),
    ],
)
def test_a_file_turns_it_off_for_all_for_a_mode_or_for_a_model(
    text: str, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml=text):
        seen = watched(Said(LOOP, every=0.1))
    assert seen.outcome == ("looping" if ends else "finished")


# -- moves ----------------------------------------------------------------------------------------------------


def test_what_recovers_from_suspicion_is_extended_again() -> None:
    seen = watched(Said(DRIFT[:240], every=0.25), Said(CODE[:400], every=0.25))
    assert (seen.outcome, seen.took) == ("finished", 160)
    assert seen.moves[0] == "deadline 120 s -> 132 s: coding"


def test_half_of_what_remains_is_given_back_when_it_recovers() -> None:
    seen = watched(Said(DRIFT[:240], every=0.25), Said(CODE[:400], every=0.25), intent={"shorten": True})
    assert (seen.outcome, seen.took) == ("finished", 160)
    assert seen.moves[0].startswith("deadline 120 s -> ")
    assert " -> 132 s: coding" in " ".join(seen.moves)


def test_each_move_is_told_once_and_no_heartbeat_comes_early() -> None:
    seen = watched(Said(CODE[:400], every=0.5), heartbeat=7)
    ends = [beat.moved for beat in seen.told if beat.moved is not None]
    assert ends[0].before == Seconds(120)
    assert [move.before for move in ends[1:]] == [move.after for move in ends[:-1]]
    assert ends[-1].after == seen.told[-1].now.total == 204
    at = [beat.elapsed for beat in seen.told]
    assert at == pytest.approx([7 * count for count in range(1, len(at) + 1)], abs=0.01)


def test_without_heartbeats_it_is_moved_all_the_same() -> None:
    seen = watched(Said(CODE[:400], every=0.5), heartbeat=0)
    assert (seen.outcome, seen.took, seen.told) == ("finished", 200, [])


@pytest.mark.parametrize(("owner", "ends"), [("tool", 240), ("person", 340)])
def test_while_a_person_is_waited_for_its_steps_wait_too(owner: str, ends: float) -> None:
    async def main() -> tuple[float, Any]:
        watching = hangtight.watch(ScriptedModel(Said(CODE, every=0.5)), model="m", mode="deep", cold=None)
        with pytest.raises(hangtight.TotalTimeout) as late:
            async for _ in watching:
                if watching.tokens == 60:
                    with watching.paused(owner):
                        await asyncio.sleep(100)
        return watching.elapsed, late.value

    took, late = jumping(main())
    assert took == ends
    assert "+ 120s because it was getting on" in str(late)


def test_what_is_kept_for_another_step_is_not_given_away() -> None:
    async def main() -> list[float]:
        took = []
        with hangtight.budget(200, steps={"plan": 1, "do": {"minimum": 60}}) as task:
            for step in ("plan", "do"):
                with task.step(step):
                    watching = hangtight.watch(ScriptedModel(Said(CODE, every=0.5)), model="m", mode="deep", cold=None)
                    with pytest.raises(hangtight.TotalTimeout):
                        async for _ in watching:
                            pass
                    took.append(watching.elapsed)
        return took

    assert jumping(main()) == [120, 80]


# -- ends -----------------------------------------------------------------------------------------------------


def test_a_loop_at_the_very_end_of_a_finished_answer_is_no_error() -> None:
    for count in range(120, 200):
        seen = watched(Said(ENDLESS[:count], every=0.1))
        assert seen.outcome in ("finished", "looping")
        if seen.outcome == "finished":
            assert seen.text == "".join(ENDLESS[:count])
    assert watched(Said(CODE[:50], every=0.1), Said([UNIT * 100], every=1)).outcome == "finished"
    assert watched(Said([UNIT * 100], every=1)).outcome == "finished"


def test_a_stream_that_breaks_off_in_a_loop_is_not_called_finished() -> None:
    assert watched(Said(ENDLESS[:100], every=0.1), NoReason()).outcome != "finished"
    assert isinstance(watched(Said(ENDLESS[:100], every=0.1), Hang()).error, hangtight.IdleTimeout)


@pytest.mark.parametrize("unit", ["同じことを何度も繰り返しています。", "🙂👩‍👩‍👧 the same e\u0301!", "ab\r\n"])
def test_what_is_worth_keeping_is_whole_in_every_script(unit: str) -> None:
    began = "はじめに、木の話。🌳 "
    seen = watched(Said([began], every=1), Said(list(unit * 2000), every=0.01))
    loop = loops(seen)
    assert (loop.period, loop.start) == (len(unit), len(began))
    assert seen.error.useful == began + unit
    assert seen.text == seen.error.partial
    assert seen.text.startswith(seen.error.useful + unit)


def test_one_huge_piece_is_read_as_many_small_ones_are() -> None:
    began = "".join(CODE[:60])
    seen = watched(Said([began + UNIT * 300 + "".join(CODE[100:200])], every=1), Said(CODE[200:300], every=0.1))
    assert seen.outcome == "finished", "the loop is over: something else was said"
    seen = watched(Said([began + UNIT * 300], every=1), Said(ENDLESS, every=0.1))
    assert loops(seen).period == len(UNIT)
    assert seen.error.useful.startswith(began)
    assert len(seen.error.useful) <= len(began) + len(UNIT)
    assert seen.error.partial == seen.text


@pytest.mark.parametrize("size", [1, 4, 30, 100, 500, 3000])
@pytest.mark.parametrize("unit", [UNIT, "".join(CODE[:100])])
def test_a_loop_is_seen_in_time_however_large_the_pieces_are(unit: str, size: int) -> None:
    text = "".join(CODE[200:900]) + unit * 600
    seen = watched(Said([text[at : at + size] for at in range(0, 40_000, size)], every=0.001))
    loop = loops(seen)
    evidence, late = max(600, 3 * loop.period), max(600, loop.period)
    assert len(seen.text) - loop.start <= evidence + late + size


def test_its_error_travels_whole() -> None:
    error = watched(Said(CODE[:40], every=0.1), Said(ENDLESS, every=0.1)).error
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is hangtight.Looping
    assert (str(again), again.__dict__) == (str(error), error.__dict__)
    assert (again.useful, again.loop, again.may_fall_back) == (error.useful, error.loop, True)


# -- much text ------------------------------------------------------------------------------------------------


class Much:
    """A long answer in large pieces, of which nobody keeps a copy."""

    keeps = False

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[str]:
        for at in range(self.pieces):
            yield "".join(CODE[at % 64 * 24 : at % 64 * 24 + 24]) + str(at)


def test_of_text_that_nobody_keeps_nothing_stays() -> None:
    watching = hangtight.watch(Much(2000), model="m", mode="deep")

    async def main() -> int:
        async for _ in watching:
            if watching.tokens == 200:
                tracemalloc.start()
        return tracemalloc.get_traced_memory()[1]

    try:
        most = jumping(main())
    finally:
        tracemalloc.stop()
    assert (watching.partial, watching.tokens) == ("", 2000)
    assert most < 300_000


def test_ten_megabytes_are_read_once_and_what_is_handed_on_is_the_whole() -> None:
    piece = "".join(CODE)
    whole = [f"{at} {piece}" for at in range(10_000_000 // len(piece) + 1)]
    seen = watched(Said(whole, every=0.25))
    assert seen.outcome == "finished"
    assert seen.text == "".join(whole)


# -- watches over clients of ours -----------------------------------------------------------------------------


def slowly(pieces: list[str], every: float) -> list[Step]:
    return list(joined.from_iterable(zip(pieces, repeat(every))))


def test_a_watch_over_a_stream_of_our_client_has_the_say() -> None:
    async def main() -> list[tuple[str, str]]:
        api = ScriptedApi({LIGHT: TALKS})
        outcomes = []
        plain, deep = client(api), client(api, mode="deep")
        for asked, settings in ((plain, {"mode": "deep"}), (deep, {"intent": False}), (deep, {}), (plain, {})):
            api.scripts = {LIGHT: TALKS}
            await warm(asked)
            api.scripts = {LIGHT: slowly(LOOP, 0.1)}
            stream = await asked.chat.completions.create(
                model=LIGHT, messages=[{"role": "user", "content": "?"}], stream=True
            )
            watching = hangtight.watch(stream, **settings)
            useful = ""
            try:
                async for _ in watching:
                    pass
            except hangtight.Looping as error:
                useful = error.useful
            outcomes.append((str(watching.outcome), useful))
        return outcomes

    looping, finished = ("looping", UNIT), ("finished", "")
    assert played(main) == [looping, finished, looping, finished]


def test_a_watch_put_around_a_stream_in_the_middle_reads_on_from_there() -> None:
    async def main() -> tuple[float, hangtight.GenerationTimeout]:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api)
        await warm(asked)
        api.scripts = {LIGHT: [*slowly(CODE[:40], 0.1), *slowly(ENDLESS, 0.1)]}
        stream = await asked.chat.completions.create(
            model=LIGHT, messages=[{"role": "user", "content": "?"}], stream=True
        )
        for _ in range(20):
            await anext(stream)

        async def rest() -> None:
            async for _ in hangtight.watch(stream, mode="deep"):
                pass

        return await timed(rest())

    took, error = played(main)
    assert took < 60
    assert isinstance(error, hangtight.Looping)
    assert error.useful == "".join(CODE[:40]) + UNIT


class Agent:
    """Asks a model several times through a client of ours, tells what came, then says something itself."""

    def __init__(self, asked: Any, texts: list[list[Step]], api: ScriptedApi, own: list[str], thinks: float) -> None:
        self.asked, self.texts, self.api, self.own, self.thinks = asked, texts, api, own, thinks

    async def __aiter__(self) -> AsyncIterator[str]:
        for script in self.texts:
            self.api.scripts = {LIGHT: script}
            await asyncio.sleep(self.thinks)
            text = await text_of(self.asked, LIGHT)
            yield f"asked {len(text)}. " if SAME in text else text
        for piece in self.own:
            await asyncio.sleep(0.1)
            yield piece


def worked(*texts: list[Step], own: list[str], thinks: float = 1) -> tuple[str, float]:
    async def main() -> tuple[str, float]:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api, mode="deep")
        await warm(asked)
        watching = hangtight.watch(Agent(asked, list(texts), api, own, thinks), mode="deep", model="agent", cold=None)
        try:
            async for _ in watching:
                pass
        except hangtight.HangtightError as error:
            return type(error).__name__, round(watching.elapsed, 1)
        return str(watching.outcome), round(watching.elapsed, 1)

    return played(main)


SAME = "It is done: the photographs are in their folders, sorted by day, and nothing else in that folder was touched. "


def test_models_that_give_the_same_answer_one_after_the_other_are_no_loop() -> None:
    answers = [slowly([SAME * 2], 1.0)] * 6
    assert worked(*answers, own=CODE[:80]) == ("finished", 20)
    slow = [slowly([SAME * 2], 14.0)] * 10
    assert worked(*slow, own=CODE[:80])[0] != "Looping", "not even where `total` rings between two of them"


def test_a_source_that_goes_on_after_a_long_answer_of_a_client_has_its_time_too() -> None:
    assert worked(slowly(CODE[:400], 0.4), slowly(CODE[400:430], 0.4), own=CODE[430:440]) == ("finished", 175)


def test_a_loop_in_what_the_source_says_itself_ends_it_after_answers_of_others() -> None:
    kind, took = worked(slowly(CODE[:40], 0.1), own=ENDLESS)
    assert kind == "Looping"
    assert took < 60


# -- the journal ----------------------------------------------------------------------------------------------

MARK = "Zymurgie"


def kept(folder: Path, *steps: Any, **settings: Any) -> list[tuple[str, Any]]:
    """What the journal has of one generation; nothing in its files is a word of the text."""
    watched(*steps, **settings)
    reading = read()
    (row,) = [row for row in reading.calls() if row.outcome]
    told = reading.find(row.id)
    assert told is not None
    files = [path for path in folder.iterdir() if path.name.startswith("journal.db")]
    assert files
    assert not any(MARK.encode() in path.read_bytes() for path in files)
    return [(decision.kind, decision.told) for decision in told.decisions if decision.kind != "heartbeat"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with project(tmp_path, monkeypatch):
        yield tmp_path


MARKED = [f"{MARK} ", *SENTENCE, f"{MARK}. "]


def test_the_journal_has_each_extension_with_its_reason(folder: Path) -> None:
    told = kept(folder, Said([f"# {MARK}\n", *CODE[:270]], every=0.5))
    assert told == [
        ("extended", {"before": 120, "after": 132, "why": "coding"}),
        ("extended", {"before": 132, "after": 144, "why": "coding"}),
    ]


def test_the_journal_has_suspicion_and_what_was_taken_for_it(folder: Path) -> None:
    told = kept(folder, Said([f"# {MARK}\n", *DRIFT[:300]], every=0.25), intent={"shorten": True})
    kinds = [kind for kind, _ in told]
    assert kinds[:2] == ["may be stuck", "shortened"]
    assert told[1][1]["before"] == 120


def test_the_journal_has_the_loop_and_no_word_of_it(folder: Path) -> None:
    told = kept(folder, Said(MARKED * 300, every=0.05))
    assert [kind for kind, _ in told] == ["looping", "cancel sent", "cancel confirmed"]
    assert "characters" in told[0][1]
    assert "times in a row" in told[0][1]


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"intent": {"ladder": ["notify"]}}, ["may be stuck"]),
        ({"on_loop": lambda _: True}, ["let go on"]),
        ({"intent": False}, []),
    ],
)
def test_the_journal_is_told_once_of_a_loop_that_goes_on(
    folder: Path, settings: dict[str, Any], kinds: list[str]
) -> None:
    told = kept(folder, Said(MARKED * 100, every=0.05), **settings)
    assert [kind for kind, _ in told] == kinds
