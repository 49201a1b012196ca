"""A request for a model that somebody runs: it waits until the server is ready, and holds its place to the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangtight.core.process.facts import Ending
from hangtight.core.timers import Timer
from hangtight.gateway.exchange import Exchange
from hangtight.gateway.readings import GatewayReading
from hangtight.gateway.telling import shown
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
    chat,
    chunk,
    piece,
    post,
    until,
)
from tests.gateway.stewards import Puppeteer, refusal

pytestmark = pytest.mark.real
SIGNS = "proxy_silence: 0.2\nheartbeat: 0.1\n"
SIGN = b": hangtight: still waiting\n\n"
SHOWS = "sendLoadingState: true\n"
BAR = "━━━━━\n"
Main = Callable[[Before, Behind, Puppeteer], Awaitable[None]]


def run(
    folder: Path,
    main: Main,
    serve: Serve | None = None,
    *,
    more: str = "",
    load: float = 30,
    circuit: str = "false",
) -> None:
    """`m` is run by a steward; `other` stands at the same server by itself, and at `gone` is nobody."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), behind(serve or answering) as server:
            at = f'{{proxy: "{server.url}"}}'
            models = f'models: {{m: {at}, other: {at}, gone: {{proxy: "http://127.0.0.1:1"}}}}\n'
            said = f"circuit: {circuit}\nlimits: {{load: {load}, first_token: 9, idle: 9, total: 30, cancel: 0.5}}\n"
            async with before(folder, more + said + models) as ours:
                steward = Puppeteer("m")
                ours.gateway.state.engage(steward)
                await main(ours, server, steward)

    asyncio.run(bounded())


async def answering(talk: Talk) -> None:
    """A stream for who wants one, else a whole answer."""
    while True:
        _, body = await talk.request()
        whole = {"message": {"role": "assistant", "content": "hello"}, "index": 0, "finish_reason": "stop"}
        streams = json.loads(body or b"{}").get("stream")
        talk.say(ANSWERED if streams else answer(json.dumps({"id": "c", "choices": [whole]}).encode()))


def the_one(ours: Before) -> Exchange:
    (exchange,) = ours.gateway.state.exchanges.values()
    return exchange


async def waits(steward: Puppeteer, count: int = 1) -> None:
    await until(lambda: len(steward.waiting) == count)


async def emptied(ours: Before) -> None:
    await until(lambda: not ours.gateway.state.exchanges)


# -- it waits ---------------------------------------------------------------------------------------------------------


def test_a_request_waits_in_phase_loading_with_signs_of_life_and_then_is_answered(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        reader, writer = await ours.open(chat(stream=True))
        await waits(steward)
        assert shown.in_flight(the_one(ours))["phase"] == "loading"
        assert await reader.readuntil(SIGN)
        assert server.talks == []
        steward.is_ready("m")
        assert b"hello" in await reader.readuntil(b"[DONE]")
        await emptied(ours)
        assert steward.given_back == [1]
        writer.close()

    run(tmp_path, main, more=SIGNS)


REQUESTS = {
    "streamed": chat(stream=True),
    "unstreamed": chat(),
    "embeddings": post("/v1/embeddings", b'{"model": "m", "input": "hi"}'),
    "a page": post("/upstream/m/props", b"", method="GET"),
    "a form": post(
        "/v1/audio/transcriptions",
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n',
        {"content-type": "multipart/form-data; boundary=x"},
    ),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_kind_of_request_waits(tmp_path: Path, kind: str) -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(ANSWERED if kind in ("streamed", "unstreamed") else answer(b'{"ok": 1}'))

    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.ask(REQUESTS[kind]))
        await waits(steward)
        assert server.talks == []
        assert shown.in_flight(the_one(ours))["phase"] == "loading"
        steward.is_ready("m")
        assert (await asking).status == 200
        await emptied(ours)
        assert steward.given_back == [1]

    run(tmp_path, main, serve)


def test_a_server_that_is_ready_is_asked_at_once(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        found = await ours.chat(stream=True)
        assert b"hello" in found.body
        await emptied(ours)
        assert (steward.given_back, steward.gave_up) == ([1], 0)

    run(tmp_path, main)


def test_a_model_that_is_not_his_is_none_of_his_business(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        assert (await ours.chat("other", stream=True)).status == 200
        assert steward.places == []

    run(tmp_path, main)


def test_progress_of_the_load_restarts_its_clock(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await waits(steward)
        ((_, who),) = steward.waiting.values()
        assert isinstance(who, GatewayReading)
        machine = who.session.machine
        due = machine.due(Timer.SILENCE)
        await asyncio.sleep(0.01)
        who.loading()
        assert machine.due(Timer.SILENCE) > due
        steward.is_ready("m")
        assert (await asking).status == 200

    run(tmp_path, main)


@pytest.mark.parametrize("stream", [True, False])
def test_the_limit_on_the_load_rings_for_the_request_and_the_load_goes_on(tmp_path: Path, stream: bool) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        found = await ours.chat(stream=stream)
        assert (found.status, found.error["code"], found.error["type"]) == (504, "load", "timeout")
        assert found.headers["x-should-retry"] == "false"
        assert (steward.gave_up, steward.phases["m"]) == (1, "starting")
        steward.is_ready("m")
        assert (await ours.chat(stream=stream)).status == 200
        await emptied(ours)
        assert steward.given_back == [1]

    run(tmp_path, main, load=0.2)


def test_the_wait_of_what_passes_through_is_bounded_too(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        found = await ours.ask(REQUESTS["embeddings"])
        assert (found.status, found.error["code"]) == (504, "load")
        assert steward.gave_up == 1

    run(tmp_path, main, load=0.2)


def test_after_a_sign_of_life_the_limit_on_the_load_is_the_last_event(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        found = await ours.chat(stream=True)
        assert found.status == 200
        assert found.body.startswith(SIGN)
        assert found.error["code"] == "load"
        assert b"[DONE]" not in found.body

    run(tmp_path, main, more=SIGNS, load=0.5)


def test_a_client_that_leaves_waits_no_longer(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        _, writer = await ours.open(chat(stream=True))
        await waits(steward)
        writer.close()
        await emptied(ours)
        assert (steward.gave_up, steward.places, steward.waiting) == (1, [], {})

    run(tmp_path, main)


def test_who_is_let_in_as_it_leaves_gives_its_place_back(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await waits(steward)
        steward.is_ready("m")
        the_one(ours).cancel()
        await asking
        await emptied(ours)
        assert sum(steward.given_back) + steward.gave_up == 1

    run(tmp_path, main)


def test_a_cancelled_request_waits_no_longer(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await waits(steward)
        the_one(ours).cancel()
        assert (await asking).status == 499
        assert (steward.gave_up, steward.places) == (1, [])

    run(tmp_path, main)


# -- it is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [chat(stream=True), chat(), REQUESTS["embeddings"]])
def test_a_refusal_says_when_to_ask_again(tmp_path: Path, request_: bytes) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.refuses = refusal(7.0)
        found = await ours.ask(request_)
        assert (found.status, found.error["code"]) == (503, "not_running")
        assert found.headers["retry-after"] == "7"
        assert server.talks == []
        page = ours.gateway.state.metrics.render().body
        assert b'hangtight_refused_total{reason="not_running"} 1.0' in page

    run(tmp_path, main)


def test_another_model_answers_where_the_server_cannot_be_run(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.refuses = refusal()
        found = await ours.chat(stream=True)
        assert (found.status, found.headers["x-hangtight-model"]) == (200, "other")
        assert b"hello" in found.body
        assert steward.places == []

    run(tmp_path, main, more="modes: {both: {models: [m, other]}}\ndefault_mode: both\n")


def test_a_refusal_counts_for_no_circuit(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.refuses = refusal()
        for _ in range(3):
            assert (await ours.chat()).error["code"] == "not_running"
        steward.refuses = None
        steward.is_ready("m")
        assert (await ours.chat()).status == 200

    run(tmp_path, main, circuit="{in_a_row: 1}")


def test_a_load_that_is_not_waited_for_counts_for_no_circuit(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        for _ in range(3):
            assert (await ours.chat()).error["code"] == "load"
        steward.is_ready("m")
        assert (await ours.chat()).status == 200

    run(tmp_path, main, load=0.1, circuit="{in_a_row: 1}")


# -- it holds its place -----------------------------------------------------------------------------------------------


async def refusing(talk: Talk) -> None:
    await talk.request()
    talk.say(answer(b'{"error": {"message": "no"}}', 500))


async def hanging_up(talk: Talk) -> None:
    await talk.request()


async def silent(talk: Talk) -> None:
    await talk.request()
    await talk.gone()


async def beginning(talk: Talk) -> None:
    await talk.request()
    talk.say(CHUNKED + chunk(piece("hello")))
    await talk.gone()


@pytest.mark.parametrize("serve", [answering, refusing, hanging_up, silent, beginning])
@pytest.mark.parametrize("stream", [True, False])
def test_a_place_is_given_back_once_however_it_ends(tmp_path: Path, serve: Serve, stream: bool) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        await ours.chat(stream=stream, headers={"x-hangtight-total": "0.3"})
        await emptied(ours)
        assert steward.given_back == [1]

    run(tmp_path, main, serve)


@pytest.mark.parametrize(
    ("serve", "limit", "how"),
    [
        (answering, "total", Ending.WELL),
        (silent, "first-token", Ending.SILENT),
        (silent, "total", Ending.OTHER),
        (refusing, "total", Ending.OTHER),
    ],
)
def test_a_place_is_given_back_with_what_the_end_says_of_the_server(
    tmp_path: Path, serve: Serve, limit: str, how: Ending
) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        await ours.chat(stream=True, headers={f"x-hangtight-{limit}": "0.3"})
        await emptied(ours)
        assert steward.places[0].how is how

    run(tmp_path, main, serve)


def test_a_place_is_given_back_where_nobody_listens(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.phases["gone"] = "ready"  # and has gone meanwhile
        found = await ours.chat("gone")
        assert found.status == 502
        await emptied(ours)
        assert steward.given_back == [1]

    run(tmp_path, main)


@pytest.mark.parametrize("stream", [True, False])
def test_a_place_is_given_back_when_the_client_leaves_in_the_middle(tmp_path: Path, stream: bool) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        _, writer = await ours.open(chat(stream=stream))
        await until(lambda: bool(server.talks))
        writer.close()
        await emptied(ours)
        assert steward.given_back == [1]

    run(tmp_path, main, beginning)


def test_each_attempt_has_a_place_of_its_own(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.phases["other"] = "stopped"
        steward.is_ready("m")
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await waits(steward)
        assert steward.given_back == [1]  # the first one has failed, and its place is free before the next is wanted
        steward.is_ready("other")
        assert (await asking).headers["x-hangtight-model"] == "other"
        await emptied(ours)
        assert steward.given_back == [1, 1]

    async def serve(talk: Talk) -> None:
        _, body = await talk.request()
        talk.say(ANSWERED if b'"other"' in body else answer(b"{}", 500))

    run(tmp_path, main, serve, more="modes: {both: {models: [m, other]}}\ndefault_mode: both\n")


def test_who_is_cut_off_in_the_middle_of_an_answer_is_told_why(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await until(lambda: bool(ours.gateway.state.exchanges) and tokens(ours) > 0)
        steward.places[0].who.cut("m: drain timed out after 3s")
        found = await asking
        assert found.status == 200
        assert "m: drain timed out after 3s" in found.error["message"]
        assert b"[DONE]" not in found.body
        await server.talks[0].left.wait()
        await emptied(ours)
        assert steward.given_back == [1]

    run(tmp_path, main, beginning)


async def headed(talk: Talk) -> None:
    """It has begun to answer, and says no word."""
    await talk.request()
    talk.say(CHUNKED + chunk(b": ping\n\n"))
    await talk.gone()


async def cut_off(ours: Before, server: Behind, steward: Puppeteer, at: int) -> None:
    """The server that has the request goes, and the place with it."""
    await until(lambda: len(server.talks) > at and the_one(ours).reading is not None)
    await asyncio.sleep(0.05)  # the answer begins, where there is one
    steward.comes("m", "stopped")
    steward.places[at].who.cut(f"m: process stuck - no output for {at}s")


@pytest.mark.parametrize(
    ("first", "stream"), [(silent, True), (headed, True), (silent, False), (headed, False), (beginning, False)]
)
def test_who_is_cut_off_before_its_client_saw_anything_waits_for_the_next_life(
    tmp_path: Path, first: Serve, stream: bool
) -> None:
    came: list[Talk] = []

    async def serve(talk: Talk) -> None:
        came.append(talk)
        await (first if len(came) == 1 else answering)(talk)

    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        asking = asyncio.ensure_future(ours.chat(stream=stream))
        await cut_off(ours, server, steward, 0)
        await waits(steward)
        steward.is_ready("m")
        found = await asking
        assert (found.status, b"hello" in found.body, b"ping" in found.body) == (200, True, False)
        await emptied(ours)
        assert steward.given_back == [1, 1]

    run(tmp_path, main, serve)


@pytest.mark.parametrize("serve", [silent, headed])
@pytest.mark.parametrize("stream", [True, False])
def test_who_is_cut_off_twice_is_told_why(tmp_path: Path, serve: Serve, stream: bool) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        asking = asyncio.ensure_future(ours.chat(stream=stream))
        await cut_off(ours, server, steward, 0)
        await waits(steward)
        steward.is_ready("m")
        await cut_off(ours, server, steward, 1)
        found = await asking
        assert (found.status, found.error["code"]) == (502, "backend")
        assert "m: process stuck - no output for 1s" in found.error["message"]

    run(tmp_path, main, serve)


@pytest.mark.parametrize("first", [silent, headed])
def test_who_is_cut_off_twice_is_answered_by_another_model(tmp_path: Path, first: Serve) -> None:
    async def serve(talk: Talk) -> None:
        _, body = await talk.request()
        if b'"other"' in body:
            talk.say(ANSWERED)
        elif first is headed:
            talk.say(CHUNKED + chunk(b": ping\n\n"))
        await talk.gone()

    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await cut_off(ours, server, steward, 0)
        await waits(steward)
        steward.is_ready("m")
        await cut_off(ours, server, steward, 1)
        found = await asking
        assert (found.status, found.headers["x-hangtight-model"]) == (200, "other")

    run(tmp_path, main, serve, more="modes: {both: {models: [m, other]}}\ndefault_mode: both\n")


def test_what_generates_nothing_is_cut_off_with_the_reason(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        asking = asyncio.ensure_future(ours.ask(REQUESTS["embeddings"]))
        await cut_off(ours, server, steward, 0)
        found = await asking
        assert found.status == 502
        assert "process stuck" in found.error["message"]

    run(tmp_path, main, silent)


def tokens(ours: Before) -> int:
    reading = the_one(ours).reading
    return 0 if reading is None else reading.session.machine.tokens


def test_being_cut_off_twice_or_too_late_does_no_harm(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        steward.is_ready("m")
        assert (await ours.chat(stream=True)).status == 200
        await emptied(ours)
        steward.places[0].who.cut("late")
        steward.places[0].who.cut("later")
        steward.places[0].who.loading()
        assert (await ours.chat(stream=True)).status == 200

    run(tmp_path, main)


# -- what the client sees of a load -----------------------------------------------------------------------------------


def thoughts(body: bytes) -> str:
    """The reasoning in this stream."""
    found = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: {") and b'"choices"' in line:
            told: dict[str, Any] = json.loads(line[6:])
            found += [choice["delta"].get("reasoning_content", "") for choice in told["choices"]]
    return "".join(found)


def test_a_client_sees_how_the_load_gets_on_where_that_is_wanted(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        reader, writer = await ours.open(chat(stream=True))
        await reader.readuntil(b"loading model: m")
        await reader.readuntil(b'"... ')  # a sign of life, with how long it takes by now
        steward.is_ready("m")
        rest = await reader.readuntil(b"[DONE]")
        assert b"hello" in rest
        assert thoughts(rest.partition(b"\n\n")[2]).endswith(f"s)\n{BAR} \n")
        writer.close()

    run(tmp_path, main, more=SHOWS + SIGNS)


def test_the_banner_of_a_load_is_llama_swaps(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await waits(steward)
        steward.is_ready("m")
        found = await asking
        first, done, *rest = thoughts(found.body).removeprefix(BAR).split("\n")
        assert first == "hangtight loading model: m"
        assert (done[:7], done[-2:]) == ("Done! (", "s)")
        assert "\n".join(rest) == f"{BAR} \n"
        assert b'"role"' not in found.body.partition(b"hello")[0]

    run(tmp_path, main, more=SHOWS)


def test_a_load_that_fails_is_said_and_the_error_follows(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        found = await ours.chat(stream=True)
        assert "Not ready (" in thoughts(found.body)
        assert (found.status, found.error["code"]) == (200, "load")

    run(tmp_path, main, more=SHOWS, load=0.2)


@pytest.mark.parametrize("kind", ["unstreamed", "embeddings"])
def test_only_a_stream_of_chats_has_a_place_for_that(tmp_path: Path, kind: str) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.ask(REQUESTS[kind]))
        await waits(steward)
        steward.is_ready("m")
        assert b"loading model" not in (await asking).body

    run(tmp_path, main, more=SHOWS)


def test_it_is_off_unless_it_is_asked_for_and_a_model_that_is_ready_says_nothing(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        asking = asyncio.ensure_future(ours.chat(stream=True))
        await waits(steward)
        steward.is_ready("m")
        assert b"reasoning" not in (await asking).body
        assert b"reasoning" not in (await ours.chat(stream=True)).body

    run(tmp_path, main)


def test_a_client_that_leaves_during_a_load_that_is_shown_is_told_no_more(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind, steward: Puppeteer) -> None:
        reader, writer = await ours.open(chat(stream=True))
        await reader.readuntil(b"loading model: m")
        writer.close()
        await emptied(ours)
        assert steward.gave_up == 1

    run(tmp_path, main, more=SHOWS)
