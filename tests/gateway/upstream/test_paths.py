"""/upstream/MODEL/...: who is meant by a path, and what its server gets of the request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hangtight.gateway.upstream.paths import behind as found_behind
from hangtight.gateway.upstream.targets import Targets
from tests.gateway.behind import (
    ANSWERED,
    CHUNKED,
    PATIENCE,
    Before,
    Behind,
    Serve,
    Talk,
    answer,
    before,
    behind,
    post,
    until,
)

pytestmark = pytest.mark.real
Main = Callable[[Before, Behind, list[tuple[bytes, bytes]]], Awaitable[None]]


def run(folder: Path, main: Main, serve: Serve | None = None, *, models: str = "m org/large", more: str = "") -> None:
    """Each of these models stands at the same server, whose requests `main` finds in its list."""
    heard: list[tuple[bytes, bytes]] = []

    async def listening(talk: Talk) -> None:
        while True:
            heard.append(await talk.request())
            talk.say(answer(b'{"ok": 1}', 200, b"content-type: text/html"))

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), behind(serve or listening) as server:
            known = "".join(f'  {name}: {{proxy: "{server.url}", aliases: [{name}-2]}}\n' for name in models.split())
            async with before(folder, f"circuit: false\n{more}models:\n{known}") as ours:
                await main(ours, server, heard)

    asyncio.run(bounded())


def first_line(heard: list[tuple[bytes, bytes]]) -> str:
    """Of the last request that the server had."""
    return heard[-1][0].partition(b"\r\n")[0].decode()


# -- which path it gets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("/upstream/m/props", "/props"),
        ("/upstream/m/", "/"),
        ("/upstream/m", "/"),
        ("/upstream/m-2/slots", "/slots"),
        ("/upstream/org/large/metrics", "/metrics"),
        ("/upstream/org%2Flarge/metrics", "/metrics"),
        ("/upstream/m/a%2Fb/c", "/a%2Fb/c"),
        ("/upstream/m/a%20b%0d%0ac", "/a%20b%0d%0ac"),
        ("/upstream/m/%25", "/%25"),
        ("/upstream/m%2Fprops", "/props"),
        ("/%75pstream/m/a%20b", "/a%20b"),
        ("/upstream/m//twice", "//twice"),
        ("/upstream/m/v1/models", "/v1/models"),
        ("/upstream/m/health", "/health"),
        ("/upstream/m/hangtight/generations", "/hangtight/generations"),
        ("/upstream/m/slots?a=1&b=%2F&model=other", "/slots?a=1&b=%2F&model=other"),
        ("/upstream/m/upstream/m/x", "/upstream/m/x"),
    ],
)
def test_what_follows_the_name_is_the_path_at_its_server(tmp_path: Path, asked: str, got: str) -> None:
    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        found = await ours.ask(post(asked, b"", method="GET"))
        assert (found.status, found.headers["content-type"], found.body) == (200, "text/html", b'{"ok": 1}')
        assert first_line(heard) == f"GET {got} HTTP/1.1"

    run(tmp_path, main)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
def test_every_method_passes(tmp_path: Path, method: str) -> None:
    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        _, writer = await ours.open(post("/upstream/m/lora-adapters", b"[1]", method=method))
        await until(lambda: bool(heard))
        assert first_line(heard) == f"{method} /lora-adapters HTTP/1.1"
        assert heard[-1][1] == b"[1]"
        writer.close()

    run(tmp_path, main)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/upstream/nobody/props", 400),  # no model is named, in the path or elsewhere
        ("/upstream/", 400),
        ("/upstream/m/../secret", 400),
        ("/upstream/m/%2e%2e/secret", 400),
        ("/upstream/../m/x", 400),
    ],
)
def test_a_path_that_means_no_model_or_leads_upwards_goes_nowhere(tmp_path: Path, path: str, status: int) -> None:
    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        assert (await ours.ask(post(path, b"", method="GET"))).status == status
        assert heard == []

    run(tmp_path, main)


def test_it_comes_through_but_once(tmp_path: Path) -> None:
    """A server that is this very gateway."""

    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        (tmp_path / "hangtight.yaml").write_text(f'models: {{loop: {{proxy: "http://127.0.0.1:{ours.port}"}}}}\n')
        await until(lambda: ours.gateway.state.targets.find("loop") is not None)
        assert (await ours.ask(post("/upstream/loop/upstream/loop/x", b"", method="GET"))).status == 508

    run(tmp_path, main)


def test_a_key_and_headers_of_the_server_are_shown_there_and_not_the_clients(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        (tmp_path / "hangtight.yaml").write_text(f'models: {{k: {{proxy: "{server.url}", key: sk-1}}}}\n')
        await until(lambda: ours.gateway.state.targets.find("k") is not None)
        await ours.ask(post("/upstream/k/props", b"", {"authorization": "Bearer mine"}, "GET"))
        assert b"authorization: bearer sk-1" in heard[-1][0].lower()
        assert b"mine" not in heard[-1][0]

    run(tmp_path, main)


def test_a_websocket_is_refused_and_its_server_not_asked(tmp_path: Path) -> None:
    """What passes through is HTTP: the upgrade is a matter of one hop, and is not passed on."""

    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        found = await ours.ask(post("/upstream/m/ws", b"", {**upgrade, "sec-websocket-key": "eA=="}, "GET"))
        assert found.status != 101
        assert all(b"upgrade" not in head.lower().replace(b"sec-websocket", b"") for head, _ in heard)

    run(tmp_path, main)


# -- a generation there -----------------------------------------------------------------------------------------------

CHAT = "/upstream/m/v1/chat/completions"


def chatting(path: str = CHAT, **more: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": "hi"}], **more}
    return post(path, json.dumps(body).encode(), {"content-type": "application/json"})


@pytest.mark.parametrize("stream", [True, False])
def test_a_generation_there_keeps_the_time_contract(tmp_path: Path, stream: bool) -> None:
    async def silent(talk: Talk) -> None:
        await talk.request()
        talk.say(CHUNKED)
        await talk.gone()

    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        found = await ours.ask(chatting(stream=stream))
        assert (found.status, found.error["code"]) == (504, "first_token")
        await server.talks[0].left.wait()

    run(tmp_path, main, silent, more="limits: {first_token: 0.2, cold: null, cancel: 0.5}\n")


def test_a_generation_there_is_counted_for_the_model_of_the_path(tmp_path: Path) -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(ANSWERED)

    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        found = await ours.ask(chatting(stream=True, model="lora-7"))
        assert found.headers["x-hangtight-model"] == "m"
        (ended,) = ours.gateway.state.finished
        assert (ended.asked, ended.path, ended.tokens) == ("m", "/v1/chat/completions", 1)

    run(tmp_path, main, serve)


@pytest.mark.parametrize("path", [CHAT, "/upstream/m/v1/embeddings"])
@pytest.mark.parametrize("body", [{"model": "lora-7", "stream": True}, {"stream": True}])
def test_who_talks_to_a_server_in_person_is_neither_renamed_nor_filtered(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    async def main(ours: Before, server: Behind, heard: list[tuple[bytes, bytes]]) -> None:
        (tmp_path / "hangtight.yaml").write_text(
            f'models: {{m: {{proxy: "{server.url}", filters: {{stripParams: "seed", setParams: {{top_k: 1}}}}}}}}\n'
        )
        await until(lambda: bool(ours.gateway.state.targets.find("m").filters))  # type: ignore[union-attr]
        await ours.ask(chatting(path, seed=3, input="x", **body))
        sent = json.loads(heard[-1][1])
        assert (sent["seed"], sent.get("top_k")) == (3, None)
        assert sent.get("model", "m") == body.get("model", "m")

    run(tmp_path, main, models="m")


# -- which model is meant ---------------------------------------------------------------------------------------------


class Known(Targets):
    """These names, and no settings."""

    def __init__(self, *names: str) -> None:
        self.known = names

    def find(self, name: str) -> Any:
        return name if name in self.known else None


def test_the_shortest_beginning_that_is_a_model_is_meant() -> None:
    scope = {"raw_path": b"/upstream/a/b/c", "path": "/upstream/a/b/c"}
    found = found_behind(scope, "/upstream/a/b/c", Known("a", "a/b"))
    assert found is not None
    assert (found[1], found[0]["path"], found[0]["raw_path"]) == ("a", "/b/c", b"/b/c")


def test_a_gateway_that_is_mounted_knows_its_own_part_of_the_path() -> None:
    scope = {"raw_path": b"/upstream/upstream/m/a%20b", "root_path": "/upstream"}
    found = found_behind(scope, "/upstream/m/a b", Known("m"))
    assert found is not None
    assert (found[0]["path"], found[0]["raw_path"], found[0]["root_path"]) == ("/a b", b"/a%20b", "")


def test_where_a_server_does_not_say_how_it_was_written_it_is_written_anew() -> None:
    found = found_behind({"raw_path": None}, "/upstream/m/a b", Known("m"))
    assert found is not None
    assert (found[0]["path"], found[0]["raw_path"]) == ("/a b", None)


SEGMENT = some.text("ab%", max_size=3)


@given(name=some.lists(some.text("ab", min_size=1, max_size=2), min_size=1, max_size=4), rest=some.lists(SEGMENT))
def test_whatever_follows_a_name_stays_as_it_was_written(name: list[str], rest: list[str]) -> None:
    model = "/".join(name)
    path = "/upstream/" + "/".join([*name, *rest])
    raw = "/upstream/" + "/".join([*name, *(part.replace("%", "%25") for part in rest)])
    found = found_behind({"raw_path": raw.encode()}, path, Known(model))
    assert found is not None
    scope, meant = found
    assert meant == model
    assert scope["path"] == "/" + "/".join(rest)
    assert scope["raw_path"].decode().replace("%25", "%") == scope["path"]


def test_a_name_of_a_thousand_slashes_is_not_looked_for_a_thousand_times() -> None:
    asked: list[str] = []

    class Counting(Known):
        def find(self, name: str) -> Any:
            asked.append(name)

    assert found_behind({}, "/upstream/" + "a/" * 1000, Counting()) is None
    assert len(asked) < 10
