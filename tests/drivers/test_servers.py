"""Finding a server: what is asked in which order, what counts as a model server, and who gets the key."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hangtight.dialects.chat import Shape
from hangtight.drivers import servers
from hangtight.drivers.servers import Server, choose_model, find_server, is_nearby, listed, ollama_url, places
from hangtight.errors import BackendError, SettingsError
from hangtight.testing import jumping
from hangtight.testing.lab import Lab

OLLAMA = {"/api/tags": (200, {"models": [{"name": "nomic-embed-text:latest"}, {"name": "qwen3:1.7b"}]})}
OPENAI = {"/v1/models": (200, {"object": "list", "data": [{"id": "tiny"}]})}
BOTH_LISTS = {"models": [{"name": "tiny"}], "object": "list", "data": [{"id": "tiny"}]}
LLAMA_CPP = {"/api/tags": (200, BOTH_LISTS), "/v1/models": (200, BOTH_LISTS)}
LOADING = {"/v1/models": (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}})}
WEB_APP = {"/api/tags": (200, ["red", "green"]), "/v1/models": (404, None)}
LOCKED = {"/v1/models": (401, {"error": "Unauthorized"})}

Routes = Mapping[str, tuple[int, Any]]


class Seen:
    """A server of fixed answers, and what it was asked."""

    def __init__(self, routes: Routes, port: int) -> None:
        self.routes = routes
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:  # whoever lost the race left before it asked
            writer.close()
            return
        self.asked.append(head)
        path = head.split()[1]
        if path in self.routes:
            status, found = self.routes[path]
        else:
            status, found = 404, {"error": "not found"}
        body = json.dumps(found).encode()
        writer.write(b"HTTP/1.1 %d Status\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
        writer.close()


@asynccontextmanager
async def serving(*all_routes: Routes) -> AsyncIterator[list[Seen]]:
    opened, seen = [], []
    for routes in all_routes:
        server = Seen(routes, 0)
        listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
        opened.append(listening)
        server.port = listening.sockets[0].getsockname()[1]
        server.url = f"http://127.0.0.1:{server.port}"
        seen.append(server)
    try:
        yield seen
    finally:
        for listening in opened:
            listening.close()
            await listening.wait_closed()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8434", "http://127.0.0.1:8434"),
        (":8434", "http://127.0.0.1:8434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("10.0.0.7:99999", "http://10.0.0.7:11434"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://ollama.example/proxy", "https://ollama.example:443/proxy"),
        ("[::1]:8434", "http://[::1]:8434"),
        ("[::]", "http://127.0.0.1:11434"),
        ("::1", "http://[::1]:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(written: str, meant: str) -> None:
    assert ollama_url(written) == meant


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.1.9", True),
        ("localhost", True),
        ("gpu-box", True),
        ("gpu-box.local", True),
        ("api.openai.com", False),
        ("8.8.8.8", False),
    ],
)
def test_what_is_near_is_this_machine_and_its_own_network(host: str, near: bool) -> None:
    assert is_nearby(host) is near


def test_the_named_places_come_first_and_only_they_get_the_key() -> None:
    environment = {
        "OLLAMA_HOST": "gpu-box",
        "OPENAI_BASE_URL": "https://api.example/v1",
        "OPENAI_API_KEY": "secret",
    }
    there = list(places(None, environment))
    assert [place.url for place in there[:3]] == [
        "http://gpu-box:11434",
        "https://api.example/v1",
        "http://127.0.0.1:11434",
    ]
    assert [place.url for place in there if place.key] == ["https://api.example/v1"]
    assert "secret" not in repr(there)


def test_a_url_that_is_given_is_the_only_place_and_may_be_written_shortly() -> None:
    [place] = places("localhost:8080/v1/chat/completions", {"OPENAI_API_KEY": "secret", "OLLAMA_HOST": "gpu-box"})
    assert (place.url, place.key) == ("http://localhost:8080/v1", "secret")


def test_the_same_place_is_asked_once() -> None:
    urls = [place.url for place in places(None, {"OLLAMA_HOST": "0.0.0.0"})]
    assert len(urls) == len(set(urls)) == len(servers.PORTS)


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://a b", "http://host:99999"])
def test_a_url_that_cannot_be_meant_is_refused_by_its_name(url: str) -> None:
    with pytest.raises(SettingsError, match="--url"):
        list(places(url, {}))


def test_a_key_that_no_header_can_hold_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY") as refused:
        list(places(None, {"OPENAI_API_KEY": "sëcret\n"}))
    assert "cret" not in str(refused.value)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        list(places("http://me:secret@host/", {}))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("routes", "shape", "end", "models"),
    [
        (OLLAMA, Shape.OLLAMA, "", ("nomic-embed-text:latest", "qwen3:1.7b")),
        (OPENAI, Shape.OPENAI, "/v1", ("tiny",)),
        (LLAMA_CPP, Shape.OPENAI, "/v1", ("tiny",)),
        (LOADING, Shape.OPENAI, "/v1", ()),
    ],
)
def test_a_server_on_a_usual_port_is_known_by_its_answers(
    routes: Routes, shape: Shape, end: str, models: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with serving(WEB_APP, routes) as (web, model):
            monkeypatch.setattr(servers, "PORTS", {web.port: "a web app", model.port: "it"})
            found = await find_server(None, {"OPENAI_API_KEY": "secret"})
            assert found == Server(model.url + end, shape, models)
            assert "secret" not in "".join(web.asked + model.asked)

    jumping(main())


def test_the_first_in_the_order_wins_however_late_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(OPENAI, OLLAMA) as (first, second):
            monkeypatch.setattr(servers, "PORTS", {first.port: "one", second.port: "two"})
            assert (await find_server(None, {})).url == f"{first.url}/v1"

    jumping(main())


def test_where_nothing_is_found_the_error_says_where_it_looked_and_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        async with serving(WEB_APP, LOCKED) as (web, locked):
            ports = {web.port: "a web app", closed_port(): "nobody", locked.port: "a locked one"}
            monkeypatch.setattr(servers, "PORTS", ports)
            with pytest.raises(BackendError) as failed:
                await find_server(None, {})
            return str(failed.value)

    first, web, nobody, locked, *advice = jumping(main()).splitlines()
    assert "no model server" in first
    assert "answers" in web
    assert "nothing there" in nobody
    assert "OPENAI_API_KEY" in locked
    assert "--url" in "".join(advice)


def test_a_port_that_hangs_is_given_up_after_a_short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> float:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        listening = await asyncio.start_server(hang, "127.0.0.1", 0)
        async with listening:
            monkeypatch.setattr(servers, "PORTS", {listening.sockets[0].getsockname()[1]: "it"})
            with pytest.raises(BackendError, match="does not answer"):
                await find_server(None, {})
            return asyncio.get_running_loop().time()

    assert jumping(main()) == pytest.approx(servers.LOOK)


def test_a_named_server_that_lists_nothing_is_taken_at_its_word() -> None:
    async def main() -> None:
        async with serving(WEB_APP) as [web]:
            assert await find_server(web.url, {}) == Server(f"{web.url}/v1", Shape.OPENAI)

    jumping(main())


def test_a_url_that_ends_in_v1_speaks_openai_also_where_ollama_answers() -> None:
    async def main() -> None:
        async with serving({**OLLAMA, **OPENAI}) as [both]:
            assert (await find_server(both.url, {})).shape is Shape.OLLAMA
            assert (await find_server(f"{both.url}/v1/", {})).shape is Shape.OPENAI

    jumping(main())


def test_the_key_goes_to_the_server_that_was_named_with_it() -> None:
    async def main() -> None:
        async with serving(OPENAI) as [server]:
            found = await find_server(server.url, {"OPENAI_API_KEY": "secret"})
            assert "authorization: Bearer secret" in server.asked[-1]
            assert found.headers == {"authorization": "Bearer secret"}
            assert "secret" not in repr(found)

    jumping(main())


def chosen(routes: Routes, models: tuple[str, ...], wanted: str | None = None) -> str:
    async def main() -> str:
        async with serving(routes) as [server]:
            return await choose_model(Server(server.url, Shape.OLLAMA, models), wanted)

    return jumping(main())


def test_the_model_that_is_in_memory_is_chosen_unless_another_is_asked_for() -> None:
    loaded = {"/api/ps": (200, {"models": [{"name": "b"}]})}
    assert chosen(loaded, ("a", "b")) == "b"
    assert chosen(loaded, ("a", "b"), "c") == "c"


def test_the_first_model_that_can_chat_is_chosen_where_none_is_loaded() -> None:
    assert chosen({"/api/ps": (200, {"models": []})}, ("nomic-embed-text", "a", "b")) == "a"
    assert chosen({"/api/ps": (500, "what?")}, ("a", "b")) == "a"


def test_an_ollama_without_models_says_how_to_get_one() -> None:
    with pytest.raises(BackendError, match="ollama pull"):
        chosen({}, ())


def test_far_away_nothing_is_chosen_among_several() -> None:
    async def main() -> None:
        far = Server("https://api.example/v1", Shape.OPENAI, ("a", "b"))
        with pytest.raises(BackendError, match=r"--model .*\n.* has: a, b"):
            await choose_model(far, None)
        near = Server("http://127.0.0.1:9/v1", Shape.OPENAI)
        assert await choose_model(near, None) == ""

    jumping(main())


def test_a_long_list_of_models_is_shown_in_part() -> None:
    many = Server("http://h/v1", Shape.OPENAI, tuple(f"m{n}" for n in range(50)))
    assert listed(many).endswith("m11 and 38 more")


@pytest.mark.real
def test_the_lab_is_found_by_its_name() -> None:
    with Lab() as lab:
        found = asyncio.run(find_server(None, {"OLLAMA_HOST": lab.url}))
    assert (found.url, found.shape, found.models) == (lab.url, Shape.OLLAMA, ("qwen3-coder", "qwen3:1.7b"))
