"""Models that are a process for each request, through `hangtight serve`: real processes, and OpenAI's own client."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.kit import PATIENCE, Served
from tests.supervisor.fleets import free_ports
from tests.supervisor.kit import is_gone, listed, soon

pytestmark = pytest.mark.real

QUESTION: Any = [{"role": "user", "content": "Why is the sky blue?"}]
TALK: Any = [{"role": "system", "content": "Be short."}, *QUESTION]
LAB = f"{shlex.quote(sys.executable)} -m hangtight lab child"
SHOWS_ITS_FAMILY = "sleep 600 & echo $$ $! > {pids}; echo hello; exec sleep 600"
WAITS = "echo one; while [ ! -e {gate} ]; do sleep 0.02; done; echo two"

SETTINGS = """\
limits: {{first_token: 20, idle: 20, cancel: 10}}
models:
  stdin: {{kind: process, cmd: cat}}
  prompt: {{kind: process, cmd: "printf %s ${{PROMPT}}"}}
  message: {{kind: process, cmd: "printf %s ${{MESSAGE}}"}}
  waits: {{kind: process, cmd: {waits}}}
  family: {{kind: process, cmd: {family}}}
  mute: {{kind: process, cmd: {family}, limits: {{idle: 0.5}}}}
  fails: {{kind: process, cmd: {fails}}}
  breaks: {{kind: process, cmd: "{lab} --tokens 9 --rate 100 --die-after 3 --exit-code 7 --stderr boom"}}
  loads: {{kind: process, cmd: "{lab} --load 2.5 --load-progress --tokens 2", limits: {{first_token: 1.5, cold: null}}}}
  silent: {{kind: process, cmd: {silent}, limits: {{first_token: 0.8, cold: 15}}}}
  missing: {{kind: process, cmd: no-such-program-anywhere}}
  served: {{cmd: "{server} --port ${{PORT}}"}}
groups:
  small:
    members: [stdin, prompt, message, mute, fails, breaks, loads, silent, missing]
    swap: false
    exclusive: false
  together: {{members: [waits, family, served]}}
startPort: {port}
"""


def sh(script: str) -> str:
    """A command of the settings that runs it."""
    return json.dumps(f"/bin/sh -c {shlex.quote(script)}")


def settings(folder: Path) -> str:
    return SETTINGS.format(
        waits=sh(WAITS.format(gate=folder / "gate")),
        family=sh(SHOWS_ITS_FAMILY.format(pids=folder / "pids")),
        fails=sh("echo out of memory >&2; exit 3"),
        silent=sh("sleep 1.5; echo awake"),
        lab=LAB,
        server=f"{shlex.quote(sys.executable)} -m hangtight.testing.lab",
        port=free_ports(1),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("talking")
    with Served(folder, settings(folder), XDG_DATA_HOME=str(folder)) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.openai, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def pids(served: Served) -> Path:
    path = served.folder / "pids"
    path.unlink(missing_ok=True)
    return path


def answer(client: openai.OpenAI, model: str, messages: Any = QUESTION) -> str:
    return client.chat.completions.create(model=model, messages=messages).choices[0].message.content or ""


def streamed(client: openai.OpenAI, model: str, messages: Any = QUESTION) -> Generator[str]:
    with client.chat.completions.create(model=model, messages=messages, stream=True) as chunks:
        for chunk in chunks:
            if text := chunk.choices[0].delta.content:
                yield text


def run_at(served: Served, model: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = served.get("/hangtight/models")["models"]
    return next(each for each in found if each["model"] == model)


def remarks(served: Served) -> str:
    """What the gateway's journal says about cancelled requests."""
    with closing(sqlite3.connect(f"file:{served.journal}?mode=ro", uri=True)) as opened:
        return " ".join(str(row) for row in opened.execute("SELECT told FROM decisions"))


# -- what it is asked -------------------------------------------------------------------------------------------------


def test_a_command_without_a_place_for_the_prompt_gets_it_on_stdin(client: openai.OpenAI) -> None:
    assert answer(client, "stdin") == QUESTION[0]["content"]


def test_a_prompt_longer_than_a_pipe_comes_whole_on_stdin(client: openai.OpenAI) -> None:
    long = "the sky " * 50_000
    assert answer(client, "stdin", [{"role": "user", "content": long}]) == long


def test_a_prompt_too_long_for_a_command_is_refused_with_the_reason(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        answer(client, "prompt", [{"role": "user", "content": "the sky " * 50_000}])
    assert "too long" in str(refused.value)


def test_a_conversation_or_its_last_message_stands_in_the_command(client: openai.OpenAI) -> None:
    assert answer(client, "prompt", TALK) == "system: Be short.\nuser: Why is the sky blue?\nassistant:"
    assert answer(client, "message", TALK) == "Why is the sky blue?"


def test_a_completion_works_streamed_and_not(client: openai.OpenAI) -> None:
    assert client.completions.create(model="prompt", prompt="Once").choices[0].text == "Once"
    chunks = client.completions.create(model="prompt", prompt="Once", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Once"


def test_what_is_no_text_is_refused(served: Served) -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    status, told, _ = served.ask("POST", "/v1/chat/completions", {"model": "prompt", "messages": image})
    assert (status, told["error"]["code"]) == (400, "bad_request")
    assert served.ask("POST", "/v1/embeddings", {"model": "prompt", "input": "x"})[0] == 404


# -- how it answers ---------------------------------------------------------------------------------------------------


def test_text_is_passed_on_as_the_process_prints_it(served: Served, client: openai.OpenAI) -> None:
    gate = served.folder / "gate"
    gate.unlink(missing_ok=True)
    texts = streamed(client, "waits")
    assert next(texts) == "one\n"
    gate.touch()
    assert "".join(texts) == "two\n"


def test_the_whole_answer_ends_with_a_reason(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="stdin", messages=QUESTION, stream=True))
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert chunks[0].model == "stdin"


def test_many_requests_are_as_many_processes(client: openai.OpenAI) -> None:
    each = [streamed(client, "stdin", [{"role": "user", "content": f"number {number}"}]) for number in range(4)]
    assert ["".join(texts) for texts in each] == [f"number {number}" for number in range(4)]


def test_a_load_that_shows_its_progress_may_take_longer_than_the_first_token(client: openai.OpenAI) -> None:
    assert answer(client, "loads")
    assert "".join(streamed(client, "loads"))


def test_each_request_has_the_allowance_for_a_load_that_nobody_sees(client: openai.OpenAI) -> None:
    assert [answer(client, "silent") for _ in range(2)] == ["awake\n", "awake\n"]


# -- when it fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
def test_a_process_that_fails_before_its_first_word_is_a_502_with_what_it_said(
    client: openai.OpenAI, streams: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        client.chat.completions.create(model="fails", messages=QUESTION, stream=streams)
    assert failed.value.status_code == 502
    assert "exit code 3" in str(failed.value)
    assert "out of memory" in str(failed.value)


def test_a_process_that_fails_in_the_middle_ends_the_stream_with_an_error(client: openai.OpenAI) -> None:
    texts = streamed(client, "breaks")
    assert next(texts)
    with pytest.raises(openai.APIError, match="exit code 7"):
        "".join(texts)


def test_a_program_that_does_not_exist_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="no-such-program-anywhere: no such program"):
        answer(client, "missing")


# -- its end ----------------------------------------------------------------------------------------------------------


def test_when_the_client_leaves_the_process_and_its_children_end(
    served: Served, client: openai.OpenAI, pids: Path
) -> None:
    texts = streamed(client, "family")
    assert next(texts) == "hello\n"
    running = listed(pids)
    assert run_at(served, "family")["requests"] == 1
    texts.close()
    assert soon(lambda: all(map(is_gone, running)))
    assert soon(lambda: run_at(served, "family")["phase"] == "stopped")


def test_when_a_limit_rings_the_process_and_its_children_end_and_the_gateway_has_seen_it(
    served: Served, client: openai.OpenAI, pids: Path
) -> None:
    with pytest.raises(openai.APIError, match="stuck"):
        "".join(streamed(client, "mute"))
    running = listed(pids)
    assert soon(lambda: all(map(is_gone, running)))
    assert soon(lambda: "the server has stopped (llama.cpp /slots" in remarks(served))
    assert soon(lambda: run_at(served, "mute")["phase"] == "stopped")


# -- beside others ----------------------------------------------------------------------------------------------------


def test_a_server_of_its_group_goes_before_a_process_comes_and_comes_back_afterwards(
    served: Served, client: openai.OpenAI
) -> None:
    (served.folder / "gate").touch()
    assert answer(client, "served")
    pid = run_at(served, "served")["pid"]
    assert answer(client, "waits") == "one\ntwo\n"
    assert is_gone(pid)
    assert answer(client, "served")
    assert run_at(served, "waits")["phase"] == "stopped"


def test_a_server_of_its_group_waits_until_the_process_has_ended(served: Served, client: openai.OpenAI) -> None:
    gate = served.folder / "gate"
    gate.unlink(missing_ok=True)
    served.ask("POST", "/api/models/unload/served")
    texts = streamed(client, "waits")
    assert next(texts) == "one\n"
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(answer, client, "served")
        assert soon(lambda: run_at(served, "served")["waiting"] == 1)
        assert (run_at(served, "served")["phase"], run_at(served, "waits")["requests"]) == ("stopped", 1)
        gate.touch()
        assert "".join(texts) == "two\n"
        assert asked.result(PATIENCE)
    assert run_at(served, "waits")["phase"] == "stopped"


def is_echoed(client: openai.OpenAI) -> bool | None:
    """None for a request that was on its way while the settings changed."""
    try:
        return bool(answer(client, "a") == QUESTION[0]["content"])
    except openai.InternalServerError:
        return None


def test_a_server_becomes_a_process_and_back_when_the_file_says_so(tmp_path: Path) -> None:
    lab = f"{shlex.quote(sys.executable)} -m hangtight.testing.lab --port ${{PORT}}"
    as_server = f'startPort: {free_ports(1)}\nmodels: {{a: {{cmd: "{lab}"}}}}\n'
    as_process = 'models: {a: {kind: process, cmd: "printf %s ${MESSAGE}"}}\n'
    with (
        Served(tmp_path, as_server, XDG_DATA_HOME=str(tmp_path)) as served,
        openai.OpenAI(base_url=served.openai, api_key="none", max_retries=0) as client,
    ):
        assert answer(client, "a")
        pid = run_at(served, "a")["pid"]
        (tmp_path / "hangtight.yaml").write_text(as_process)
        assert soon(lambda: is_echoed(client) is True)
        assert is_gone(pid)
        (tmp_path / "hangtight.yaml").write_text(as_server)
        assert soon(lambda: is_echoed(client) is False)


def test_a_gateway_that_ends_takes_its_processes_with_it(tmp_path: Path) -> None:
    with (
        Served(tmp_path, settings(tmp_path), "--drain", "0.2", XDG_DATA_HOME=str(tmp_path)) as served,
        openai.OpenAI(base_url=served.openai, api_key="none", max_retries=0) as client,
    ):
        texts = streamed(client, "family")
        assert next(texts) == "hello\n"
        running = listed(tmp_path / "pids")
        served.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="not whole"):
            "".join(texts)
        served.process.wait(PATIENCE)
        assert all(map(is_gone, running))
    assert not list((tmp_path / "hangtight").glob("processes/*.json")), "nothing is left to be found"


def test_nothing_survives_when_the_gateway_is_killed(tmp_path: Path) -> None:
    with (
        Served(tmp_path, settings(tmp_path), XDG_DATA_HOME=str(tmp_path)) as served,
        openai.OpenAI(base_url=served.openai, api_key="none", max_retries=0) as client,
    ):
        texts = streamed(client, "family")
        assert next(texts) == "hello\n"
        running = listed(tmp_path / "pids")
        os.kill(served.process.pid, signal.SIGKILL)
        assert soon(lambda: all(map(is_gone, running)))
        texts.close()
