"""Workflows over HTTP: begun, followed, looked at, cancelled; with the real stage, and steps that are commands."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangtight.flows.http_runs import Stage
from hangtight.flows.port import InMemory
from hangtight.journal.reading import Reading, Row
from tests.gateway.behind import PATIENCE, Before, Got, before, post
from tests.gateway.kit import Served
from tests.supervisor.fleets import free_ports

pytestmark = pytest.mark.real
MODELS = "models:\n  small: {proxy: 'http://127.0.0.1:1'}\n"
FLOW = """
steps:
  hello: {tool: "echo hello ${input.who}"}
  wait: {tool: "sleep ${input.long}", after: [hello], timeout: 20}
"""
INPUTS = {"who": "me", "long": "0.05"}
Main = Callable[[Before, Stage], Awaitable[None]]


def run(folder: Path, main: Main, *, more: str = "", staged: bool = True) -> None:
    (folder / "flows").mkdir()
    (folder / "flows" / "notes.yaml").write_text(FLOW)
    (folder / "flows" / "odd.yaml").write_text("steps: 7")
    (folder / "secret.yaml").write_text(FLOW)

    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE), before(folder, more + MODELS) as ours:
            stage = Stage(folder / "flows", folder / "runs")
            if staged:
                ours.gateway.state.stage(stage)
            try:
                await main(ours, stage)
            finally:
                await stage.close()

    asyncio.run(bounded())


async def ask(ours: Before, path: str, method: str = "GET", body: Any = None, **headers: str) -> Got:
    told = b"" if body is None else json.dumps(body).encode()
    return await ours.ask(post(path, told, {name.replace("_", "-"): each for name, each in headers.items()}, method))


async def begun(ours: Before, **inputs: str) -> str:
    found = await ask(ours, "/hangtight/flows/notes", "POST", {**INPUTS, **inputs})
    assert found.status == 202
    assert found.headers["location"] == found.json["url"] == f"/hangtight/runs/{found.json['run']}"
    return str(found.json["run"])


async def ended(ours: Before, key: str) -> dict[str, Any]:
    while (told := (await ask(ours, f"/hangtight/runs/{key}")).json)["outcome"] is None:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return dict(told)


def count_begun(told: dict[str, Any]) -> int:
    """How many of its steps have begun."""
    return sum(step["began"] is not None for step in told["steps"])


def heard(body: bytes) -> list[tuple[str, Any]]:
    """The events of a stream."""
    blocks = [block for block in body.decode().split("\n\n") if block.startswith("event: ")]
    pairs = (block.removeprefix("event: ").split("\ndata: ") for block in blocks)
    return [(name, json.loads(told)) for name, told in pairs]


# -- begun ------------------------------------------------------------------------------------------------------------


def test_a_run_is_begun_and_goes_on_without_whoever_asked(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        key = await begun(ours)
        told = await ended(ours, key)
        assert (told["outcome"], told["flow"], told["error"]) == ("finished", "notes", "")
        assert [(step["step"], step["outcome"]) for step in told["steps"]] == [
            ("hello", "finished"), ("wait", "finished"),
        ]  # fmt: skip
        assert (tmp_path / "runs" / key / "hello.txt").read_text() == "hello me\n"
        assert (told["percent"], told["left"]) == (100, 0)
        assert told["as_of"].startswith("20")
        listed = (await ask(ours, "/hangtight/runs")).json["runs"]
        assert [each["id"] for each in listed] == [key]

    run(tmp_path, main)


def test_who_accepts_events_is_told_all_of_them_to_the_end(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        found = await ask(ours, "/hangtight/flows/notes", "POST", INPUTS, accept="text/event-stream")
        assert (found.status, found.headers["content-type"]) == (200, "text/event-stream")
        names = [name for name, _ in heard(found.body)]
        assert names == ["run_started", *(["step_started", "step_finished"] * 2), "run_finished"]
        assert heard(found.body)[-1][1]["outcome"] == "finished"

    run(tmp_path, main)


def test_a_client_that_leaves_its_stream_ends_nothing(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        body = json.dumps({**INPUTS, "long": "0.4"}).encode()
        asked = post("/hangtight/flows/notes", body, {"accept": "text/event-stream"})
        reader, writer = await ours.open(asked)
        await reader.readuntil(b"step_started")
        writer.close()
        (listed,) = (await ask(ours, "/hangtight/runs")).json["runs"]
        assert (await ended(ours, listed["id"]))["outcome"] == "finished"

    run(tmp_path, main)


def test_settings_of_one_run_stand_in_the_query(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        path = "/hangtight/flows/notes?set=wait.timeout=0.2&total=50"
        found = await ask(ours, path, "POST", {**INPUTS, "long": "9"})
        told = await ended(ours, found.json["run"])
        assert (told["outcome"], told["at_step"]) == ("timeout", "wait")
        assert told["deadline"] is not None
        assert told["steps"][1]["broken_limit"] == "total"
        assert "timed out" in told["error"]

    run(tmp_path, main)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("notes", {}, 400, "bad_flow"),
        ("notes", {**INPUTS, "more": 1}, 400, "bad_flow"),
        ("notes", [1], 400, "bad_inputs"),
        ("notes", {**INPUTS, "who": float("nan")}, 400, "bad_inputs"),
        ("notes?total=soon", INPUTS, 400, "bad_flow"),
        ("notes?total=-1", INPUTS, 400, "bad_flow"),
        ("notes?total=0", INPUTS, 400, "bad_flow"),
        ("notes?total=", INPUTS, 400, "bad_flow"),
        ("notes?total=nan", INPUTS, 400, "bad_flow"),
        ("notes?total=inf", INPUTS, 400, "bad_flow"),
        ("notes?set=", INPUTS, 400, "bad_flow"),
        ("notes?model=@/etc/passwd", INPUTS, 400, "bad_flow"),
        ("notes?set=nobody.total=3", INPUTS, 400, "bad_flow"),
        ("odd", INPUTS, 400, "bad_flow"),
        ("nobody", INPUTS, 404, "flow_not_found"),
        ("..%2Fsecret", INPUTS, 404, "flow_not_found"),
        ("../secret", INPUTS, 404, "flow_not_found"),
        ("notes.yaml", INPUTS, 404, "flow_not_found"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_begins(
    tmp_path: Path, path: str, body: Any, status: int, code: str
) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        for accept in ("*/*", "text/event-stream"):
            found = await ask(ours, f"/hangtight/flows/{path}", "POST", body, accept=accept)
            assert (found.status, found.error["code"]) == (status, code)
        assert stage.shown() == []
        assert not ours.gateway.state.events._listeners

    run(tmp_path, main)


def test_where_there_are_none_that_is_said(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        assert (await ask(ours, "/hangtight/flows")).json == {"flows": []}
        assert (await ask(ours, "/hangtight/runs")).json == {"runs": []}
        assert (await ask(ours, "/hangtight/flows/notes", "POST", INPUTS)).status == 404
        assert (await ask(ours, "/hangtight/runs/x")).status == 404
        assert (await ask(ours, "/hangtight/runs/x", "DELETE")).status == 404
        assert (await ask(ours, "/hangtight/flows/notes")).status == 405

    run(tmp_path, main, staged=False)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "flows/notes"), ("GET", "flows"), ("GET", "runs"), ("GET", "runs/x"), ("DELETE", "runs/x")],
)
def test_where_there_are_keys_all_of_it_wants_one_and_no_page_of_a_stranger_may(
    tmp_path: Path, method: str, path: str
) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        assert (await ask(ours, f"/hangtight/{path}", method, INPUTS)).status == 401
        evil = {"authorization": "Bearer sesame", "origin": "http://evil.example"}
        assert (await ask(ours, f"/hangtight/{path}", method, INPUTS, **evil)).status == 403
        assert stage.shown() == []

    run(tmp_path, main, more="apiKeys: [sesame]\n")


# -- looked at, followed, cancelled -----------------------------------------------------------------------------------


def test_the_flows_are_listed_also_those_that_cannot_be_used(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        notes, odd = (await ask(ours, "/hangtight/flows")).json["flows"]
        assert notes == {"name": "notes", "inputs": ["who", "long"], "steps": ["hello", "wait"], "total": None}
        assert (odd["name"], "odd.yaml" in odd["trouble"]) == ("odd", True)

    run(tmp_path, main)


def test_a_run_is_cancelled_within_a_second_and_what_it_wrote_is_kept(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        key = await begun(ours, long="30")
        while count_begun((await ask(ours, f"/hangtight/runs/{key}")).json) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        found = await ask(ours, f"/hangtight/runs/{key}", "DELETE")
        assert (found.status, found.json["outcome"]) == (200, "cancelled")
        assert (tmp_path / "runs" / key / "hello.txt").exists()
        again = await ask(ours, f"/hangtight/runs/{key}", "DELETE")
        assert (again.status, again.error["code"]) == (404, "run_ended")

    run(tmp_path, main)


def test_a_run_is_cancelled_at_once_after_it_was_begun(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        for _ in range(5):
            key = await begun(ours, long="30")
            found = await ask(ours, f"/hangtight/runs/{key}", "DELETE")
            assert (found.status, found.json["outcome"], found.json["status"]) == (200, "cancelled", "cancelled")
            assert found.json["elapsed"] is not None

    run(tmp_path, main)


def test_what_is_wrong_with_a_total_is_said(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        for odd in ("abc", "-1", "1e999"):
            found = await ask(ours, f"/hangtight/flows/notes?total={odd}", "POST", INPUTS)
            assert f"total='{odd}'" in found.error["message"]
            assert "seconds" in found.error["message"]

    run(tmp_path, main)


def test_runs_beyond_the_bound_wait_for_their_turn_and_can_be_cancelled(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        stage._engine.store = InMemory(at_once=1)
        first, second, third = [await begun(ours, long=long) for long in ("30", "30", "0")]
        while (await ask(ours, f"/hangtight/runs/{first}")).json["status"] != "running":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert (await ask(ours, f"/hangtight/runs/{second}")).json["status"] == "waiting"
        assert (await ask(ours, f"/hangtight/runs/{second}", "DELETE")).json["outcome"] == "cancelled"
        assert (await ask(ours, f"/hangtight/runs/{first}", "DELETE")).json["outcome"] == "cancelled"
        assert (await ended(ours, third))["outcome"] == "finished"

    run(tmp_path, main)


def test_a_run_that_cannot_be_kept_is_refused_and_is_not_there(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        async def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        stage._engine.store.begin = full  # type: ignore[method-assign,assignment]
        for accept in ("*/*", "text/event-stream"):
            found = await ask(ours, "/hangtight/flows/notes", "POST", INPUTS, accept=accept)
            assert (found.status, found.error["code"]) == (503, "run_not_kept")
            assert "No space left" in found.error["message"]
        assert stage.shown() == []
        assert not ours.gateway.state.events._listeners

    run(tmp_path, main)


def test_heartbeats_of_a_run_are_told_in_both_forms_to_the_byte(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        reader, writer = await ours.open(post("/hangtight/events?run=r", b"", method="GET"))
        await reader.readuntil(b"retry: 3000\n\n")
        words = "Still waiting on qwen3-coder:latest... 45s elapsed"
        beat = {"type": "LLM_HEARTBEAT", "payload": words, "run": "r", "flow": "f", "step": "plan", "at": 1.0}
        stage.on_event({**beat, "run": "another"})
        stage.on_event({**beat, "elapsed": 45.0, "model": "qwen3-coder:latest"})
        wanted = b'event: LLM_HEARTBEAT\ndata: {"type": "LLM_HEARTBEAT", "payload": "' + words.encode() + b'"}\n\n'
        assert wanted in await reader.readuntil(wanted)
        writer.close()
        page = (await ask(ours, "/metrics")).body.decode()
        assert 'hangtight_step_heartbeats_total{flow="f",step="plan"} 2.0' in page

    run(tmp_path, main)


def test_runs_and_steps_are_counted(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        await ended(ours, await begun(ours))
        found = await ask(ours, "/hangtight/flows/notes?set=wait.timeout=0.1", "POST", {**INPUTS, "long": "9"})
        await ended(ours, found.json["run"])
        await asyncio.sleep(0.3)
        page = (await ask(ours, "/metrics")).body.decode()
        assert 'hangtight_runs_total{flow="notes",outcome="finished"} 1.0' in page
        assert 'hangtight_runs_total{flow="notes",outcome="timeout"} 1.0' in page
        assert 'hangtight_step_seconds_count{flow="notes",step="hello"} 2.0' in page
        assert 'hangtight_step_timeouts_total{flow="notes",limit="total",step="wait"} 1.0' in page

    run(tmp_path, main)


def test_a_run_that_never_came_to_say_so_ends_for_whoever_follows_it(tmp_path: Path) -> None:
    async def main(ours: Before, stage: Stage) -> None:
        async def broken(*_: object) -> object:
            raise RuntimeError("the store is gone")

        async def begins(*_: object) -> None:
            pass

        stage._engine.store.begin = begins  # type: ignore[method-assign,assignment]
        stage._engine.store.run = broken  # type: ignore[method-assign,assignment]
        found = await ask(ours, "/hangtight/flows/notes", "POST", INPUTS, accept="text/event-stream")
        [(name, told)] = heard(found.body)
        assert (name, told["outcome"], told["error"]) == ("run_finished", "failed", "the store is gone")

    run(tmp_path, main)


def test_what_its_budget_gives_each_step_is_told(tmp_path: Path) -> None:
    flow = """
total: 40
steps:
  first: {tool: "sleep 0", weight: 1}
  second: {tool: "sleep 0", weight: 2, after: [first]}
  last: {tool: "sleep 0", critical: true, after: [second]}
"""

    async def main(ours: Before, stage: Stage) -> None:
        (tmp_path / "flows" / "shared.yaml").write_text(flow)
        found = await ask(ours, "/hangtight/flows/shared", "POST", {}, accept="text/event-stream")
        told = {each["step"]: each for name, each in heard(found.body) if name == "step_started"}
        given = [told[step]["allotted"] for step in told]
        assert given == pytest.approx([8, 16, 40], abs=2), "what the first ones save is for the last"
        (one,) = (await ask(ours, "/hangtight/runs")).json["runs"]
        steps = (await ask(ours, f"/hangtight/runs/{one['id']}")).json["steps"]
        for step in steps:
            assert step["allotted"] == told[step["step"]]["allotted"]
            assert step["share"] == pytest.approx(step["allotted"] / 40, abs=0.001)
        (start,) = (each for name, each in heard(found.body) if name == "run_started")
        assert [start["shares"][step]["allotted"] for step in told] == pytest.approx([8, 16, 16], abs=2)
        without = await ended(ours, await begun(ours))
        assert [(step["allotted"], step["share"]) for step in without["steps"]] == [(None, None)] * 2

    run(tmp_path, main)


def test_steps_to_come_are_there_with_the_share_that_they_would_have(tmp_path: Path) -> None:
    flow = "total: 40\nsteps:\n  nap: {tool: sleep 30}\n  last: {tool: sleep 0, after: [nap], weight: 3}\n"

    async def main(ours: Before, stage: Stage) -> None:
        (tmp_path / "flows" / "long.yaml").write_text(flow)
        key = (await ask(ours, "/hangtight/flows/long", "POST", {})).json["run"]
        while count_begun(told := (await ask(ours, f"/hangtight/runs/{key}")).json) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        nap, last = told["steps"]
        assert [nap["step"], last["step"], last["began"], last["outcome"]] == ["nap", "last", None, None]
        assert (nap["share"], last["share"]) == pytest.approx((0.25, 0.75), abs=0.05)
        assert last["allotted"] == pytest.approx(30, abs=2)
        ended = (await ask(ours, f"/hangtight/runs/{key}", "DELETE")).json
        assert [step["share"] for step in ended["steps"]] == [nap["share"], last["share"]], "they stay at its end"

    run(tmp_path, main)


# -- the real command -------------------------------------------------------------------------------------------------


def test_a_gateway_that_is_killed_goes_on_with_its_runs_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "notes.yaml").write_text(FLOW)
    settings, data = f"flows: flows\n{MODELS}", {"XDG_DATA_HOME": str(tmp_path / "data")}
    with Served(tmp_path, settings, "--drain", "0.2", **data) as served:
        status, told, _ = served.ask("POST", "/hangtight/flows/notes", {**INPUTS, "long": "2"})
        assert status == 202
        while count_begun(served.get(told["url"])) < 2:
            pass
        served.process.kill()
    with Served(tmp_path, settings, "--drain", "0.2", **data) as served:
        while (found := served.get(told["url"]))["outcome"] is None:
            pass
        assert found["outcome"] == "finished"
        steps = {step["step"]: step for step in found["steps"]}
        assert (steps["hello"]["began"], steps["wait"]["outcome"]) == (None, "finished")
    assert "go on where they were" in served.said


def test_a_gateway_that_is_killed_as_soon_as_it_has_said_202_has_kept_the_run(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "notes.yaml").write_text(FLOW)
    settings, data = f"flows: flows\n{MODELS}", {"XDG_DATA_HOME": str(tmp_path / "data")}
    with Served(tmp_path, settings, "--drain", "0.2", **data) as served:
        status, told, _ = served.ask("POST", "/hangtight/flows/notes", INPUTS)
        served.process.kill()
        assert status == 202
    with Served(tmp_path, settings, "--drain", "0.2", **data) as served:
        while (found := served.get(told["url"]))["outcome"] is None:
            pass
        assert found["outcome"] == "finished"
        key = told["run"]
        status, ended, _ = served.ask("DELETE", f"/hangtight/runs/{key}")
        assert (status, ended["error"]["code"]) == (404, "run_ended")
        status, told, _ = served.ask("POST", "/hangtight/flows/notes", {**INPUTS, "long": "30"})
        status, ended, _ = served.ask("DELETE", told["url"])
        assert (status, ended["outcome"]) == (200, "cancelled")


ASKS = """
steps:
  write: {generate: "Write of ${input.it}", model: small, timeout: 60, limits: {idle: 0.7, first_token: 0.7}}
"""


def asking(folder: Path, lab: str) -> str:
    """Settings with a key, and a model that runs only when it is asked, under another name."""
    (folder / "flows").mkdir()
    (folder / "flows" / "asks.yaml").write_text(ASKS)
    command = f"{shlex.quote(sys.executable)} -m hangtight lab serve --port ${{PORT}}"
    return (
        f"flows: flows\napiKeys: [sesame]\nstartPort: {free_ports(1)}\nmodels:\n  small:\n"
        f"    cmd: {json.dumps(command)}\n    proxy: 'http://127.0.0.1:${{PORT}}'\n    useModelName: '{lab}'\n"
    )


def written(served: Served) -> tuple[dict[str, Any], list[Any]]:
    """The run at its end, and the generations that the gateway has seen by then."""
    key = {"authorization": "Bearer sesame"}
    status, told, _ = served.ask("POST", "/hangtight/flows/asks", {"it": "sleep"}, **key)
    assert status == 202, told
    while (found := served.ask("GET", told["url"], **key)[1])["outcome"] is None:
        pass
    return found, served.ask("GET", "/hangtight/generations", **key)[1]["finished"]


def kept(served: Served) -> list[Row]:
    """The generations that the journal has, after the gateway has ended."""
    return Reading(str(served.journal)).calls()


def test_the_models_of_steps_are_asked_of_the_gateway_itself_which_starts_them(tmp_path: Path) -> None:
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with Served(tmp_path, asking(tmp_path, "tiny,tokens=12,rate=200"), "--drain", "0.2", **data) as served:
        found, (seen,) = written(served)
        assert (found["outcome"], found["error"]) == ("finished", "")
        assert (seen["model"], seen["run"], seen["step"]) == ("small", found["id"], "write")
        assert found["steps"][0]["tokens"] == 12
    (row,) = kept(served)
    assert (row.id, row.run, row.step, row.outcome) == (seen["id"], found["id"], "write", "finished")


def test_a_step_whose_model_goes_silent_times_out_by_its_own_clock_also_through_the_gateway(tmp_path: Path) -> None:
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with Served(tmp_path, asking(tmp_path, "hangs,tokens=20,mute=4"), "--drain", "0.2", **data) as served:
        found, (seen,) = written(served)
        assert (found["outcome"], found["steps"][0]["broken_limit"]) == ("timeout", "idle")
        assert "asks.yaml" in found["error"], "the line to change is that of the step"
        assert (seen["outcome"], seen["limit"]) == ("timeout", "idle"), "as for the step, whose clock rings first"
        assert "asks.yaml" in seen["source"]
    (row,) = kept(served)
    assert (row.id, row.run, row.step, row.model) == (seen["id"], found["id"], "write", "small")
    assert (row.outcome, row.broken_limit, row.limits["idle"]["value"]) == ("timeout", "idle", 0.7)
    assert f"hangtight log {row.id[:8]}" in found["error"], "and who follows that finds it"


def test_a_model_that_never_says_anything_is_a_timeout_of_the_step_too(tmp_path: Path) -> None:
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with Served(tmp_path, asking(tmp_path, "says-nothing,silent"), "--drain", "0.2", **data) as served:
        found, (seen,) = written(served)
        assert (found["outcome"], found["steps"][0]["broken_limit"]) == ("timeout", "first_token")
        assert (seen["outcome"], seen["limit"]) == ("timeout", "first_token")
    (row,) = kept(served)
    assert (row.outcome, row.broken_limit, row.step) == ("timeout", "first_token", "write")


def test_a_run_that_is_cancelled_leaves_one_generation_that_was_cancelled(tmp_path: Path) -> None:
    data, key = {"XDG_DATA_HOME": str(tmp_path / "data")}, {"authorization": "Bearer sesame"}
    with Served(tmp_path, asking(tmp_path, "slow,tokens=400,rate=20"), "--drain", "0.2", **data) as served:
        _, told, _ = served.ask("POST", "/hangtight/flows/asks", {"it": "sleep"}, **key)
        while not served.ask("GET", "/hangtight/generations", **key)[1]["generations"]:
            pass
        assert served.ask("DELETE", told["url"], **key)[1]["outcome"] == "cancelled"
    (row,) = kept(served)
    assert (row.run, row.step, row.outcome) == (told["run"], "write", "cancelled")


def test_a_run_whose_model_is_asked_when_the_gateway_is_told_to_end_goes_on_when_it_is_back(tmp_path: Path) -> None:
    data, key = {"XDG_DATA_HOME": str(tmp_path / "data")}, {"authorization": "Bearer sesame"}
    settings = asking(tmp_path, "slow,tokens=40,rate=20")
    with Served(tmp_path, settings, **data) as served:
        _, told, _ = served.ask("POST", "/hangtight/flows/asks", {"it": "sleep"}, **key)
        while not served.ask("GET", "/hangtight/generations", **key)[1]["generations"]:
            pass
    with Served(tmp_path, settings, **data) as served:
        while (found := served.ask("GET", told["url"], **key)[1])["outcome"] is None:
            pass
        assert (found["outcome"], found["steps"][0]["tokens"]) == ("finished", 40)
