"""`hangtight init`: what is found becomes a file that is fine, serves, and never takes the place of another one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.cli.first_file import Found, Seen, first_file
from hangtight.cli.initializing import _of_tags
from hangtight.cli.sizes import OVER_20B, TO_20B, UNDER_7B, Clocks, Sized, size_of
from hangtight.rules.loading import check
from hangtight.rules.settings import Settings
from hangtight.testing.lab import Lab
from tests.cli.kit import SOURCES, command, visible

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
