"""Real llama.cpp servers, started, swapped and stopped by `hangtight serve`. One runs at a time."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from hangtight.supervisor.commands import Tail
from hangtight.supervisor.readiness import Loading, probed
from hangtight.supervisor.spawning import nobody_listens, spawn
from hangtight.supervisor.stopping import stopped
from tests.gateway.kit import Served
from tests.realserver.model import write_model
from tests.realserver.server import SERVE
from tests.supervisor.fleets import free_ports
from tests.supervisor.kit import is_gone, run, soon

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="needs the wheel xllamacpp"),
]

QUESTION: Any = [{"role": "user", "content": "Why is the sky blue?"}]
TOKENS = 12
STARTS = 10
SETTINGS = """\
limits: {{first_token: 30, idle: 30}}
startPort: {port}
macros:
  llama: {python} {serve} {folder}/tiny.gguf 1 ${{PORT}}
models:
  alpha: {{cmd: "${{llama}}", proxy: "http://127.0.0.1:${{PORT}}", useModelName: tiny}}
  beta: {{cmd: "${{llama}}", proxy: "http://127.0.0.1:${{PORT}}", useModelName: tiny}}
groups:
  one-at-a-time: {{members: [alpha, beta]}}
"""


def serving(folder: Path, port: int) -> list[str]:
    return [sys.executable, str(SERVE), str(folder / "tiny.gguf"), "1", str(port)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    write_model(folder / "tiny.gguf")
    return folder


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    words = {"python": shlex.quote(sys.executable), "serve": shlex.quote(str(SERVE)), "folder": folder}
    settings = SETTINGS.format(port=free_ports(2), **words)
    with Served(folder, settings, XDG_DATA_HOME=str(folder)) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.openai, api_key="none", max_retries=0) as client:
        yield client


def told(served: Served, model: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = served.get("/hangtight/models")["models"]
    return next(each for each in found if each["model"] == model)


def answer(client: openai.OpenAI, model: str) -> str:
    with client.chat.completions.create(model=model, messages=QUESTION, max_tokens=TOKENS, stream=True) as chunks:
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_two_models_of_a_group_take_turns_and_who_goes_is_gone(served: Served, client: openai.OpenAI) -> None:
    before: int | None = None
    for model, other in (("alpha", "beta"), ("beta", "alpha")) * 2:
        assert answer(client, model)
        assert before is None or is_gone(before), "it was swapped, and had to end first"
        assert (told(served, model)["phase"], told(served, other)["phase"]) == ("ready", "stopped")
        before = told(served, model)["pid"]
        assert before is not None
        assert str(SERVE) in psutil.Process(before).cmdline()
        assert answer(client, model), "the next request finds it ready"
        assert told(served, model)["pid"] == before


def test_requests_for_both_at_once_are_all_answered(served: Served, client: openai.OpenAI) -> None:
    async def all_of_them() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=served.openai, api_key="none", max_retries=0) as many:
            create = many.chat.completions.create
            return await asyncio.gather(
                *(create(model=model, messages=QUESTION, max_tokens=TOKENS) for model in ("alpha", "beta") * 3)
            )

    answers = asyncio.run(all_of_them())
    assert all(each.choices[0].message.content for each in answers), served.get("/logs")


def test_it_is_stopped_by_hand_and_comes_back_with_the_next_request(served: Served, client: openai.OpenAI) -> None:
    assert answer(client, "alpha")
    pid = told(served, "alpha")["pid"]
    status, ended, _ = served.ask("POST", "/hangtight/models/alpha/stop")
    assert (status, ended["ok"], ended["phase"]) == (200, True, "stopped")
    assert is_gone(pid)
    assert "listening on" in served.get("/logs")
    assert answer(client, "alpha")


def test_a_client_that_leaves_frees_the_slot_and_the_server_stays(served: Served, client: openai.OpenAI) -> None:
    endless = client.chat.completions.create(model="alpha", messages=QUESTION, stream=True)
    assert next(iter(endless)).choices
    pid = told(served, "alpha")["pid"]
    endless.close()
    assert soon(lambda: not any(slot["is_processing"] for slot in served.get("/upstream/alpha/slots")))
    assert soon(lambda: told(served, "alpha")["requests"] == 0)
    assert answer(client, "alpha")
    assert told(served, "alpha")["pid"] == pid


async def _statuses_until_ready(folder: Path) -> tuple[set[int], set[bytes]]:
    """What one start answers while it loads: a refused connection, or 503."""
    port, statuses, bodies = free_ports(1), set[int](), set[bytes]()
    server = await spawn(serving(folder, port), on_output=Tail(nobody_listens))
    try:
        while 200 not in statuses:
            status, body = await probed(f"http://127.0.0.1:{port}/health")
            statuses.add(status)
            bodies |= {body} - {b""}
    finally:
        await stopped(server)
        server.close()
    return statuses, bodies


def test_a_server_that_still_loads_is_told_from_one_that_is_ready(folder: Path) -> None:
    """The tiny model loads in milliseconds: not every start is caught in the act."""
    for _ in range(STARTS):
        statuses, bodies = run(_statuses_until_ready(folder))
        assert statuses <= {0, 503, 200}
        if 503 in statuses:
            break
    else:
        pytest.fail("no start was seen to load")
    (body,) = bodies
    loading = Loading()
    assert b"oading model" in body
    assert loading.heard(body + b"\n"), "it speaks of loading"
    assert not loading.heard(body + b"\n"), "that it says so again is no progress"
