"""A whole answer of a real server, and the same answer streamed and put together: they are equal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hangtight.core.facts import End
from hangtight.dialects.dialect import dialect_for
from hangtight.dialects.wire import Wire
from hangtight.testing.lab import Lab

pytestmark = pytest.mark.real

MESSAGES = [{"role": "user", "content": "Say something."}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "Say something."},
    "/v1/responses": {"input": "Say something."},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 99},
    "/api/chat": {"messages": MESSAGES},
    "/api/generate": {"prompt": "Say something."},
}
MEASURED = {"created_at", "total_duration", "load_duration", "eval_duration", "prompt_eval_duration"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in MEASURED}


@pytest.mark.parametrize("script", ["tokens=5,rate=900", "reasoning=3,tokens=3,rate=900", "tool,rate=900"])
@pytest.mark.parametrize("path", ASKED)
def test_an_answer_put_together_is_the_answer_unstreamed(lab: Lab, path: str, script: str) -> None:
    dialect = dialect_for(path)
    assert dialect is not None
    body = {"model": script, "stream": False, **ASKED[path]}
    whole = httpx.post(lab.url + path, json=body).json()
    assembly = dialect.assembly()
    wire = Wire(dialect, assembly)
    upgraded = dialect.upgraded(body)
    assert upgraded is not None
    assert dialect.streams(upgraded)
    with httpx.stream("POST", lab.url + path, content=json.dumps(upgraded)) as response:
        pieces = [piece for data in response.iter_bytes() for piece in wire.feed(data)] + wire.close()
    assert (wire.end, wire.finished, wire.broken, wire.refusal) == (End.MARKED, True, "", None)
    assert without_times(assembly.answer()) == without_times(whole)
    assert len(pieces) > 1
