"""Agents beneath real clients: what was asked, the history of their calls, their reasoning and arguments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import pytest

import hangtight
from hangtight.intent.findings import Channel, Rule
from hangtight.testing.lab import Lab
from hangtight.testing.lab.wire import Ask, Close, Wire
from hangtight.testing.lab.wire_anthropic import AnthropicMessage
from hangtight.testing.lab.wire_ollama import OllamaChat
from hangtight.testing.lab.wire_openai import OpenAIChat
from hangtight.testing.lab.wire_responses import OpenAIResponse
from hangtight.testing.lab.words import SENTENCE, Token
from tests.acceptance.kit import project
from tests.clients.kit import ANTHROPIC, APIS, OLLAMA, OPENAI, How, async_client, nothing_left, one_lab, sync_client
from tests.clients.peer import Peer, Said
from tests.clients.test_intent import DEEP, LOOP, STAND_IN, UNIT, both_ways, each_api, looped, outcome, streamed_or_not

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


# -- what was asked -----------------------------------------------------------------------------------------------

POEM = "Repeat the word poem 500 times."


def said(api: str, text: str) -> dict[str, Any]:
    """The prompt of a call of this API."""
    name = {"completions": "prompt", "generate": "prompt", "responses": "input"}.get(api, "messages")
    return {name: [{"role": "user", "content": text}] if name == "messages" else text}


def posted(client: Any, api: str, model: str, body: dict[str, Any]) -> Any:
    """A call of this API with a body of its own."""
    calls: dict[str, Callable[..., Any]] = {
        OPENAI: lambda: client.chat.completions.create(model=model, **body),
        ANTHROPIC: lambda: client.messages.create(model=model, max_tokens=1000, **body),
        OLLAMA: lambda: client.chat(model=model, **body),
        "completions": lambda: client.completions.create(model=model, **body),
        "responses": lambda: client.responses.create(model=model, **body),
        "generate": lambda: client.generate(model=model, **body),
    }
    return calls[api]()


@each_api
def test_a_prompt_that_asks_for_repetition_needs_more_of_it(api: str, lab: Lab) -> None:
    copies = []
    for prompt in ("Say something.", POEM):
        client = sync_client(APIS[api].sdk, lab.url, DEEP)
        with pytest.raises(hangtight.Looping) as caught:
            posted(client, api, LOOP, said(api, prompt))
        client.close()
        assert caught.value.loop is not None
        copies.append(caught.value.loop.copies)
    assert 3 * copies[0] < copies[1] < 5 * copies[0]


@pytest.mark.parametrize("prompt", [POEM, [{"role": "user", "content": POEM}]], ids=["text", "messages"])
def test_so_it_is_with_a_question_of_ours(prompt: Any, lab: Lab) -> None:
    copies = []
    for asked in ("Say something.", prompt):
        with pytest.raises(hangtight.Looping) as caught:
            hangtight.generate(asked, url=lab.url, model=LOOP, mode="deep")
        assert caught.value.loop is not None
        copies.append(caught.value.loop.copies)
    assert 3 * copies[0] < copies[1] < 5 * copies[0]


# -- an agent's own history ---------------------------------------------------------------------------------------

ARGUMENTS = {"path": "a.py"}
Result = Callable[[int], str]


def of_openai(name: str, count: int, result: Result) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend a.py."}]
    for each in range(count):
        function = {"name": name, "arguments": json.dumps(ARGUMENTS)}
        call = {"id": f"c{each}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{each}", "content": result(each)})
    return {"messages": messages}


def of_anthropic(name: str, count: int, result: Result) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend a.py."}]
    for each in range(count):
        use = {"type": "tool_use", "id": f"c{each}", "name": name, "input": ARGUMENTS}
        came = {"type": "tool_result", "tool_use_id": f"c{each}", "content": result(each)}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [came]}]
    return {"messages": messages}


def of_ollama(name: str, count: int, result: Result) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend a.py."}]
    for each in range(count):
        call = {"function": {"name": name, "arguments": ARGUMENTS}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_name": name, "content": result(each)})
    return {"messages": messages}


def of_responses(name: str, count: int, result: Result) -> dict[str, Any]:
    items: list[dict[str, Any]] = [{"role": "user", "content": "Mend a.py."}]
    for each in range(count):
        call = {"type": "function_call", "call_id": f"c{each}", "name": name, "arguments": json.dumps(ARGUMENTS)}
        items += [call, {"type": "function_call_output", "call_id": f"c{each}", "output": result(each)}]
    return {"input": items}


HISTORIES = {OPENAI: of_openai, ANTHROPIC: of_anthropic, OLLAMA: of_ollama, "responses": of_responses}
each_history = pytest.mark.parametrize("api", HISTORIES)


def same(_: int) -> str:
    return "x = 1"


def agent(lab: Lab, api: str, asynchronous: bool, body: dict[str, Any], **ours: Any) -> BaseException | None:
    """What the next call of an agent with this history raises."""
    given = {**DEEP, **ours}

    async def main() -> None:
        client = async_client(APIS[api].sdk, lab.url, given)
        try:
            answer = await posted(client, api, STAND_IN, body)
            if body.get("stream"):
                async for _ in answer:
                    pass
        finally:
            await client.close()

    try:
        if asynchronous:
            asyncio.run(main())
        else:
            client = sync_client(APIS[api].sdk, lab.url, given)
            try:
                answer = posted(client, api, STAND_IN, body)
                for _ in answer if body.get("stream") else ():
                    pass
            finally:
                client.close()
    except hangtight.HangtightError as error:
        return error
    return None


@streamed_or_not
@both_ways
@each_history
def test_a_call_with_the_same_result_for_the_sixth_time_is_the_last(
    api: str, asynchronous: bool, streamed: bool, lab: Lab
) -> None:
    body = {**HISTORIES[api]("read_file", 6, same), "stream": streamed}
    error = looped(agent(lab, api, asynchronous, body))
    assert error.loop is not None
    assert (error.loop.rule, error.loop.copies, error.loop.unit) == (Rule.TOOLS, 6, "read_file")
    assert (error.partial, error.useful, error.tokens) == ("", "", 0)
    assert lab.counts(STAND_IN).asked == 0


@pytest.mark.parametrize(
    "calls",
    [
        ("read_file", 5, same),
        ("check_status", 12, same),
        ("read_file", 12, lambda each: f"x = {each}"),
        ("read_file", 12, lambda _: "pending"),
    ],
    ids=["not often enough", "a tool that waits", "another result each time", "a result that says to wait"],
)
@both_ways
@each_history
def test_work_that_only_looks_alike_goes_on(
    api: str, asynchronous: bool, calls: tuple[str, int, Result], lab: Lab
) -> None:
    assert agent(lab, api, asynchronous, HISTORIES[api](*calls)) is None
    assert lab.settled(STAND_IN).finished == 1


@both_ways
def test_a_history_counts_for_nothing_where_intent_is_off(asynchronous: bool, lab: Lab) -> None:
    assert agent(lab, OPENAI, asynchronous, of_openai("read_file", 6, same), intent=False) is None


@both_ways
@streamed_or_not
def test_no_other_model_is_asked_to_go_on_with_such_a_history(streamed: bool, asynchronous: bool, lab: Lab) -> None:
    other = "tokens=4,rate=400"
    body = {**of_openai("read_file", 6, same), "stream": streamed}
    error = looped(agent(lab, OPENAI, asynchronous, body, fallback=[other]))
    assert (error.model, error.loop and error.loop.rule) == (STAND_IN, Rule.TOOLS)
    assert (lab.counts(STAND_IN).asked, lab.counts(other).asked) == (0, 0)


@both_ways
def test_nor_by_a_watch_above(asynchronous: bool, lab: Lab) -> None:
    other = "tokens=4,rate=400"
    body = {**of_openai("read_file", 6, same), "stream": True}
    given: dict[str, Any] = {**DEEP, "model": STAND_IN, "fallback": [other]}

    async def main() -> None:
        async with async_client(OPENAI, lab.url, {}) as client:
            async for _ in hangtight.watch(lambda model: posted(client, OPENAI, model, body), **given):
                pass

    def sync() -> None:
        with sync_client(OPENAI, lab.url, {}) as client:
            for _ in hangtight.watch(lambda model: posted(client, OPENAI, model, body), **given):
                pass

    with pytest.raises(hangtight.Looping):
        asyncio.run(main()) if asynchronous else sync()
    assert (lab.counts(STAND_IN).asked, lab.counts(other).asked) == (0, 0)


def test_a_call_that_was_not_sent_is_in_the_journal_too(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch):
        looped(agent(lab, OPENAI, False, of_openai("read_file", 6, same)))
        assert outcome() == ("looping", ["looping", "cancel sent", "cancel confirmed"])


# -- reasoning, and the arguments of a tool -----------------------------------------------------------------------

MANY = 3_000
"""Pieces; more than what a socket's buffers hold, so that they do not all come at once."""


WIRES: dict[str, Callable[[Ask], Wire]] = {
    OPENAI: OpenAIChat,
    ANTHROPIC: AnthropicMessage,
    "responses": OpenAIResponse,
    OLLAMA: OllamaChat,
}
OF_ANSWER = "I will see. "


def looping_in(api: str, channel: Channel) -> Said:
    """An answer, and a loop in this channel beside it, as a server of this API says it."""
    wire = WIRES[api](Ask(model="m", stream=True))
    beside: Literal["reasoning", "tool"] = "reasoning" if channel is Channel.REASONING else "tool"
    answer = Token(OF_ANSWER, "answer", True, False)
    words = islice(cycle(SENTENCE.split()), MANY)
    loop = [Token(word + " ", beside, index == 0, index + 1 == MANY) for index, word in enumerate(words)]
    said = [answer, *loop] if channel is Channel.TOOL else [*loop, answer]
    close = Close(reason=wire.reason(False, False), tokens=MANY)
    pieces = (wire.opening(), *map(wire.token, said), wire.close(close), wire.done(close))
    return Said(kind=wire.stream_type, pieces=tuple(piece for piece in pieces if piece))


@streamed_or_not
@both_ways
@pytest.mark.parametrize(
    ("api", "channel"),
    [*((api, Channel.REASONING) for api in WIRES), *((api, Channel.TOOL) for api in WIRES if api != OLLAMA)],
)
def test_a_loop_beside_the_answer_ends_it_and_the_answer_is_kept_whole(
    api: str, channel: Channel, asynchronous: bool, streamed: bool
) -> None:
    with Peer(looping_in(api, channel)) as peer:
        error = looped(How(api, asynchronous, streamed, DEEP).call(peer.url, "m").error)
    assert error.loop is not None
    assert (error.loop.channel, error.loop.period) == (channel, len(UNIT))
    assert error.partial == error.useful == (OF_ANSWER if channel is Channel.TOOL else "")
    assert len(peer.asked) == 1


# -- a watch around a stream that is open already -----------------------------------------------------------------


def opened(lab: Lab, asynchronous: bool, model: str, body: dict[str, Any]) -> hangtight.Looping:
    """What comes of a stream that a client without intent has opened, and a watch with it reads."""

    async def main() -> None:
        async with async_client(OPENAI, lab.url, {}) as client:
            async for _ in hangtight.watch(await posted(client, OPENAI, model, {**body, "stream": True}), mode="deep"):
                pass

    def sync() -> None:
        with sync_client(OPENAI, lab.url, {}) as client:
            for _ in hangtight.watch(posted(client, OPENAI, model, {**body, "stream": True}), mode="deep"):
                pass

    with pytest.raises(hangtight.Looping) as caught:
        asyncio.run(main()) if asynchronous else sync()
    return caught.value


@both_ways
def test_a_watch_that_comes_later_knows_what_was_asked(asynchronous: bool, lab: Lab) -> None:
    copies = []
    for prompt in ("Say something.", POEM):
        loop = opened(lab, asynchronous, LOOP, said(OPENAI, prompt)).loop
        assert loop is not None
        copies.append(loop.copies)
    assert 3 * copies[0] < copies[1] < 5 * copies[0]


@both_ways
def test_and_which_tools_were_called(asynchronous: bool, lab: Lab) -> None:
    loop = opened(lab, asynchronous, LOOP, of_openai("read_file", 6, same)).loop
    assert loop is not None
    assert (loop.rule, loop.copies) == (Rule.TOOLS, 6)
