"""S1, intent: the token stream moves the deadline. Productive work goes on, a loop ends early, suspicion ends nothing.

On virtual time, through `watch` and the real openai client; `ask` and the sync client against the lab, scaled.
"""

from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.core.heartbeat import Heartbeat
from hangtight.intent.analyser import Analyser
from hangtight.intent.findings import Act, Channel, Rule
from hangtight.testing import Said, ScriptedModel, jumping
from hangtight.testing.lab import Lab
from hangtight.testing.lab.healthy import said_of_code
from hangtight.testing.lab.script import Answer
from hangtight.testing.lab.words import said
from tests.acceptance.test_s1 import LIGHT, TALKS, client, played, text_of, timed, warm
from tests.cli.kit import command
from tests.scripted_api import ScriptedApi

ELEVEN = ["def", " add", "(a", ",", " b", "):", "\n   ", " return", " a", " +", " b"]
CODE = [said_of_code(index) for index in range(3000)]
SENTENCE = ["I ", "will ", "now ", "open ", "the ", "file ", "again ", ". "]
DRIFT = [said(Answer(text="drift"), index) for index in range(4000)]


def read(*steps: Any, **settings: Any) -> tuple[float, Any, list[Heartbeat]]:
    """How long it took, what came of it (text or error), and the heartbeats."""
    told: list[Heartbeat] = []
    given = {"cold": None, "heartbeat": 6, **settings}

    async def main() -> tuple[float, Any]:
        watching = hangtight.watch(ScriptedModel(*steps), model="m", on_heartbeat=told.append, **given)
        try:
            async for _ in watching:
                pass
        except hangtight.HangtightError as error:
            return watching.elapsed, error
        return watching.elapsed, watching.partial

    took, came = jumping(main())
    return took, came, told


def test_eleven_tokens_of_code_say_extend_and_never_terminate() -> None:
    """Their words: `11 tokens of code: terminate False, extend True`."""
    analyser = Analyser()
    for token in ELEVEN:
        analyser.feed(token, Channel.ANSWER, 0.0)
        assert analyser.advice().act is not Act.CUT
    assert analyser.advice().act is Act.EXTEND
    assert str(analyser.advice()) == "coding"


def test_deep_with_productive_code_to_200_s_succeeds() -> None:
    took, text, told = read(Said(CODE[:400], every=0.5), mode="deep")
    assert took == 200
    assert text == "".join(CODE[:400])
    moved = [str(beat) for beat in told if beat.moved is not None]
    assert moved[0].endswith("deadline 120 s -> 132 s: coding")
    assert all("coding" in line for line in moved)


def test_eleven_tokens_in_120_s_are_extended_too() -> None:
    took, text, _ = read(Said(ELEVEN, every=12), mode="deep")
    assert took == 132
    assert text == "".join(ELEVEN)


def test_productive_work_is_extended_to_twice_the_total_and_no_further() -> None:
    took, late, _ = read(Said(CODE, every=0.5), mode="deep")
    assert took == 240
    assert isinstance(late, hangtight.TotalTimeout)
    assert "total = 120 comes from mode deep, + 120s because it was getting on (extend_to)" in str(late)


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"mode": "deep", "intent": False}, 120),
        ({"mode": "deep", "total": 100}, 100),
        ({"mode": "deep", "total": 100, "extend_to": 105}, 105),
        ({"mode": "deep", "extend_to": 130}, 130),
        ({}, 600),
        ({"intent": True}, 600),
    ],
)
def test_who_asked_for_a_total_never_waits_longer(settings: dict[str, Any], ends: float) -> None:
    took, late, _ = read(Said(CODE, every=0.5), **settings)
    assert took == ends
    assert isinstance(late, hangtight.TotalTimeout)


def test_a_budget_is_never_passed() -> None:
    async def main() -> float:
        with hangtight.budget(150):
            watching = hangtight.watch(ScriptedModel(Said(CODE, every=0.5)), model="m", mode="deep", cold=None)
            with pytest.raises(hangtight.TotalTimeout):
                async for _ in watching:
                    pass
            return watching.elapsed

    assert jumping(main()) == 150


def test_a_stuck_stream_ends_earlier_than_its_total() -> None:
    began = CODE[:80]
    took, error, _ = read(Said(began, every=0.25), Said(SENTENCE * 1000, every=0.25), mode="deep")
    assert took < 120
    assert isinstance(error, hangtight.Looping)
    assert isinstance(error, hangtight.GenerationTimeout)
    assert "stuck" in str(error)
    assert error.useful.startswith("".join(began))
    assert error.partial.startswith(error.useful)
    assert error.useful.count("again") == 1
    assert error.loop is not None
    assert (error.loop.rule, error.loop.period) == (Rule.EXACT, len("".join(SENTENCE)))
    assert "intent=False" in str(error)


def test_a_loop_in_the_reasoning_ends_it_too_and_the_answer_is_kept_whole() -> None:
    took, error, _ = read(Said(SENTENCE * 1000, every=0.25, channel="reasoning"), mode="deep")
    assert took < 120
    assert isinstance(error, hangtight.Looping)
    assert (error.partial, error.useful) == ("", "")
    assert error.loop is not None
    assert error.loop.channel is Channel.REASONING


def test_a_loop_in_the_arguments_of_a_tool_ends_it_too() -> None:
    took, error, _ = read(Said(SENTENCE * 1000, every=0.25, channel="tool"), mode="deep")
    assert took < 120
    assert isinstance(error, hangtight.Looping)


def test_suspicion_ends_nothing_but_gives_no_more_time() -> None:
    took, late, _ = read(Said(DRIFT, every=0.25), mode="deep")
    assert took == 120
    assert isinstance(late, hangtight.TotalTimeout)
    whole, text, _ = read(Said(DRIFT[:400], every=0.25), mode="deep")
    assert (whole, text) == (100, "".join(DRIFT[:400]))


def test_an_extension_is_taken_back_from_what_gets_stuck() -> None:
    took, late, told = read(Said(CODE[:320], every=0.5), Said(DRIFT, every=0.25), mode="deep")
    assert 160 < took < 240
    assert isinstance(late, hangtight.TotalTimeout)
    assert told


def test_what_remains_is_halved_where_that_is_asked() -> None:
    took, late, _ = read(Said(DRIFT, every=0.25), mode="deep", intent={"shorten": True})
    assert 60 < took < 120
    assert "less because it seemed to be stuck (intent.shorten)" in str(late)


def test_it_holds_beneath_the_real_client() -> None:
    async def main() -> tuple[str, float, hangtight.GenerationTimeout]:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api, mode="deep")
        await warm(asked)
        api.scripts = {LIGHT: list(chain.from_iterable(zip(CODE[:400], repeat(0.5))))}
        text = await text_of(asked, LIGHT)
        api.scripts = {LIGHT: list(chain.from_iterable(zip(SENTENCE * 1000, repeat(0.25))))}
        return text, *await timed(text_of(asked, LIGHT))

    text, took, error = played(main)
    assert text == "".join(CODE[:400])
    assert took < 120
    assert isinstance(error, hangtight.Looping)
    assert error.useful == "".join(SENTENCE)


SCALED = "modes:\n  deep: {total: 2}\n"
"""Deep, sixty times as fast. Its silences are not scaled: a busy machine has such ones."""


@pytest.mark.real
def test_ask_gives_productive_work_more_time_than_its_mode_and_ends_a_loop_early(tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text(SCALED)
    with Lab() as lab:
        words = ("ask", "Why?", "--mode", "deep", "--idle", "10", "--url", lab.url, "--model")
        works = command(tmp_path, *words, "healthy-code,tokens=600,rate=200")
        assert (works.returncode, works.stderr) == (0, "")
        assert works.stdout.rstrip("\n") == "".join(CODE[:600]).rstrip("\n")
        stuck = command(tmp_path, *words, "loop,rate=200")
        assert stuck.returncode == 124
        assert stuck.stderr.startswith("Looping: loop,rate=200 stuck - repeats itself: the same 33 characters, ")
        assert "hangtight ask --no-intent" in stuck.stderr
        assert lab.settled("loop,rate=200").tokens < 2 * 200
