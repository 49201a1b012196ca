"""What is asked, and what is answered to it: the model server and the load both know it, so each answer can be judged.

How an answer shall be is told in `user`, a field that every gateway carries on untouched: `tokens=100,gap=0.02`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import NamedTuple

from hangtight.testing.lab.healthy import said_of_code

MODEL = "m"
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
QUESTION = "Why is the sky blue? " * 10
TOKEN = 4
"""Characters: what a model sends at once."""
CONTENT = re.compile(rb'"content": ?"((?:[^"\\]|\\.)+)"')
"""Content that is not empty, as any gateway may write it. Keys that only end like this do not match: see the quote."""
SILENT_SINCE = re.compile(rb'"x_silent_since": ?([0-9.]+)')
DONE = b"[DONE]"


class Script(NamedTuple):
    """How one answer goes."""

    tokens: int = 100
    gap: float = 0.0
    said: str = "count"
    silent_after: int = 0
    """So many tokens, and then nothing more, on an open connection; 0 is never."""
    refuses: int = 0
    """1: a server that answers in one piece, though a stream was asked for."""

    def __str__(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self._asdict().items())

    @property
    def given(self) -> int:
        """How many tokens come."""
        return self.silent_after or self.tokens

    @property
    def text(self) -> str:
        return "".join(texts(self.said, self.tokens)[: self.given])


def read(told: str) -> Script:
    """The script that a request's `user` names; anything else is the usual one."""
    if "=" not in told:
        return Script()
    pairs = dict(pair.split("=", 1) for pair in told.split(","))
    usual = Script()._asdict()
    return Script(**{key: type(usual[key])(value) for key, value in pairs.items() if key in usual})


@cache
def texts(said: str, count: int) -> tuple[str, ...]:
    """`count`: numbered words, of which none is like another. `code`: what a model would write."""
    if said == "count":
        return tuple(f"tok{number:04d} " for number in range(count))
    code = "".join(said_of_code(number) for number in range(TOKEN * count))
    return tuple(code[at : at + TOKEN] for at in range(0, TOKEN * count, TOKEN))


class Ask(NamedTuple):
    """One request, again and again."""

    script: Script
    streamed: bool = True
    path: str = CHAT
    headers: tuple[tuple[str, str], ...] = ()

    def wire(self, port: int) -> bytes:
        body = json.dumps(self._body()).encode()
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        return head.encode() + body

    def _body(self) -> dict[str, object]:
        user = str(self.script)
        if self.path == EMBEDDINGS:
            return {"model": MODEL, "input": QUESTION, "user": user}
        messages = [{"role": "user", "content": QUESTION}]
        return {"model": MODEL, "messages": messages, "stream": self.streamed, "user": user}


class Answer(NamedTuple):
    """What a client got, and when: instants of the monotonic clock, which all processes of a machine share."""

    status: int
    body: bytes
    streamed: bool
    """It came in chunks, not with a length."""
    sent: float
    first: float
    """When the first content was there."""
    failed: float
    """When an error was told of; 0 where none was."""


def right(ask: Ask, answer: Answer) -> bool:
    """Whether every token is there, once, in order, and the end is as it has to be: exactly what the script says."""
    try:
        return answer.status == 200 and _right(ask, answer)
    except (ValueError, KeyError, IndexError, TypeError):
        return False


def _right(ask: Ask, answer: Answer) -> bool:
    script = ask.script
    if ask.path == EMBEDDINGS:
        return len(json.loads(answer.body)["data"][0]["embedding"]) == EMBEDDED
    if not ask.streamed:
        wanted = WHOLE if script.refuses else script.text
        return bool(json.loads(answer.body)["choices"][0]["message"]["content"] == wanted)
    said = b"".join(CONTENT.findall(answer.body))
    if json.loads(b'"' + said + b'"') != script.text:
        return False
    if script.silent_after:
        return b'"error"' in answer.body and DONE not in answer.body
    return b'"error"' not in answer.body and DONE in answer.body


EMBEDDED = 64
"""Numbers in an embedding: about a kilobyte of JSON."""
WHOLE = "hello " * 50
"""The answer that comes in one piece."""
