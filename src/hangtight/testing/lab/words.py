"""What the models of the lab say: the same tokens every time, none of them drawn by lot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal
from zlib import crc32

from hangtight.testing.lab.healthy import said_of_code, said_of_table
from hangtight.testing.lab.script import Answer, Script

VOCABULARY = """
river stone paper window garden winter bridge letter copper morning shadow market forest silver engine harbor
candle meadow signal orange pocket thunder velvet mirror ladder autumn button castle desert island
"""
DOUBTS = "so first maybe then because wait perhaps consider compare check assume notice follow recall weigh doubt"
SENTENCE = "I will now open the file again ."
COUNTING = "Step {n} : reading line {n} of {m} ."

WORDS, THOUGHTS, LOOP, DRIFT = (text.split() for text in (VOCABULARY, DOUBTS, SENTENCE, COUNTING))


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer. A tool call's tokens are pieces of its arguments' JSON."""

    text: str
    kind: Literal["reasoning", "answer", "tool"]
    first: bool
    last: bool


def tokens(answer: Answer, limit: int | None) -> Iterator[Token]:
    """The tokens of an answer; a limit cuts short what would have ended anyway, not what is endless."""
    for index in range(answer.reasoning):
        yield Token(_drawn(THOUGHTS, index), "reasoning", index == 0, False)
    if answer.tool:
        pieces = arguments(answer.tokens)
        for index, piece in enumerate(pieces):
            yield Token(piece, "tool", index == 0, index == len(pieces) - 1)
        return
    total = length(answer, limit)
    for index in count() if total is None else range(total):
        yield Token(said(answer, index), "answer", index == 0, index + 1 == total)


def of_choice(token: Token, choice: int) -> Token:
    """The same token in another answer to the same question: its words are numbered, a tool call is the same."""
    if choice == 0 or token.kind == "tool" or not token.text.endswith(" "):
        return token
    return replace(token, text=f"{token.text[:-1]}-{choice + 1} ")


def ranked(text: str, number: int) -> list[tuple[str, float]]:
    """A token and what might have stood in its place, the likeliest first, with made-up log probabilities."""
    drawn = crc32(text.encode())
    first = -(drawn % 1000 + 1) / 1000
    others = (WORDS[(drawn + at) % len(WORDS)] + " " for at in range(len(WORDS)))
    likely = [text, *(other for other in others if other != text)]
    return [(word, round(first - rank, 3)) for rank, word in enumerate(likely[:number])]


def length(answer: Answer, limit: int | None) -> int | None:
    """How many tokens the answer has after the reasoning; None for those without end."""
    if answer.endless:
        return None
    return answer.tokens if limit is None or answer.tool else min(answer.tokens, limit)


def said(answer: Answer, index: int) -> str:
    """The text of one token of the answer."""
    if answer.text == "loop":
        return LOOP[index % len(LOOP)] + " "
    if answer.text == "drift":
        turn = index // len(DRIFT)
        return DRIFT[index % len(DRIFT)].format(n=turn + 1, m=turn * 7 + 40) + " "
    if answer.text == "table":
        return said_of_table(index)
    if answer.text == "code":
        return said_of_code(index)
    return _drawn(WORDS, index)


def arguments(number: int) -> list[str]:
    """The JSON of a tool call's arguments in so many pieces; even the shortest is whole JSON."""
    if number < 2:
        return ["{}"]
    inner = [_drawn(WORDS, index) for index in range(number - 2)]
    return ['{"text": "', *inner, '"}']


def text_of(name: str) -> str:
    """All the text that a model of this name answers, without its reasoning; for tests to compare with."""
    answer = Script.read(name).answer
    if answer.endless or answer.tool:
        raise ValueError(f"{name!r} has no text that could be told beforehand")
    return "".join(said(answer, index) for index in range(answer.tokens))


def called_with(number: int) -> dict[str, str]:
    """The arguments of a tool call of so many tokens, as an object."""
    found: dict[str, str] = json.loads("".join(arguments(number)))
    return found


def _drawn(words: list[str], index: int) -> str:
    # a checksum instead of a turn through the list: a healthy answer must not look like a loop
    return words[crc32(str(index).encode()) % len(words)] + " "
