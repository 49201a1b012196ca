"""What a model is at is told from a few tokens, and does not flicker."""

from __future__ import annotations

import pytest

from hangtight.intent.findings import Channel, Doing
from hangtight.intent.phases import Phases, doing

SEGMENT = 512


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    return a + b\n",
        "const add = (a, b) => a + b;\n",
        '{"name": "x", "values": [1, 2, 3]}',
        "SELECT name, age FROM people WHERE age > 30;",
        "<div class='row'>\n  <p>Hello</p>\n</div>",
        "#include <stdio.h>\nint main(void) {\n",
        'fn main() {\n    println!("hello");\n}\n',
        "for (int i = 0; i < n; i++) {\n",
        "import os\nimport sys\n\nprint(sys.argv)\n",
        "```python\nx = load the data\n",
    ],
)
def test_a_few_tokens_of_code_are_coding(text: str) -> None:
    for channel in (Channel.ANSWER, Channel.REASONING):
        assert doing(text, channel)[0] is Doing.CODING


@pytest.mark.parametrize(
    "text",
    [
        "Recursion is when a function calls itself until it reaches a base case.",
        "The sky is blue because short waves are scattered (more than long ones).",
        "Der Himmel ist blau, weil kurzes Licht stärker gestreut wird.",
        "函数是一段可以重复使用的代码，它有名字。",
        "From the list above, pick the one that fits; use it for each of the rows.",
    ],
)
def test_prose_is_explaining_in_an_answer_and_exploring_in_reasoning(text: str) -> None:
    assert doing(text, Channel.ANSWER)[0] is Doing.EXPLAINING
    assert doing(text, Channel.REASONING)[0] is Doing.EXPLORING


@pytest.mark.parametrize(
    "text", ["Let me first look at the file and see what is there.", "Hmm, wait. Maybe it is the other one?"]
)
def test_looking_around_is_exploring_in_an_answer_too(text: str) -> None:
    assert doing(text, Channel.ANSWER)[0] is Doing.EXPLORING


@pytest.mark.parametrize(
    "text",
    [
        "In summary, it works as it should.",
        "Therefore the answer is \\boxed{42}.",
        "Let me know if you have any questions!",
        "Zusammenfassend kann man sagen, dass es geht.",
        "En résumé, tout fonctionne comme prévu.",
        "En resumen, todo funciona bien.",
        "总之，这个函数是正确的，可以使用。",
        "要するに、この関数は正しいです。",
    ],
)
def test_the_end_of_an_answer_is_concluding(text: str) -> None:
    assert doing(text, Channel.ANSWER)[0] is Doing.CONCLUDING


@pytest.mark.parametrize("text", ["", "12 34", "a b c", "- - - - - - - -", "ok", "1" * 600])
def test_too_little_says_nothing(text: str) -> None:
    assert doing(text, Channel.ANSWER) == (None, 0.0)


def test_arguments_of_a_tool_are_coding() -> None:
    assert doing('{"question": "Where is the file?"}', Channel.TOOL)[0] is Doing.CODING


def test_inside_a_fence_all_is_coding_until_it_is_closed() -> None:
    assert doing("some words and nothing else here", Channel.ANSWER, fenced=True)[0] is Doing.CODING
    assert doing("x = 1\n```\nThis adds one to the number.", Channel.ANSWER, fenced=True)[0] is Doing.EXPLAINING
    assert doing("Use ```inline``` quotes for the names.", Channel.ANSWER)[0] is Doing.EXPLAINING


def segments(text: str) -> list[str]:
    return [text[at : at + SEGMENT] for at in range(0, len(text), SEGMENT)]


@pytest.mark.parametrize("shift", range(0, 12))
def test_a_fence_is_seen_wherever_the_segments_are_cut(shift: int) -> None:
    before = "A word about it all. " * 24
    text = before[: SEGMENT - 6 + shift - 1] + "\n```python\n" + "words of a poem in a string\n" * 40
    phases = Phases(Channel.ANSWER)
    for segment in segments(text):
        phases.feed(segment)
    assert phases.fenced
    assert phases.doing is Doing.CODING
    phases.feed("\n``")
    phases.feed("`\n" + "And this is what it does with the words. " * 20)
    assert not phases.fenced
    phases.feed("And this is what it does with the words. " * 20)
    assert phases.doing is Doing.EXPLAINING


def test_one_doubtful_segment_does_not_change_the_phase() -> None:
    prose = "The sky is blue because short waves are scattered more than long ones are. " * 7
    doubtful = prose[:-60] + 'It is "f(x) = y" that is meant: see [1] and (2); or <a>. '
    phases = Phases(Channel.ANSWER)
    phases.feed(prose[:SEGMENT])
    phases.feed(doubtful[:SEGMENT])
    phases.feed(prose[:SEGMENT])
    assert phases.doing is Doing.EXPLAINING


def test_a_clear_change_is_followed() -> None:
    phases = Phases(Channel.REASONING)
    phases.feed("Let me look at what the user asks for here. Maybe a loop would do? " * 8)
    assert [phases.doing] == [Doing.EXPLORING]
    for _ in range(2):  # every other segment is looked at
        phases.feed("def add(a, b):\n    return a + b\n\n\n" * 15)
    assert phases.doing is Doing.CODING


def test_a_glance_changes_nothing() -> None:
    phases = Phases(Channel.ANSWER)
    assert phases.glance("def add(a, b):\n    return a + b\n")[0] is Doing.CODING
    assert phases.doing is None


def test_it_never_says_stuck() -> None:
    phases = Phases(Channel.ANSWER)
    for segment in segments("again and again the same words. " * 200):
        phases.feed(segment)
        assert phases.doing is not Doing.STUCK


def test_no_text_is_too_odd_for_it() -> None:
    for odd in (
        "\ud800" * 600,
        "`" * 600,
        "~~~" * 200,
        "\n" * 600,
        "\0" * 600,
        ">" * 600,
        " " * 600 + "```",
        "{" * 600,
    ):
        for channel in Channel:
            phases = Phases(channel)
            phases.feed(odd)
            phases.glance(odd)
            doing(odd, channel)
