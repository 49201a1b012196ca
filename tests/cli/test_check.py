"""`hangtight check`: fine with what does nothing by name, or all that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.kit import command, visible

FINE = {
    "hangtight.yaml": ("limits: {idle: 30}\nmodels: {m: {fallback: [n], limits: {total: 9}}}\nlogRequests: true\n", 3),
    ".qwencoderules": ("budgets: {fast: 30, deep: 120}\nlanguage: python\n", 2),
    ".env": ("HANGTIGHT_IDLE=30\nOTHER=1\nHANGTIGHT_MODE=deep\n", 2),
    "config.yaml": (
        "logRequests: true\nmodels:\n"
        "  m:\n    cmd: llama-server --port ${PORT}\n    proxy: http://127.0.0.1:1\n"
        "  n:\n    cmd: a ${PORT}\n",
        3,
    ),
    "empty.yaml": ("", 0),
    "intent.yaml": (
        "intent: true\nlimits: {extend_to: 700}\nmodes: {deep: 90, own: {total: 9, extend_to: 18, intent: false}}\n"
        "models: {m: {intent: {ladder: []}}}\n",
        7,
    ),
    "auto.yaml": (
        "limits: {idle: auto, first_token: null}\njournal: {url: off.db, keep: 3}\nlearning: {samples: 50}\n",
        4,
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("name", FINE)
def test_a_file_that_is_fine_says_how_much_is_set(name: str, tmp_path: Path) -> None:
    text, count = FINE[name]
    (tmp_path / name).write_text(text)
    told = command(tmp_path, "check", name)
    assert (told.returncode, told.stderr) == (0, "")
    first, *remarks = told.stdout.splitlines()
    assert first == f"{name}: fine, {count} setting{'' if count == 1 else 's'}"
    assert ("logRequests" in "".join(remarks)) == ("logRequests" in (tmp_path / name).read_text())
    whole = json.loads(command(tmp_path, "check", name, "--json").stdout)
    assert (whole["fine"], whole["settings"], whole["problems"]) == (True, count, [])


@pytest.mark.real
def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text('limits: {idle: -1, total: .nan}\nmodels: {"a\\e[31m": {limits: {idel: 3}}}\n')
    told = command(tmp_path, "check", "h.yaml")
    assert (told.returncode, told.stdout) == (2, "")
    assert [line.partition(": ")[0] for line in told.stderr.splitlines()] == [
        *("h.yaml:1", "h.yaml:1"),
        *("h.yaml:2", "h.yaml:2"),  # a name that nobody can print, and what is written under it
    ]
    assert visible(told.stderr)
    whole = command(tmp_path, "check", "h.yaml", "--json")
    problems = json.loads(whole.stdout)["problems"]
    assert whole.returncode == 2
    assert {(each["line"], each["key"]) for each in problems} > {(1, "limits.idle"), (1, "limits.total")}
    assert next(each["found"] for each in problems if each["key"] == "limits.idle") == -1


@pytest.mark.real
@pytest.mark.parametrize(
    "words", [[], [""], ["nowhere.yaml"], ["."], ["/dev/zero"], ["\x1b[2J.yaml"], ["a" * 5000]], ids=repr
)
def test_what_is_no_file_is_told_in_one_line(words: list[str], tmp_path: Path) -> None:
    told = command(tmp_path, "check", *words)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (2, "", 1)
    assert visible(told.stderr)


@pytest.mark.real
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", b"\x00" * 99, b"- a\n- b\n", b"a: &a [*a]", b"{" * 9999])
def test_what_is_no_settings_file_is_told_without_a_traceback(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)
    told = command(tmp_path, "check", "odd.yaml")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("odd.yaml")
    assert "Traceback" not in told.stderr


@pytest.mark.real
def test_the_schema_is_one_that_editors_read(tmp_path: Path) -> None:
    told = command(tmp_path, "check", "--schema")
    schema = json.loads(told.stdout)
    assert (told.returncode, told.stderr) == (0, "")
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"limits", "modes", "models", "heartbeat"} <= set(schema["properties"])


@pytest.mark.real
@pytest.mark.parametrize("name", ["explain", "check", "log", "stats", "run", "ask"])
def test_each_command_has_help_with_an_example(name: str, tmp_path: Path) -> None:
    told = command(tmp_path, name, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"Example: hangtight {name}" in told.stdout
    assert ("--config" in told.stdout) == (name != "check")


@pytest.mark.real
def test_the_value_of_a_key_that_is_not_known_is_told_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text("api_kee: s3cr3t\njournal: 'mysql://u:s3cr3t@h/d?password=s3cr3t'\n")
    told, whole = command(tmp_path, "check", "h.yaml"), command(tmp_path, "check", "h.yaml", "--json")
    assert "s3cr3t" not in told.stdout + told.stderr + whole.stdout + whole.stderr
    assert [(each["key"], each["found"]) for each in json.loads(whole.stdout)["problems"]] == [
        ("api_kee", None),
        ("journal", "mysql://u:***@h/d?password=***"),
    ]


@pytest.mark.real
def test_a_dotenv_that_is_not_there_is_no_fine_one(tmp_path: Path) -> None:
    told = command(tmp_path, "check", ".env")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(".env: cannot be read")


@pytest.mark.real
def test_a_flow_is_refused_as_by_flow_run(tmp_path: Path) -> None:
    (tmp_path / "fine.yaml").write_text("steps: {a: {tool: 'true'}, b: {tool: 'echo ${a}'}}\n")
    told = command(tmp_path, "check", "fine.yaml")
    assert (told.returncode, told.stdout, told.stderr) == (0, "fine.yaml: fine, the flow fine with 2 steps\n", "")
    assert json.loads(command(tmp_path, "check", "fine.yaml", "--json").stdout)["steps"] == ["a", "b"]
    (tmp_path / "wrong.yaml").write_text("steps:\n  a: {tool: 'echo ${b}'}\n  c: {tool: 'true', timeout: 0}\n")
    told = command(tmp_path, "check", "wrong.yaml")
    assert (told.returncode, told.stdout) == (2, "")
    assert [line.partition(": ")[0] for line in told.stderr.splitlines()] == ["wrong.yaml:2", "wrong.yaml:3"]
    assert told.stderr in command(tmp_path, "flow", "run", "wrong.yaml", "--url", "memory").stderr
    whole = json.loads(command(tmp_path, "check", "wrong.yaml", "--json").stdout)
    assert (whole["fine"], [each["line"] for each in whole["problems"]]) == (False, [2, 3])
