"""For tests of clients: each SDK on our transport or bare, what its answers say, what is left, a bare timer."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import ollama
import openai

import hangtight
from hangtight.testing.lab import Lab
from tests.lateness import lateness

if sys.platform == "win32":
    uvloop = None
else:
    import uvloop as uvloop  # noqa: PLC0414 - the tests take it from here

WATCHDOG = "hangtight-watchdog"
MESSAGES: list[Any] = [{"role": "user", "content": "Say something."}]
OPENAI, ANTHROPIC, OLLAMA = "openai", "anthropic", "ollama"
SDKS = (OPENAI, ANTHROPIC, OLLAMA)
FAST = "tokens=5,rate=400"
TURNS = 9
"""Of the loop, in which it closes the generators that an SDK drops in the middle of an error."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without the certificates of the world, whose reading takes longer than most of these tests."""

# -- the SDKs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Api:
    """One way to ask, through the SDK that knows it."""

    sdk: str
    ask: Callable[..., Any]
    """`ask(client, model, streamed, **more)`: of an asynchronous client something to await."""
    piece: Callable[[Any], str]
    whole: Callable[[Any], str]


def _chat(client: Any, model: str, streamed: bool, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=streamed, **more)


def _completion(client: Any, model: str, streamed: bool, **more: Any) -> Any:
    return client.completions.create(model=model, prompt="Say something.", stream=streamed, **more)


def _response(client: Any, model: str, streamed: bool, **more: Any) -> Any:
    return client.responses.create(model=model, input="Say something.", stream=streamed, **more)


def _message(client: Any, model: str, streamed: bool, **more: Any) -> Any:
    return client.messages.create(model=model, messages=MESSAGES, max_tokens=1000, stream=streamed, **more)


def _ollama(client: Any, model: str, streamed: bool, **more: Any) -> Any:
    return client.chat(model=model, messages=MESSAGES, stream=streamed, **more)


def _generate(client: Any, model: str, streamed: bool, **more: Any) -> Any:
    return client.generate(model=model, prompt="Say something.", stream=streamed, **more)


def _said(event: Any) -> str:
    delta = getattr(event, "delta", None)
    return str(getattr(delta, "text", "")) if event.type == "content_block_delta" else ""


APIS = {
    OPENAI: Api(
        OPENAI,
        _chat,
        lambda chunk: (chunk.choices and chunk.choices[0].delta.content) or "",
        lambda answer: answer.choices[0].message.content or "",
    ),
    ANTHROPIC: Api(
        ANTHROPIC,
        _message,
        _said,
        lambda answer: "".join(block.text for block in answer.content if block.type == "text"),
    ),
    OLLAMA: Api(
        OLLAMA, _ollama, lambda chunk: chunk.message.content or "", lambda answer: answer.message.content or ""
    ),
    "completions": Api(
        OPENAI,
        _completion,
        lambda chunk: (chunk.choices and chunk.choices[0].text) or "",
        lambda answer: str(answer.choices[0].text),
    ),
    "responses": Api(
        OPENAI,
        _response,
        lambda event: event.delta if event.type == "response.output_text.delta" else "",
        lambda answer: str(answer.output_text),
    ),
    "generate": Api(OLLAMA, _generate, lambda chunk: chunk.response or "", lambda answer: answer.response or ""),
}


def sync_client(sdk: str, url: str, ours: dict[str, Any] | None, **theirs: Any) -> Any:
    """A synchronous client of this SDK; on a client of ours with these settings, or bare for None."""
    if sdk == OLLAMA:
        theirs |= {} if ours is None else {"transport": hangtight.http.transport(lib="httpx", verify=NO_TLS, **ours)}
        return ollama.Client(host=url, **theirs)
    theirs |= {"api_key": "none"} | (
        {} if ours is None else {"http_client": hangtight.http.client(verify=NO_TLS, **ours)}
    )
    if sdk == ANTHROPIC:
        return anthropic.Anthropic(base_url=url, **theirs)
    return openai.OpenAI(base_url=f"{url}/v1", **theirs)


def async_client(sdk: str, url: str, ours: dict[str, Any] | None, **theirs: Any) -> Any:
    """The same for an asynchronous client."""
    if sdk == OLLAMA:
        theirs |= (
            {} if ours is None else {"transport": hangtight.http.async_transport(lib="httpx", verify=NO_TLS, **ours)}
        )
        return ollama.AsyncClient(host=url, **theirs)
    theirs |= {"api_key": "none"} | (
        {} if ours is None else {"http_client": hangtight.http.async_client(verify=NO_TLS, **ours)}
    )
    if sdk == ANTHROPIC:
        return anthropic.AsyncAnthropic(base_url=url, **theirs)
    return openai.AsyncOpenAI(base_url=f"{url}/v1", **theirs)


def in_use(client: Any) -> list[Any]:
    """The connections that the client's pool still holds in use."""
    return [connection for connection in pool_of(client) if not connection.is_idle()]


def pool_of(client: Any) -> list[Any]:
    transport = client._client._transport
    found: list[Any] = getattr(transport, "inner", transport)._pool.connections
    return found


# -- one call -------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the caller of one call had at its end."""

    text: str = ""
    items: int = 0
    error: BaseException | None = None
    took: float = 0.0

    @property
    def late(self) -> hangtight.GenerationTimeout:
        assert isinstance(self.error, hangtight.GenerationTimeout), repr(self.error)
        return self.error


@dataclass(frozen=True)
class How:
    """How a call is made."""

    api: str = OPENAI
    asynchronous: bool = False
    streamed: bool = True
    ours: dict[str, Any] | None = field(default_factory=dict)
    """What our client is made with; None is the SDK without us."""
    theirs: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """What the call itself is given."""
    run: Callable[[Any], Any] = asyncio.run

    def call(self, url: str, model: str) -> Seen:
        return self.run(self._async(url, model)) if self.asynchronous else self._sync(url, model)

    def _sync(self, url: str, model: str) -> Seen:
        api = APIS[self.api]
        client = sync_client(api.sdk, url, self.ours, **self.theirs)
        seen, began = Seen(), time.monotonic()
        try:
            answer = api.ask(client, model, self.streamed, **self.more)
            if not self.streamed:
                seen.text = api.whole(answer)
            else:
                for item in answer:
                    seen.items += 1
                    seen.text += api.piece(item)
        except Exception as error:
            seen.error = error
        seen.took = time.monotonic() - began
        if self.ours is not None:
            assert in_use(client) == []
        client.close()
        return seen

    async def _async(self, url: str, model: str) -> Seen:
        api = APIS[self.api]
        client = async_client(api.sdk, url, self.ours, **self.theirs)
        seen, began = Seen(), time.monotonic()
        try:
            answer = await api.ask(client, model, self.streamed, **self.more)
            if not self.streamed:
                seen.text = api.whole(answer)
            else:
                async for item in answer:
                    seen.items += 1
                    seen.text += api.piece(item)
        except Exception as error:
            seen.error = error
        seen.took = time.monotonic() - began
        task = asyncio.current_task()
        if self.ours is not None:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert task is not None
            assert task.cancelling() == 0
            assert asyncio.all_tasks() == {task}
            assert in_use(client) == []
        await client.close()
        return seen


# -- what is left, and when ------------------------------------------------------------------------------------


@contextmanager
def one_lab() -> Iterator[Lab]:
    """A lab for a whole module. What was there before it is no garbage: then collecting is quick."""
    if uvloop is not None:
        uvloop.run(asyncio.sleep(0))  # it keeps a descriptor of its own from its first loop on
    gc.collect()
    gc.freeze()
    with Lab() as lab:
        yield lab
    gc.unfreeze()


@contextmanager
def nothing_left(lab: Lab) -> Iterator[None]:
    """No thread but the one watchdog, and no descriptor, that was not there before."""
    lab.reset()
    gc.collect()
    threads, descriptors = set(threading.enumerate()), count_descriptors()
    yield
    lab.reset()
    gc.collect()

    def left() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread not in threads and thread.name != WATCHDOG]

    assert settles(lambda: not left()), left()
    assert settles(lambda: count_descriptors() <= descriptors), "a descriptor is left open"


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def settles(holds: Callable[[], bool]) -> bool:
    """Whether it holds soon: the other end of a connection closes in its own thread."""
    for _ in range(1500):
        if holds():
            return True
        threading.Event().wait(0.01)
    return False


class BareTimer:
    """A timer of the standard library for the same limit: what this machine can do at this moment."""

    def __init__(self, seconds: float) -> None:
        self.rang: list[float] = []
        self.thread = threading.Timer(seconds, lambda: self.rang.append(time.monotonic()))
        self.beside = lateness()
        self.machine = self.beside.__enter__()
        self.start = time.monotonic()
        self.thread.start()

    def lateness(self) -> float:
        """How many times as long as it we have taken; what we had to wait for the machine is not ours."""
        took = time.monotonic() - self.start - self.machine.whole
        self.beside.__exit__(None, None, None)
        self.thread.join()
        return took / max(self.rang[0] - self.start, 0.01)
