"""What is told of the servers that the gateway runs, and what is done to them from outside: pages, events, numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.behind import PATIENCE, Before, Got, before, post, until
from tests.gateway.stewards import Puppeteer

pytestmark = pytest.mark.real
MODELS = (
    "models:\n"
    "  small: {proxy: 'http://127.0.0.1:1', aliases: [tiny], name: Small One, description: It is small.,\n"
    "    metadata: {context: 8192}, capabilities: {vision: true}}\n"
    "  org/large: {proxy: 'http://127.0.0.1:1', description: It is large.}\n"
    "  other: {proxy: 'http://127.0.0.1:1'}\n"
)
Main = Callable[[Before, Puppeteer], Awaitable[None]]


def run(folder: Path, main: Main, *, more: str = "", steward: bool = True) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), before(folder, more + MODELS) as ours:
            runs = Puppeteer("small", "org/large")
            if steward:
                ours.gateway.state.engage(runs)
            await main(ours, runs)

    asyncio.run(bounded())


async def get(ours: Before, path: str, method: str = "GET", **headers: str) -> Got:
    return await ours.ask(post(path, b"", {name.replace("_", "-"): value for name, value in headers.items()}, method))


# -- which of them run ------------------------------------------------------------------------------------------------


def test_those_that_are_up_are_told_in_llama_swaps_words(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, "/running")).json == {"running": []}
        steward.comes("org/large", "starting")
        steward.comes("small", "failed")
        assert (await get(ours, "/running")).json == {
            "running": [
                {
                    "state": "starting", "model": "org/large", "cmd": "serve org/large",
                    "proxy": "http://127.0.0.1:1", "ttl": 0, "name": "", "description": "",
                }
            ]
        }  # fmt: skip

    run(tmp_path, main)


def test_all_of_them_are_told_in_ours(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        steward.comes("small", "asleep")
        found = (await get(ours, "/hangtight/models")).json["models"]
        assert [(each["model"], each["phase"]) for each in found] == [("small", "asleep"), ("org/large", "stopped")]

    run(tmp_path, main)


def test_health_tells_the_phase_of_those_that_are_run(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        steward.comes("small", "ready")
        found = (await get(ours, "/health")).json["models"]
        assert (found["small"]["phase"], found["org/large"]["phase"]) == ("ready", "stopped")
        assert "phase" not in found["other"]

    run(tmp_path, main)


def test_where_nothing_is_run_nothing_is_told_and_nothing_can_be_done(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, "/running")).json == {"running": []}
        assert (await get(ours, "/hangtight/models")).json == {"models": []}
        assert (await get(ours, "/logs")).body == b""
        assert (await get(ours, "/unload")).body == b"OK"
        for path in ("/hangtight/models/small/wake", "/api/models/unload/small"):
            found = await get(ours, path, "POST")
            assert (found.status, found.error["code"]) == (404, "model_not_run")
        assert (await get(ours, "/logs/stream")).status == 404

    run(tmp_path, main, steward=False)


# -- put to sleep, woken, stopped -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "done"),
    [
        ("/hangtight/models/small/wake", ("wake", "small")),
        ("/hangtight/models/small/sleep", ("sleep", "small")),
        ("/hangtight/models/small/stop", ("stop", "small")),
        ("/hangtight/models/tiny/wake", ("wake", "small")),
        ("/hangtight/models/org/large/wake", ("wake", "org/large")),
        ("/hangtight/models/org%2Flarge/sleep", ("sleep", "org/large")),
        ("/api/models/unload/org/large", ("stop", "org/large")),
        ("/api/models/unload/tiny", ("stop", "small")),
        ("/api/models/unload", ("unload", "")),
        ("/unload", ("unload", "")),
    ],
)
def test_a_model_is_put_away_and_woken_by_its_name_or_an_alias(
    tmp_path: Path, path: str, done: tuple[str, str]
) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, path, "POST")).status == 200
        assert steward.asked == [done]

    run(tmp_path, main)


def test_the_answer_says_how_it_ended(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        found = await get(ours, "/hangtight/models/small/sleep", "POST")
        told = {"model": "small", "ok": True, "phase": "asleep", "why": "", "took": 0.1}
        assert (found.status, found.json) == (200, told)
        steward.fails = "sleep command timed out after 10s"
        found = await get(ours, "/hangtight/models/small/sleep", "POST")
        assert (found.status, found.json["ok"], found.json["why"]) == (409, False, steward.fails)

    run(tmp_path, main)


def test_all_are_stopped_by_a_get_too_as_in_llama_swap(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, "/unload")).body == b"OK"
        assert steward.asked == [("unload", "")]

    run(tmp_path, main)


def test_who_only_looks_at_the_head_of_unload_stops_nothing(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        reader, writer = await ours.open(b"HEAD /unload HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 405 " in await reader.readline()
        assert steward.asked == []
        writer.close()

    run(tmp_path, main)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/hangtight/models/nobody/wake", 404),
        ("POST", "/hangtight/models/other/wake", 404),  # it is known, and not run here
        ("POST", "/hangtight/models/small/dance", 404),
        ("POST", "/hangtight/models//wake", 404),
        ("POST", "/api/models/unload/nobody", 404),
        ("GET", "/hangtight/models/small/wake", 405),
        ("DELETE", "/hangtight/models/small/stop", 405),
        ("GET", "/api/models/unload", 405),
        ("POST", "/running", 405),
        ("POST", "/logs/stream/small", 405),
        ("GET", "/logs/stream/nobody", 404),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, path, method)).status == status
        assert steward.asked == []

    run(tmp_path, main)


PAGES = [
    ("GET", "/running"),
    ("GET", "/unload"),
    ("POST", "/unload"),
    ("GET", "/logs"),
    ("GET", "/logs/stream"),
    ("GET", "/hangtight/models"),
    ("POST", "/hangtight/models/small/stop"),
    ("POST", "/api/models/unload"),
    ("GET", "/upstream/small/props"),
]


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_where_there_are_keys_all_of_it_wants_one(tmp_path: Path, method: str, path: str) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, path, method)).status == 401
        assert (await get(ours, path, method, authorization="Bearer wrong")).status == 401
        assert steward.asked == []

    run(tmp_path, main, more="apiKeys: [sesame]\n")


def test_with_the_key_it_is_done(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, "/unload", authorization="Bearer sesame")).status == 200
        assert steward.asked == [("unload", "")]

    run(tmp_path, main, more="apiKeys: [sesame]\n")


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_page_of_a_stranger_cannot_have_any_of_it_done(tmp_path: Path, method: str, path: str) -> None:
    """Also where a browser sends no `Origin`: an image whose address is /unload."""

    async def main(ours: Before, steward: Puppeteer) -> None:
        for headers in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}):
            assert (await get(ours, path, method, **headers)).status == 403
        assert steward.asked == []

    run(tmp_path, main)


# -- what they print --------------------------------------------------------------------------------------------------


def test_what_was_printed_lately_is_plain_text(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        found = await get(ours, "/logs")
        assert (found.body, found.headers["content-type"]) == (b"what all said\n", "text/plain; charset=utf-8")

    run(tmp_path, main)


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("/logs/stream", b"what all said\n"),
        ("/logs/stream/small", b"what small said\n"),
        ("/logs/stream/tiny", b"what small said\n"),
        ("/logs/stream/org/large", b"what org/large said\n"),
        ("/logs/stream?no-history", b""),
        ("/logs/stream/small?no-history=1", b""),
    ],
)
def test_the_stream_begins_with_what_was_said_and_goes_on(tmp_path: Path, path: str, begins: bytes) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        steward.news.put_nowait(b"news\n")
        steward.news.put_nowait(None)
        found = await get(ours, path)
        assert (found.status, found.body) == (200, begins + b"news\n")
        assert found.headers["content-type"] == "text/plain; charset=utf-8"
        assert steward.followers == 0

    run(tmp_path, main)


def test_who_leaves_the_stream_of_the_log_is_followed_no_more(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        reader, writer = await ours.open(post("/logs/stream", b"", method="GET"))
        await reader.readuntil(b"said\n")
        assert steward.followers == 1
        writer.close()
        await until(lambda: steward.followers == 0)

    run(tmp_path, main)


def test_a_gateway_that_drains_ends_the_stream_of_the_log(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        reader, writer = await ours.open(post("/logs/stream", b"", method="GET"))
        await reader.readuntil(b"said\n")
        ours.gateway.draining(1.0)
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    run(tmp_path, main)


# -- in lists, events and numbers -------------------------------------------------------------------------------------


def test_the_list_of_models_describes_them_as_llama_swap_does_and_as_we_do(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        found = {each["id"]: each for each in (await get(ours, "/v1/models")).json["data"]}
        about = {"name": "Small One", "description": "It is small.", "capabilities": {"vision": True}}
        meta = {"llamaswap": {"context": 8192}, "hangtight": {**about, "metadata": {"context": 8192}}}
        assert {**about, "meta": meta}.items() <= found["small"].items()
        assert found["org/large"]["meta"] == {"hangtight": {"description": "It is large."}}
        assert set(found["other"]) == {"id", "object", "created", "owned_by"}
        assert (await get(ours, "/v1/models/tiny")).json["name"] == "Small One"

    run(tmp_path, main)


def test_a_change_of_phase_is_an_event(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        reader, writer = await ours.open(post("/hangtight/events?model=small", b"", method="GET"))
        await reader.readuntil(b"retry: 3000\n\n")
        steward.comes("org/large", "starting")
        steward.comes("small", "starting")
        steward.comes("small", "starting")
        steward.comes("small", "ready")
        assert (await told(reader))["phase"] == "starting"
        last = await told(reader)
        assert last == {"model": "small", "phase": "ready", "requests": 0, "waiting": 0, "why": ""}
        writer.close()

    run(tmp_path, main)


async def told(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next event about a model."""
    await reader.readuntil(b"event: model\n")
    line = await reader.readuntil(b"\n\n")
    found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return found


def test_a_change_of_phase_is_counted(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        for phase in ("starting", "ready", "sleeping", "asleep", "waking", "ready"):
            steward.comes("small", phase)
        page = (await get(ours, "/metrics")).body.decode()
        assert 'hangtight_model_phase{model="small",phase="ready"} 1.0' in page
        assert 'hangtight_model_phase{model="small",phase="waking"} 0.0' in page
        assert 'hangtight_model_phase{model="org/large",phase="stopped"} 1.0' in page
        assert 'hangtight_model_phases_total{model="small",phase="ready"} 2.0' in page
        assert 'hangtight_model_phases_total{model="small",phase="starting"} 1.0' in page
        assert 'phase="stopped"} 1.0' not in page.partition("hangtight_model_phases_total")[2]

    run(tmp_path, main)


def test_an_edit_of_the_settings_is_told_to_whoever_runs_them(tmp_path: Path) -> None:
    async def main(ours: Before, steward: Puppeteer) -> None:
        assert (await get(ours, "/health")).status == 200
        before_ = steward.renewed
        (tmp_path / "hangtight.yaml").write_text(MODELS.replace("8192", "4096"))
        await until(lambda: steward.renewed > before_)

    run(tmp_path, main)
