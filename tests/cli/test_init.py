"""`hangtight init`: what is found becomes a file that is fine, serves, and never takes the place of another one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.cli import initializing
from hangtight.cli.first_file import Found, Seen, first_file
from hangtight.cli.initializing import _of_tags, survey
from hangtight.cli.sizes import OVER_20B, TO_20B, UNDER_7B, Clocks, Sized, size_of
from hangtight.drivers import servers
from hangtight.rules.loading import check
from hangtight.rules.settings import Settings
from hangtight.testing.lab import Lab
from tests.cli.kit import EVIL, SOURCES, command, visible

OLLAMA = "http://127.0.0.1:11434"
VLLM = "http://127.0.0.1:8000/v1"
SMALL, MIDDLE, LARGE = Sized("qwen3:1.7b", 2.0, "x"), Sized("mistral", 7.2, "x"), Sized("gpt-oss-120b", 116.8, "x")
UNKNOWN = Sized("my-own:latest")


def settings_of(text: str, folder: Path) -> Settings:
    """The file, read as `hangtight check` reads it: nothing in it is wrong, and all of it does something."""
    (folder / "hangtight.yaml").write_text(text, encoding="utf-8")
    found = check(Path("hangtight.yaml"), folder=folder, home=folder)
    assert found.remarks == ()
    return found


# Sizes


@pytest.mark.parametrize(
    ("name", "told", "billions", "clocks"),
    [
        ("qwen3:1.7b", "", 1.7, UNDER_7B),
        ("smollm2-360m", "", 0.36, UNDER_7B),
        ("mistral-7b-instruct", "", 7.0, TO_20B),
        ("gpt-oss-20b", "", 20.0, TO_20B),
        ("gpt-oss:20b", "20.9B", 20.9, OVER_20B),
        ("qwen3-30b-a3b", "", 30.0, OVER_20B),
        ("mixtral:8x7b", "", 56.0, OVER_20B),
        ("gemma3n:e4b", "", 4.0, UNDER_7B),
        ("qwen3-coder:latest", "30.5B", 30.5, OVER_20B),
        ("nomic-embed-text", "137M", 0.137, UNDER_7B),
        ("qwen2.5-coder", "", None, TO_20B),
        ("llama3.1", "a lot", None, TO_20B),
        ("v2b-turbo", "", None, TO_20B),
    ],
)
def test_the_size_of_a_model_says_how_long_it_may_sleep_and_wake(
    name: str, told: str, billions: float | None, clocks: Clocks
) -> None:
    found = size_of(name, told)
    assert found.billions == (None if billions is None else pytest.approx(billions))
    assert found.clocks == clocks


def test_the_table_is_the_one_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    for each in (UNDER_7B, TO_20B, OVER_20B):
        assert f"| {each.sizes} | {each.sleep} | {each.wake} |" in page


@pytest.mark.parametrize(
    "tags",
    [
        None, [], {}, {"models": None}, {"models": [1, None, {}]}, {"models": [{"name": "m"}]},
        {"models": [{"name": "m", "details": "7B"}]}, {"models": [{"name": 1, "details": {"parameter_size": "7B"}}]},
        {"models": [{"name": "m", "details": {"parameter_size": 7}}]},
    ],
)  # fmt: skip
def test_a_server_that_says_nothing_of_sizes_is_no_trouble(tags: object) -> None:
    assert _of_tags(tags) == {}


# The file


def test_models_of_several_servers_are_named_with_their_server_and_in_modes_by_size(tmp_path: Path) -> None:
    seen = Seen((Found(OLLAMA, "Ollama", (SMALL, MIDDLE, UNKNOWN)), Found(VLLM, "vLLM", (LARGE, SMALL), True)))
    found = settings_of(first_file(seen), tmp_path)
    proxies = {name: found.proxy(name) for name in found.served()}
    vllm = VLLM.removesuffix("/v1")
    assert proxies == {SMALL.name: OLLAMA, MIDDLE.name: OLLAMA, UNKNOWN.name: OLLAMA, LARGE.name: vllm}
    assert found.canonical("my-own") == "my-own:latest"
    assert found.modes["fast"].models == (SMALL.name,)
    assert found.modes["deep"].models == (LARGE.name, MIDDLE.name, SMALL.name)
    text = first_file(seen)
    assert "size not known" in text
    assert "${env.OPENAI_API_KEY}" in text


def test_the_defaults_are_there_to_be_changed(tmp_path: Path) -> None:
    text = first_file(Seen((Found(OLLAMA, "Ollama", (SMALL, LARGE)),)))
    opened = re.sub(r"^# (limits:|  (?:first_token|idle|total):)", r"\1", text, flags=re.MULTILINE)
    opened = re.sub(
        r"^    # (cmd(?:Sleep|Wake)Timeout)", r"    cmd: serve ${PORT}\n    \1", opened, count=1, flags=re.MULTILINE
    )
    opened = opened.replace("    # cmdWakeTimeout", "    cmdWakeTimeout", 1)
    (tmp_path / "hangtight.yaml").write_text(opened, encoding="utf-8")
    found = check(Path("hangtight.yaml"), folder=tmp_path, home=tmp_path)
    assert dict(found.below[0].values) | {"first_token": 45, "idle": 45, "total": 600} == dict(found.below[0].values)
    assert found.run_models() == (SMALL.name,)


def test_the_models_that_are_shown_behind_a_mark_can_be_had_by_taking_it_away(tmp_path: Path) -> None:
    text = first_file(Seen())
    at = text.index("# models:")
    settings_of(text[:at] + re.sub(r"^# ?", "", text[at:], flags=re.MULTILINE), tmp_path)


def test_a_server_without_names_is_asked_for_every_name(tmp_path: Path) -> None:
    seen = Seen((Found(VLLM, "llama.cpp"), Found(OLLAMA, "Ollama", (SMALL,)), Found("http://127.0.0.1:1", "x")))
    found = settings_of(first_file(seen), tmp_path)
    assert found.proxy("whatever") == VLLM.removesuffix("/v1")
    assert found.proxy(SMALL.name) == OLLAMA


def test_where_nothing_is_found_the_file_is_fine_and_names_no_server(tmp_path: Path) -> None:
    text = first_file(Seen((), (("http://127.0.0.1:8000", "asks for a key"),)))
    assert settings_of(text, tmp_path).served() == ()
    assert "# left out: http://127.0.0.1:8000: asks for a key" in text.replace("  #", "#")


NAMES = st.text(max_size=20) | st.sampled_from(
    ["*", "${PORT}", "true", "null", "~", "1", "a: b", "- x", "x #y", "x:latest"]
)


@given(st.lists(st.tuples(NAMES, st.none() | st.floats(0.1, 900)), max_size=8))
def test_whatever_the_models_are_called_the_file_is_fine(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, float | None]]
) -> None:
    models = tuple({name: Sized(name, size, "x") for name, size in names}.values())
    text = first_file(Seen((Found(OLLAMA, "Ollama", models), Found(VLLM, "vLLM", models))))
    found = settings_of(text, tmp_path_factory.mktemp("named"))
    odd = {"", *(name for name in dict(names) if "*" in name or "${" in name)}
    wanted = {name for name in dict(names) if name.isprintable() and name == name.strip()} - odd
    assert set(found.served()) == wanted


def test_the_lines_are_not_too_wide_to_be_read() -> None:
    seen = Seen((Found(OLLAMA, "Ollama", (SMALL, MIDDLE, LARGE, UNKNOWN)),))
    assert max(map(len, first_file(seen).splitlines())) <= 120


def test_more_models_than_a_file_may_have_are_left_out_and_counted(tmp_path: Path) -> None:
    many = tuple(Sized(f"model-{number}-{number % 90 + 1}b", number % 90 + 1.0, "x") for number in range(5000))
    seen = Seen((Found(OLLAMA, "Ollama", many), Found(VLLM, "vLLM", (LARGE, SMALL))))
    text = first_file(seen)
    found = settings_of(text, tmp_path)
    written = len(found.served())
    assert 100 < written < 5000
    assert f"left out, because a file may not be larger: {5000 - written} more" in text
    assert "left out, because a file may not be larger: 2 more" in text
    assert '"*"' not in text, "a server with names is no server without"
    assert {*found.modes["fast"].models, *found.modes["deep"].models} <= set(found.served())


# A server that was named


@contextmanager
def answering(status: int = 200, body: bytes = b"", *, hangs: bool = False) -> Iterator[str]:
    """The address of a server that says this to everything; or, byte by byte, nothing that ends."""
    over = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body) or 100))
            self.end_headers()
            try:
                self.wfile.write(body)
                while hangs and not over.wait(0.05):
                    self.wfile.write(b" ")
            except OSError:
                pass

        def log_message(self, *words: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        serving = Thread(target=listening.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            over.set()
            listening.shutdown()
            serving.join()


@pytest.mark.real
@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, b"{}", "HTTP 401: give its key as $OPENAI_API_KEY, with --url"),
        (500, b"{}", "HTTP 500"),
        (404, b"{}", "HTTP 404"),
        (200, b"<html>Hello</html>", "what came is no such list"),
        (200, b" " * (5 << 20), None),
    ],
)
def test_a_server_that_lists_no_models_is_left_out_and_it_is_told_why(
    status: int, body: bytes, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with answering(status, body) as url:
        seen = asyncio.run(survey((url,)))
    assert seen.servers == ()
    [(where, told)] = seen.elsewhere
    assert where == url
    assert told.startswith("answers, but lists no models: ")
    assert why is None or told.endswith(f": {why}")
    assert settings_of(first_file(seen), tmp_path).served() == ()


@pytest.mark.real
def test_a_list_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOOK_NAMED", 0.2)
    monkeypatch.setattr(initializing, "LOOK_NAMED", 0.2)
    with answering(hangs=True) as url:
        seen = asyncio.run(survey((url,)))
    assert seen == Seen((), ((url, "answers, but lists no models: its list did not come within 0.2 s"),))


@pytest.mark.real
def test_an_empty_list_is_a_list_and_names_stay_on_their_line(tmp_path: Path) -> None:
    with answering(200, b'{"object": "list", "data": []}') as url:
        told = command(tmp_path, "init", "--url", url, "--output", "empty.yaml")
        assert "no model yet" in told.stderr
    assert '"*":' in (tmp_path / "empty.yaml").read_text(encoding="utf-8")
    with answering(200, json.dumps({"object": "list", "data": [{"id": EVIL}, {"id": "m"}]}).encode()) as url:
        told = command(tmp_path, "init", "--url", url)
    assert visible(told.stderr)
    assert [line.partition(" ")[0] for line in told.stderr.splitlines()] == ["found", "wrote", "to"]


@pytest.mark.real
def test_how_many_models_are_left_out_is_said(tmp_path: Path) -> None:
    listed = json.dumps({"object": "list", "data": [{"id": f"model-{number}"} for number in range(5000)]}).encode()
    with answering(200, listed) as url:
        told = command(tmp_path, "init", "--url", url)
    assert re.search(r"^left out \d+ of them: ", told.stderr, re.MULTILINE), told.stderr
    assert command(tmp_path, "check", "hangtight.yaml").returncode == 0


# The command


@pytest.mark.real
def test_what_a_server_has_is_written_checked_and_served(tmp_path: Path) -> None:
    with Lab() as lab:
        told = command(tmp_path, "init", "--url", lab.url)
        assert told.returncode == 0, told.stderr
        assert told.stdout == ""
        assert "hangtight serve --config hangtight.yaml" in told.stderr
        checked = command(tmp_path, "check", "hangtight.yaml")
        assert (checked.returncode, len(checked.stdout.splitlines())) == (0, 1)
        assert _served(tmp_path) >= {"qwen3-coder", "qwen3:1.7b"}


def _served(folder: Path) -> set[str]:
    """The models that `hangtight serve` lists with the file that was written."""
    serving = subprocess.Popen(
        [sys.executable, "-m", "hangtight", "serve", "--config", "hangtight.yaml", "--port", "0"],
        cwd=folder, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder)},
    )  # fmt: skip
    try:
        assert serving.stderr is not None
        address = next(found[1] for line in serving.stderr if (found := re.search(r"serves at (\S+)", line)))
        with urllib.request.urlopen(f"{address}/v1/models", timeout=10) as answer:
            return {each["id"] for each in json.load(answer)["data"]}
    finally:
        serving.terminate()
        serving.communicate(timeout=20)


@pytest.mark.real
def test_json_tells_what_was_found_and_stdout_has_the_file(tmp_path: Path) -> None:
    with Lab() as lab:
        told = json.loads(command(tmp_path, "init", "--url", lab.url, "--json", "--output", "own.yaml").stdout)
        printed = command(tmp_path, "init", "--url", lab.url, "--stdout")
    assert told["file"] == "own.yaml"
    [server] = told["servers"]
    assert (server["url"], server["kind"]) == (lab.url, "Ollama")
    first = next(each for each in server["models"] if each["name"] == "qwen3-coder")
    assert (first["billions"], first["cmdSleepTimeout"], first["cmdWakeTimeout"]) == (7.0, 60, 60)
    assert printed.stderr == ""
    assert printed.stdout == (tmp_path / "own.yaml").read_text(encoding="utf-8").replace(
        "own.yaml      ", "hangtight.yaml"
    )
    assert not (tmp_path / "hangtight.yaml").exists()
    assert visible(printed.stdout)


@pytest.mark.real
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_already_is_left_as_it_is(kind: str, tmp_path: Path) -> None:
    there = tmp_path / "hangtight.yaml"
    if kind == "file":
        there.write_text("heartbeat: 3\n")
    elif kind == "folder":
        there.mkdir()
    else:
        there.symlink_to(tmp_path / "nowhere")
    told = command(tmp_path, "init")
    assert told.returncode == 1
    assert str(there) in told.stderr
    assert "Traceback" not in told.stderr
    assert ("is a folder" in told.stderr) == (kind == "folder")
    if kind == "file":
        assert there.read_text() == "heartbeat: 3\n"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.real
def test_a_place_that_cannot_be_written_and_a_command_that_cannot_be_meant_are_told(tmp_path: Path) -> None:
    with Lab() as lab:
        told = command(tmp_path, "init", "--url", lab.url, "--output", "not/there/hangtight.yaml")
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    for words in (("--url", "ftp://x"), ("--stdout", "--json"), ("--output", "")):
        told = command(tmp_path, "init", *words)
        assert (told.returncode, "Traceback" in told.stderr) == (2, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_a_server_that_is_not_there_leaves_a_file_that_works(tmp_path: Path) -> None:
    told = command(tmp_path, "init", "--url", "http://127.0.0.1:9")
    assert told.returncode == 0
    assert "no model server found" in told.stderr
    assert "http://127.0.0.1:9: nothing there" in told.stderr
    assert command(tmp_path, "check", "hangtight.yaml").returncode == 0
    assert "Example:" in command(tmp_path, "init", "--help").stdout


@pytest.mark.parametrize("status", [200, 401])
def test_a_gateway_at_its_usual_port_is_told_of_and_not_written_down(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(initializing, "places", lambda url, environment: [])
    monkeypatch.chdir(tmp_path)
    with answering(status, b'{"generations": []}') as url:
        monkeypatch.setattr(initializing, "OURS", url)
        initializing.init_command("hangtight.yaml", (), to_stdout=False, as_json=False)
    assert f"a gateway of hangtight answers at {url}: it is not written down\n" in capsys.readouterr().err
    assert url not in (tmp_path / "hangtight.yaml").read_text()


def test_what_is_no_gateway_at_that_port_is_not_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializing, "places", lambda url, environment: [])
    with answering(200, b'{"status": "ok"}') as url:
        monkeypatch.setattr(initializing, "OURS", url)
        assert asyncio.run(initializing.survey(())).gateways == ()
