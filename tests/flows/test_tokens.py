"""What is told of the tokens that a step has made, whoever asked the model for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.flows import Flow, Kind
from hangtight.flows.definition.steps import Step
from hangtight.flows.events import EventType
from hangtight.testing import ScriptedModel, Tokens
from tests.flows.models import CODER, ran

SAYS = ["one ", "two ", "three "]


async def asks() -> str:
    return await hangtight.agenerate("x", model=CODER) + await hangtight.agenerate("y", model=CODER)


async def watches() -> None:
    async for _ in hangtight.watch(ScriptedModel(Tokens(6, every=1)), model=CODER):
        pass


async def fails() -> None:
    await asks()
    raise ValueError("no")


@pytest.mark.parametrize("beat", [15, None])
@pytest.mark.parametrize("function", [asks, watches, fails])
def test_a_function_has_made_the_tokens_of_its_calls(
    function: Any, beat: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow("f", [Step("asks", Kind.PYTHON, function=function)])
    told = ran(monkeypatch, tmp_path, flow, {CODER: SAYS}, engine={"heartbeat": beat})
    assert told.of(EventType.STEP_FINISHED)[0].told["tokens"] == 6
