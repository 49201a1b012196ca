"""A model that was woken is asked for one token before anybody is let in: one that lost its mind is started anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hangtight.rules.running import Running
from hangtight.supervisor.canary import Canary, strange, text_of
from tests.supervisor.fleets import Stage, staged
from tests.supervisor.kit import run
from tests.supervisor.test_readiness import answer, server

MINDED = Path(__file__).with_name("minded.py")
SLEEPS: Mapping[str, Any] = {
    "sleepMode": "enable", "sleepEndpoints": [{"endpoint": "/sleep"}], "wakeEndpoints": [{"endpoint": "/wake_up"}],
}  # fmt: skip


def minded(*manners: str, **said: Any) -> dict[str, Any]:
    command = f"{sys.executable} -I -S {MINDED} ${{PORT}} {' '.join(manners)}"
    return {"cmd": command, "proxy": "http://127.0.0.1:${PORT}", **SLEEPS, "canary": True, **said}


async def slept_and_woken(stage: Stage) -> Mapping[str, Any]:
    (await stage.held("a")).end()
    assert (await stage.fleet.put("a", "sleep"))["ok"]
    return await stage.fleet.put("a", "wake")


# -- what is no sound answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "remembered", "is_sound"),
    [
        (" 8", " 8", True),
        (" 8", None, True),
        ("", None, False),
        ("", " 8", False),
        ("", "", True),  # a parser of thoughts keeps the one token for itself, and did so when all was well
        ("!!!!", None, False),
        ("!", None, True),
        ("!", " 8", False),
        ("\ufffd", None, False),
        ("!!!!", "!!!!", True),
        ("eight", " 8", False),
    ],
)
def test_an_answer_is_sound_that_is_the_one_remembered_or_at_least_no_rubbish(
    said: str, remembered: str | None, is_sound: bool
) -> None:
    assert (strange(said, remembered) == "") is is_sound


def test_a_long_answer_is_told_in_short() -> None:
    assert len(strange("x" * 10_000, " 8")) < 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": [{"text": " 8"}]}, " 8"),
        ({"choices": [{"message": {"content": "8"}}]}, "8"),
        ({"choices": [{"message": {"content": None, "reasoning_content": "Let"}}]}, "Let"),
        ({"choices": [{"message": {}}]}, ""),
        ({"choices": []}, None),
        ({"choices": [None]}, None),
        ({"error": {"message": "no"}}, None),
        ([], None),
    ],
)
def test_the_text_of_an_answer_is_what_the_model_said_or_thought(body: object, text: str | None) -> None:
    assert text_of(json.dumps(body).encode()) == text


def test_what_is_no_json_has_no_text() -> None:
    assert text_of(b"<html>") is None


# -- asking -----------------------------------------------------------------------------------------------------------


def told(text: str) -> bytes:
    return answer(200, json.dumps({"choices": [{"text": text}]}).encode())


def asked_of(port: int, **said: Any) -> Running:
    return Running(name="m", command=("serve",), proxy=f"http://127.0.0.1:{port}/", **said)


def test_it_is_remembered_as_soon_as_the_server_takes_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangtight.supervisor.canary.AGAIN", 0.01)

    async def scene() -> None:
        canary = Canary()
        async with server(answer(503), answer(503), told(" 8"), told(" 8"), told(" 9")) as (port, asked):
            assert await canary.remember(asked_of(port)) == ""
            assert asked() == 3
            assert await canary.trouble(asked_of(port)) == ""
            assert await canary.trouble(asked_of(port)) == "answered ' 9', and after its start ' 8'"

    run(scene())


@pytest.mark.parametrize("given", [answer(500), answer(200, b'{"error": {}}'), b"", b"SSH-2.0\r\n\r\n"])
def test_an_error_is_trouble_whatever_was_remembered(given: bytes) -> None:
    async def scene() -> None:
        canary = Canary()
        async with server(given) as (port, _):
            assert await canary.trouble(asked_of(port)) != ""

    run(scene())


def test_a_server_that_has_none_of_the_ways_has_nothing_to_remember() -> None:
    async def scene() -> None:
        async with server(answer(404)) as (port, asked):
            assert await Canary().remember(asked_of(port)) == "/v1/chat/completions was answered 404"
            assert asked() == 2

    run(scene())


# -- with a real process ----------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("manner", ["", "chat"])
def test_a_model_that_wakes_as_it_was_is_let_be(tmp_path: Path, manner: str) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded(manner, useModelName="b")}) as stage:
            assert (await slept_and_woken(stage))["ok"]
            assert stage.starts("a") == 1
            assert '"model": "b", "max_tokens": 1, "temperature": 0' in stage.log("a")

    run(scene())


@pytest.mark.real
@pytest.mark.parametrize(
    ("manner", "why"),
    [
        ("lost", "canary: answered one character again and again: '!!!!'"),
        ("silent", "canary: /v1/completions was answered 500"),
    ],
)
def test_one_that_wakes_as_another_is_started_anew_before_anybody_is_let_in(
    tmp_path: Path, manner: str, why: str
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded(manner)}) as stage:
            woken = await slept_and_woken(stage)
            assert (woken["ok"], woken["phase"]) == (False, "ready")
            assert stage.starts("a") == 2
            assert f"[ERROR] <a> cmdWake failed, restarting process: {why}\n" in stage.log("a")
            assert "Model wake completed" not in stage.log("a")

    run(scene())


@pytest.mark.real
def test_without_a_canary_nobody_asks(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded("lost", canary=False)}) as stage:
            assert (await slept_and_woken(stage))["ok"]
            assert "/v1/" not in stage.log("a")

    run(scene())


@pytest.mark.real
def test_a_server_that_cannot_be_asked_is_told_about_at_its_start(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded("mute")}) as stage:
            (await stage.held("a")).end()
            assert "[WARN]  <a> canary: /v1/chat/completions was answered 404; there is nothing" in stage.log("a")

    run(scene())
