"""What the models say."""

from __future__ import annotations

import ast
import json
import re
from itertools import islice, pairwise

import pytest

from hangtight.testing.lab import text_of
from hangtight.testing.lab.script import Answer, Saying
from hangtight.testing.lab.words import DRIFT, LOOP, Token, arguments, called_with, of_choice, ranked, tokens


def _first(answer: Answer, number: int) -> list[str]:
    return [token.text for token in islice(tokens(answer, None), number)]


def test_the_same_answer_has_the_same_tokens_every_time() -> None:
    assert _first(Answer(), 20) == _first(Answer(), 20)


def test_a_healthy_answer_does_not_repeat_itself() -> None:
    said = _first(Answer(tokens=400), 400)
    pieces = {tuple(said[at : at + 8]) for at in range(392)}
    assert len(pieces) == 392


def test_a_loop_repeats_exactly() -> None:
    said = _first(Answer(text="loop", endless=True), 5 * len(LOOP))
    assert said == said[: len(LOOP)] * 5


def test_a_drifting_loop_changes_only_its_numbers() -> None:
    size = len(DRIFT)
    said = _first(Answer(text="drift", endless=True), 2 * size)
    one, two = said[:size], said[size:]
    assert one != two
    assert [a for a, b in zip(one, two, strict=True) if a == b] == [t + " " for t in DRIFT if "{" not in t]


@pytest.mark.parametrize(("text", "unit"), [("table", "\n"), ("code", "\n\n\n")])
def test_a_healthy_answer_without_end_never_says_the_same_part_twice(text: Saying, unit: str) -> None:
    said = _first(Answer(text=text, endless=True), 30_000)
    assert all(said)
    assert said == _first(Answer(text=text, endless=True), 30_000)
    parts = "".join(said).split(unit)[:-1]
    assert len("".join(parts)) > 100_000
    assert len({re.sub("[0-9]", "", part) for part in parts}) == len(parts)


def test_a_healthy_table_is_one_and_its_numbers_count_nothing() -> None:
    rows = "".join(_first(Answer(text="table", endless=True), 1400)).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {len(row) for row in cells} == {5}
    assert set("".join(cells[1])) == {":", "-"}
    for column in (2, 3):
        numbers = [float(row[column].removesuffix("m")) for row in cells[2:]]
        steps = [round(after - before, 2) for before, after in pairwise(numbers)]
        assert len(set(steps)) > len(steps) // 2


def test_healthy_code_is_python_whose_functions_have_names_of_their_own() -> None:
    text = "".join(_first(Answer(text="code", endless=True), 28 * 200))
    assert text.startswith("```python\n")
    functions = [each for each in ast.parse(text.removeprefix("```python\n")).body if isinstance(each, ast.FunctionDef)]
    assert len({function.name for function in functions}) == len(functions) == 199


def test_endless_answers_have_no_last_token() -> None:
    assert not any(token.last for token in islice(tokens(Answer(endless=True), 5), 1000))


def test_reasoning_comes_first_and_the_last_token_says_so() -> None:
    said = list(tokens(Answer(tokens=2, reasoning=2), None))
    assert [(token.kind, token.first, token.last) for token in said] == [
        ("reasoning", True, False),
        ("reasoning", False, False),
        ("answer", True, False),
        ("answer", False, True),
    ]


def test_a_limit_cuts_an_answer_short_but_never_makes_it_longer() -> None:
    assert len(list(tokens(Answer(tokens=9), 4))) == 4
    assert len(list(tokens(Answer(tokens=9), 40))) == 9


@pytest.mark.parametrize("number", [0, 1, 2, 3, 20])
def test_the_pieces_of_a_tool_call_are_whole_json_together(number: int) -> None:
    assert json.loads("".join(arguments(number))) == called_with(number)
    assert len(arguments(number)) == max(1, number)


def test_a_tool_calls_tokens_are_the_pieces_of_its_arguments() -> None:
    assert list(tokens(Answer(tokens=2, tool=True), 1)) == [
        Token('{"text": "', "tool", True, False),
        Token('"}', "tool", False, True),
    ]


def test_another_choice_says_the_same_in_other_words() -> None:
    said, call = Token("river ", "answer", True, False), Token('{"text": "', "tool", True, False)
    assert of_choice(said, 0) == said
    assert of_choice(said, 1).text == "river-2 "
    assert of_choice(call, 1) == call


def test_log_probabilities_fall_and_belong_to_different_words() -> None:
    likely = ranked("river ", 5)
    assert likely == ranked("river ", 5)
    assert likely[0][0] == "river "
    assert len(dict(likely)) == 5
    assert all(0 > one > two for (_, one), (_, two) in pairwise(likely))


def test_the_text_of_a_model_can_be_told_beforehand_unless_it_has_no_end() -> None:
    assert text_of("m,tokens=2") == "".join(_first(Answer(tokens=2), 2))
    code = "".join(_first(Answer(text="code", endless=True), 400))
    assert text_of("healthy-code,tokens=400") == code
    for name in ("runaway", "loop", "tool", "healthy-code"):
        with pytest.raises(ValueError, match=name):
            text_of(name)
