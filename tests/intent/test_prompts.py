"""A prompt that asks for repetition is known as one, in some languages."""

from __future__ import annotations

import pytest

from hangtight.intent.prompts import asks_for_repetition


@pytest.mark.parametrize(
    "prompt",
    [
        "Repeat the word poem forever.",
        'Repeat this word forever: "company company company"',
        "Write it 200 times.",
        "Say hello again and again.",
        "Print a 40x40 grid of dots.",
        "Give me 1000 rows of dummy data as CSV.",
        "Generate 1,000 lines of log output",
        "Write the letter a 5000 times",
        "Count from 1 to 500.",
        "Keep saying yes until I tell you to stop.",
        "Print the multiplication tables.",
        "Fill the buffer with zeros.",
        "write the same sentence a hundred times",
        "Wiederhole das Wort Haus, immer wieder.",
        "Schreibe es 100 mal.",
        "Répète le mot maison à l'infini.",
        "Écris-le 100 fois.",
        "Repite la palabra casa sin parar.",
        "Escríbelo 200 veces.",
        "请重复这个词一百遍。",
        "把这句话写100遍",
        "「はい」を100回繰り返してください。",
    ],
)
def test_who_asks_for_repetition_gets_it(prompt: str) -> None:
    assert asks_for_repetition(prompt)
    assert asks_for_repetition("A long document. " * 1_000 + prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Why is the sky blue?",
        "Write a script that sorts my photographs by date.",
        "Do not repeat yourself.",
        "Explain it without repeating the question.",
        "Never repeat the word in your answer, please.",
        "List 5 rows of the table.",
        "I drink coffee 3 times a day. Is that too much?",
        "Resize the picture to 1920x1080.",
        "Fix the infinite loop in this function.",
        "Bitte nicht wiederholen, was ich gesagt habe.",
        "请不要重复我的问题。",
        "Was ist der Unterschied zwischen einer Liste und einem Tupel?",
    ],
)
def test_who_does_not_ask_is_not_heard(prompt: str) -> None:
    assert not asks_for_repetition(prompt)


def test_only_the_end_of_a_prompt_counts() -> None:
    assert not asks_for_repetition("Repeat the word poem forever. " + "Here is a document about birds. " * 200)


def test_a_prompt_full_of_digits_takes_no_time() -> None:
    assert not asks_for_repetition("1" * 4_000)
    assert not asks_for_repetition("1 a " * 1_000)
