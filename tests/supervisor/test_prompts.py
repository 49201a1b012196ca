"""What a request asks, as text for a program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hangtight.supervisor.prompts import CHAT, COMPLETION, Question, Unreadable, asked_with, question_of, takes_prompt

USER = {"role": "user", "content": "Why?"}
TALK = [
    {"role": "system", "content": "Be short."},
    USER,
    {"role": "assistant", "content": None},
    USER | {"content": "So?"},
]


def asked(path: str = CHAT, **body: Any) -> Question:
    return question_of(path, json.dumps(body).encode())


def test_a_single_message_is_the_prompt_as_it_is() -> None:
    question = asked(model="a", messages=[USER])
    assert (question.model, question.prompt, question.message) == ("a", "Why?", "Why?")
    assert (question.is_chat, question.streams) == (True, False)


def test_a_conversation_has_a_line_for_each_message_and_one_for_the_answer() -> None:
    question = asked(messages=TALK, stream=True)
    assert question.prompt == "system: Be short.\nuser: Why?\nassistant: \nuser: So?\nassistant:"
    assert (question.message, question.streams) == ("So?", True)


def test_a_completion_is_its_prompt() -> None:
    assert asked(COMPLETION, prompt="Once").prompt == asked(COMPLETION, prompt=["Once"]).message == "Once"


def test_text_in_parts_is_put_together() -> None:
    parts = [{"type": "text", "text": "Why "}, {"type": "text", "text": "so?"}]
    assert asked(messages=[{"role": "user", "content": parts}]).prompt == "Why so?"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {}),
        (CHAT, {"messages": []}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
        (CHAT, {"messages": [{"role": "user", "content": 7}]}),
        (CHAT, {"messages": [USER], "n": 2}),
        (COMPLETION, {"prompt": ["a", "b"]}),
        (COMPLETION, {"prompt": [1, 2]}),
    ],
)
def test_what_a_program_cannot_answer_is_refused(path: str, body: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        asked(path, **body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        question_of(CHAT, body)


def test_a_prompt_is_one_word_of_the_command_whatever_stands_in_it() -> None:
    question = asked(messages=[{"role": "user", "content": "a; rm -rf $HOME 'b' ${MESSAGE}"}])
    assert asked_with(["run", "-p", "${PROMPT}"], question) == ["run", "-p", "a; rm -rf $HOME 'b' ${MESSAGE}"]


def test_the_last_message_of_the_user_can_be_asked_for_alone() -> None:
    command = ["run", "--prompt=${MESSAGE}", "${PROMPT}"]
    assert asked_with(command, asked(messages=TALK))[1] == "--prompt=So?"
    assert takes_prompt(command)
    assert not takes_prompt(["run", "-f", "-"])


def test_what_cannot_stand_in_a_command_is_left_out_of_it() -> None:
    question = question_of(CHAT, rb'{"messages": [{"role": "user", "content": "a\u0000b\ud800c"}]}')
    assert question.prompt == "ab?c"
