"""The analyser as a whole: channels, steps, advice, and what is worth keeping."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtight.intent.analyser import LONG_SILENT, Analyser
from hangtight.intent.findings import Act, Channel, Doing, Finding, Rule
from hangtight.testing.lab.healthy import said_of_code, said_of_table
from hangtight.testing.lab.script import Answer
from hangtight.testing.lab.words import said

SENTENCE = "I will now open the file again. "
CODE = "".join(map(said_of_code, range(2_000)))
TABLE = "".join(map(said_of_table, range(2_000)))
DRIFT = "".join(said(Answer(text="drift"), index) for index in range(2_000))
TEXTS = st.sampled_from(
    [
        CODE[:3_000] + SENTENCE * 60 + CODE[3_000:5_000],
        TABLE[:4_000],
        DRIFT[:2_500] + CODE[:2_500],
        " \n" * 400 + CODE[:1_000],
        "数据库连接池已经满了。" * 80 + CODE[:900] + "🙂🙃" * 900,
        "```python\n" + CODE[:700] + "```\nIn summary, it works. " + "0, " * 900,
    ]
)
CHANNELS = [Channel.ANSWER, Channel.REASONING, Channel.TOOL]


def found(text: str, channel: Channel = Channel.ANSWER, *, step: int = 50, prompt: str = "") -> list[Finding]:
    analyser = Analyser(lambda: prompt)
    for at in range(0, len(text), step):
        analyser.feed(text[at : at + step], channel)
    analyser.close()
    return analyser.findings


def cuts(text: str, **more: str) -> list[Finding]:
    return [each for each in found(text, **more) if each.act is Act.CUT]  # type: ignore[arg-type]


@given(text=TEXTS, channel=st.sampled_from(CHANNELS), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_same_text_gives_the_same_findings_however_it_was_cut(text: str, channel: Channel, seed: int) -> None:
    lots, analyser, at = random.Random(seed), Analyser(), 0
    while at < len(text):
        piece = text[at : at + lots.choice((1, 3, 4, 50, 127, 128, 129, 700))]
        analyser.feed(piece, channel, 0.0)
        at += len(piece)
    analyser.close()
    assert analyser.findings == found(text, channel, step=len(text))


@pytest.mark.parametrize(
    ("text", "channel", "doing"),
    [
        ("def add(a, b):\n    return a + b\n", Channel.ANSWER, Doing.CODING),
        ("The reason is that water boils at a lower temperature.", Channel.ANSWER, Doing.EXPLAINING),
        ("Let me look at the file first, maybe it is there.", Channel.REASONING, Doing.EXPLORING),
        ('{"path": "a.py", "text": "import os"}', Channel.TOOL, Doing.CODING),
    ],
)
def test_a_few_words_are_enough_to_say_that_it_is_getting_on(text: str, channel: Channel, doing: Doing) -> None:
    analyser = Analyser()
    analyser.feed(text, channel)
    assert (analyser.advice().act, analyser.advice().doing) == (Act.EXTEND, doing)
    assert analyser.findings == []


@pytest.mark.parametrize("text", ["", "tok tok tok tok tok tok ", "....", "1 2", "a"])
def test_what_says_nothing_is_given_nothing(text: str) -> None:
    analyser = Analyser()
    analyser.feed(text)
    assert analyser.advice().act is Act.KEEP


def test_a_loop_says_its_unit_where_it_begins_how_often_and_by_which_rule() -> None:
    (loop,) = cuts(CODE[:1_000] + SENTENCE * 40)
    assert (loop.rule, loop.kind, loop.doing) == (Rule.EXACT, "loop", Doing.STUCK)
    assert (loop.period, loop.start) == (len(SENTENCE), 1_000)
    assert sorted(loop.unit) == sorted(SENTENCE)
    assert loop.copies == (loop.offset - 1_000) // len(SENTENCE)
    assert str(loop) == f"the same 32 characters, {loop.copies} times in a row"


def test_what_is_worth_keeping_is_all_but_the_copies() -> None:
    analyser = Analyser()
    analyser.feed(CODE[:1_000] + SENTENCE * 40)
    assert (CODE[:1_000] + SENTENCE * 40)[: analyser.useful_length()] == CODE[:1_000] + SENTENCE
    assert analyser.useful_length(Channel.REASONING) == 0
    healthy = Analyser()
    healthy.feed(CODE[:1_001])
    assert healthy.useful_length() == 1_001


def test_a_loop_that_ends_was_one_and_the_text_goes_on() -> None:
    analyser = Analyser()
    analyser.feed(SENTENCE * 40)
    assert analyser.advice().act is Act.CUT
    analyser.feed(CODE[:2_000])
    assert analyser.advice().act is Act.EXTEND
    assert analyser.useful_length() == len(SENTENCE * 40) + 2_000


def test_suspicion_comes_and_goes_and_both_are_told() -> None:
    findings = found(DRIFT[:2_048] + CODE[:4_096])
    assert [each.act for each in findings].count(Act.CUT) == 0
    held = next(each for each in findings if each.act is Act.HOLD)
    assert (held.rule, held.kind, held.start) == (Rule.COUNTER, "drift", 0)
    assert findings[-1].act is Act.EXTEND
    assert findings[-1].offset > held.offset


def test_a_loop_below_the_evidence_gives_no_more_time() -> None:
    analyser = Analyser()
    analyser.feed(CODE[:1_024] + CODE[5_000:5_700] * 2 + CODE[5_000:5_300])
    assert (analyser.advice().act, analyser.advice().period) == (Act.HOLD, 700)
    assert not [each for each in analyser.findings if each.act is Act.CUT]


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_channels_are_kept_apart(channel: Channel) -> None:
    analyser = Analyser()
    for at in range(40):
        analyser.feed(SENTENCE, channel)
        for other in CHANNELS:
            if other is not channel:
                analyser.feed(CODE[at * 40 : at * 40 + 40], other)
    found = [each for each in analyser.findings if each.act is Act.CUT]
    assert [(each.channel, each.start, each.period) for each in found] == [(channel, 0, len(SENTENCE))]


def test_the_advice_is_about_the_channel_that_speaks() -> None:
    analyser = Analyser()
    analyser.feed(SENTENCE * 40, Channel.REASONING)
    assert analyser.advice().act is Act.CUT
    analyser.feed("def add(a, b):\n    return a + b\n", Channel.ANSWER)
    assert analyser.advice().act is Act.EXTEND


def test_a_sentence_before_each_of_many_calls_is_no_loop() -> None:
    analyser = Analyser()
    for number in range(40):
        analyser.feed("Now I will update the next file, as the plan says: ", Channel.ANSWER)
        analyser.feed(f'{{"path": "src/module_{number}.py", "text": {number * number}}}', Channel.TOOL)
    analyser.feed("Now I will update ", Channel.ANSWER)
    assert [each.channel for each in analyser.findings if each.act is Act.CUT] == [Channel.ANSWER]
    assert analyser.advice().act is Act.HOLD


def test_a_few_words_in_between_do_not_hide_a_loop() -> None:
    analyser = Analyser()
    for _ in range(40):
        analyser.feed("hm ", Channel.REASONING)
        analyser.feed(SENTENCE, Channel.ANSWER)
    assert analyser.advice().act is Act.CUT


def test_what_was_said_before_a_loop_began_is_not_in_between() -> None:
    analyser = Analyser()
    analyser.feed(CODE[:3_000], Channel.REASONING)
    analyser.feed(SENTENCE * 40, Channel.ANSWER)
    assert analyser.advice().act is Act.CUT


def test_a_channel_may_be_a_plain_word_and_must_be_one_that_has_text() -> None:
    analyser = Analyser()
    analyser.feed("def add(a, b):\n    return a + b\n", "tool")  # type: ignore[arg-type]
    assert analyser.advice().channel is Channel.TOOL
    for wrong in ("banana", Channel.CALLS):
        with pytest.raises(ValueError, match=r"calls have no text|banana"):
            analyser.feed("x", wrong)  # type: ignore[arg-type]


def test_one_word_again_and_again_between_blanks_of_all_kinds_is_suspicious() -> None:
    lots = random.Random(1)
    for word in ("court", "called", "start", "check", "execute", "prevent"):
        text = "".join(word + lots.choice((" ", "\n", ", ")) for _ in range(900))
        assert [each.rule for each in found(text) if each.act is Act.HOLD][-1:] == [Rule.NOVELTY]


def test_a_channel_that_was_silent_for_long_begins_anew_at_its_old_offset() -> None:
    analyser = Analyser()
    analyser.feed(SENTENCE * 12, Channel.REASONING)
    analyser.feed(CODE[:LONG_SILENT], Channel.ANSWER)
    analyser.feed(SENTENCE * 12, Channel.REASONING)
    assert not [each for each in analyser.findings if each.act is Act.CUT]
    analyser.feed(SENTENCE * 12, Channel.REASONING)
    (loop,) = [each for each in analyser.findings if each.act is Act.CUT]
    assert (loop.start, loop.period) == (len(SENTENCE) * 12, len(SENTENCE))
    assert analyser.useful_length(Channel.REASONING) == len(SENTENCE) * 13


def test_a_prompt_that_asks_for_repetition_raises_the_thresholds() -> None:
    usual, asked = cuts(SENTENCE * 400), cuts(SENTENCE * 400, prompt="Repeat this sentence 400 times: ...")
    assert usual[0].offset == 512
    assert usual[0].offset < asked[0].offset <= 4 * 512
    assert not cuts(SENTENCE * 50, prompt="Write it 50 times.")


def test_the_prompt_is_only_read_when_something_was_found() -> None:
    def asked() -> str:
        raise AssertionError("nobody needs it")

    analyser = Analyser(asked)
    analyser.feed(CODE[:20_000])
    assert analyser.advice().act is Act.EXTEND


@pytest.mark.parametrize("text", [CODE, TABLE, "".join(said(Answer(), index) for index in range(2_000))])
def test_healthy_answers_are_neither_cut_nor_held(text: str) -> None:
    assert {each.act for each in found(text)} == {Act.EXTEND}


def test_the_same_call_with_the_same_result_is_a_loop_of_calls() -> None:
    analyser = Analyser()
    for _ in range(6):
        analyser.tool("read_file", '{"path": "a.py"}', "no such file", now=3.0)
    assert [(each.act, each.rule, each.at) for each in analyser.drain()] == [
        (Act.HOLD, Rule.TOOLS, 3.0),
        (Act.CUT, Rule.TOOLS, 3.0),
    ]
    assert str(analyser.advice()) == "the same call with the same result, 6 times in a row"
    analyser.tool("write_file", {"path": "a.py"}, "ok")
    assert analyser.advice().act is Act.KEEP


@pytest.mark.parametrize("text", [CODE[:60_000], TABLE[:60_000], SENTENCE * 900])
def test_a_stream_of_latin_text_is_remembered_in_16_kilobytes(text: str) -> None:
    found(text[:2_000])
    tracemalloc.start()
    try:
        analyser = Analyser()
        for at in range(0, len(text), 200):  # a driver brings what has come since its last look
            analyser.feed(text[at : at + 200])
        analyser.drain()
        assert tracemalloc.get_traced_memory()[0] <= 16_384
    finally:
        tracemalloc.stop()


def test_findings_are_drained_once_and_know_their_instant() -> None:
    analyser = Analyser()
    analyser.feed(SENTENCE * 40, Channel.ANSWER, 12.5)
    assert {each.at for each in analyser.drain()} == {12.5}
    assert analyser.drain() == []
