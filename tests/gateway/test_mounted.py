"""The gateway inside of somebody else's app, under somebody else's server, without a lifespan."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

import hangtight
from hangtight.gateway.app import Gateway
from hangtight.testing.lab import Lab, text_of
from tests.gateway.kit import PATIENCE
from tests.journal.kit import soon

pytestmark = pytest.mark.real

ASKED: Any = [{"role": "user", "content": "hi"}]
SETTINGS = """\
proxy_silence: 1
limits: {{idle: 1}}
models:
  flood: {{proxy: "{flood}"}}
  "*": {{proxy: "{url}"}}
"""


async def hello(request: Request) -> Response:
    return PlainTextResponse("the app's own")


async def passed_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """What a thousand apps have: it wraps `receive` and `send`."""
    response = await call_next(request)
    response.headers["x-by-the-app"] = "yes"
    return response


def in_fastapi(gateway: Gateway) -> Any:
    app = FastAPI()
    app.get("/hello", response_class=PlainTextResponse)(hello)
    app.mount("/llm", gateway)
    return app


def in_starlette(gateway: Gateway) -> Any:
    return Starlette(routes=[Route("/hello", hello), Mount("/llm", app=gateway)])


def behind_a_middleware(gateway: Gateway) -> Any:
    app = in_fastapi(gateway)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    return app


def behind_two(gateway: Gateway) -> Any:
    app = in_starlette(gateway)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    return app


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


class Flood:
    """A model that says a lot as fast as it is taken, and knows how much of it was."""

    EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"much " * 6000)
    END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    ALL = 64 * 1024 * 1024 // len(EVENT)

    def __init__(self) -> None:
        self.taken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=[made], daemon=True).start()

    def _answer(self, made: socket.socket) -> None:
        with made, suppress(OSError):
            if not made.recv(65536).startswith(b"POST "):
                return
            self.taken = 0
            made.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            for _ in range(self.ALL):
                made.sendall(self.EVENT)
                self.taken += 1
            made.sendall(self.END)

    def stands(self) -> int:
        """How much was taken when nothing more is: in none of many looks, for the machine may be busy."""
        before, same, pause = -1, 0, threading.Event()
        while same < 10:
            before, same = self.taken, same + 1 if before == self.taken else 0
            pause.wait(0.05)
        return before

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def flood() -> Iterator[Flood]:
    flood = Flood()
    yield flood
    flood.close()


@pytest.fixture(autouse=True)
def configured(lab: Lab, flood: Flood, tmp_path: Path) -> None:
    settings = tmp_path / "hangtight.yaml"
    settings.write_text(SETTINGS.format(url=lab.url, flood=flood.url))
    hangtight.configure(settings, "off")


@pytest.fixture(params=[in_fastapi, in_starlette, behind_a_middleware, behind_two], ids=lambda made: made.__name__)
def app(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where it is."""
    gateway = Gateway()
    with running(request.param(gateway), gateway) as url:
        yield url


@contextmanager
def running(app: Any, gateway: Gateway) -> Iterator[str]:
    """uvicorn as everybody has it, in a thread. Without a lifespan, as some servers are."""
    taken = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", ws="none"))

    async def serve() -> None:
        await server.serve(sockets=[taken])
        await gateway.shutdown()  # else what is kept for the next request is closed with the loop, which warns of it

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        taken.close()
    assert not thread.is_alive()


def client(app: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{app}/llm/v1", api_key="any", max_retries=0, timeout=PATIENCE)


def streamed(app: str, model: str, **more: Any) -> str:
    text = ""
    with client(app) as asking:
        chunks: Any = asking.chat.completions.create(model=model, messages=ASKED, stream=True, **more)
        for chunk in chunks:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    return text


def raw(app: str, body: dict[str, Any], path: str = "/llm/v1/chat/completions") -> socket.socket:
    """A connection on which this was asked, and nothing read."""
    host, _, port = app.rpartition("/")[2].partition(":")
    made = socket.create_connection((host, int(port)), timeout=PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
    made.sendall(f"{head}\r\nconnection: close\r\n\r\n".encode() + data)
    return made


def rest(made: socket.socket) -> bytes:
    got = bytearray()
    while data := made.recv(1024 * 1024):
        got += data
    made.close()
    return bytes(got)


def test_answers_streamed_and_not_and_the_apps_own_pages(app: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        texts = list(pool.map(lambda n: streamed(app, f"m,tokens={n}"), range(1, 21)))
    assert texts == [text_of(f"tokens={n}") for n in range(1, 21)]
    with client(app) as asking:
        whole = asking.chat.completions.create(model="m,tokens=9", messages=ASKED)
        assert whole.choices[0].message.content == text_of("tokens=9")
        assert asking.models.list().object == "list"
    with anthropic.Anthropic(base_url=f"{app}/llm", api_key="any", max_retries=0) as claude:
        said = claude.messages.create(model="m,tokens=9", messages=ASKED, max_tokens=100)
        assert said.content[0].text == text_of("tokens=9")  # type: ignore[union-attr]
    made = raw(app, {}, "/hello")
    assert b" 405 " in rest(made)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_silent_model_is_a_504_and_one_that_stops_an_error_event(app: str, lab: Lab, is_streamed: bool) -> None:
    at_once = {"X-Hangtight-First-Token": "0.2"}
    with client(app) as asking, pytest.raises(openai.InternalServerError) as raised:
        asking.chat.completions.create(model="silent", messages=ASKED, stream=is_streamed, extra_headers=at_once)
    assert raised.value.status_code == 504
    assert raised.value.code == "first_token"
    if is_streamed:
        with pytest.raises(openai.APIError, match="stuck - no output"):
            streamed(app, "m,tokens=9,mute=4")
        assert lab.settled("m,tokens=9,mute=4").open == 0


def test_signs_of_life_come_before_the_first_token_and_the_answer_after_them(app: str) -> None:
    for silence in ("headers", "prefill"):
        got = rest(raw(app, {"model": f"m,tokens=9,{silence}=1.3", "stream": True, "messages": ASKED}))
        words = text_of("tokens=9").split()
        assert got.count(b": hangtight: still waiting\n\n") >= 2
        assert got.rindex(b": hangtight") < got.index(words[0].encode()) < got.index(words[-1].encode())
        assert is_whole(got)


def is_whole(got: bytes) -> bool:
    """A body that the server of the app has ended, too: clients take anything else for a cut connection."""
    return b"data: [DONE]\n\n" in got and got.endswith(b"\r\n0\r\n\r\n")


def test_who_leaves_is_noticed_before_the_first_token_and_in_the_stream(
    app: str, lab: Lab, request: pytest.FixtureRequest
) -> None:
    name = re.sub(r"\W", "-", request.node.name)
    for script in ("prefill=30", "runaway"):
        model = f"{name},{script}"
        made = raw(app, {"model": model, "stream": True, "messages": ASKED})
        lab.when(model, lambda counts: counts.asked == 1)
        if script == "runaway":
            made.recv(4096)
        made.close()
        assert lab.settled(model).cancelled == 1


def test_a_slow_client_slows_its_model_is_not_charged_with_silence_and_gets_all(app: str, flood: Flood) -> None:
    """It reads nothing for longer than `idle`, while more is said than all sockets on the way can hold."""
    made = raw(app, {"model": "flood", "stream": True, "messages": ASKED})
    assert soon(lambda: flood.taken > 0)
    before = flood.stands()
    threading.Event().wait(1.5)
    assert flood.taken == before < flood.ALL * 2 / 3
    got = rest(made)
    assert got.count(b"much ") >= flood.ALL * 6000 * 0.999  # some are torn by the frames of HTTP
    assert is_whole(got)
