"""The page about the training guard is true: its tests exist, its numbers are the code's, its examples run."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hangtight.training.eval_settings import KEYS, EvalSettings
from hangtight.training.outcome import Layer, Verdict
from hangtight.training.status import TOO_MANY, Doing
from hangtight.training.vigil import LEAST, MOST, SHARE

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def has_test(path: str, name: str) -> bool:
    file = ROOT / path
    return file.exists() and any(
        isinstance(node, ast.FunctionDef) and node.name == name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )


def test_each_cell_of_the_table_names_a_test_that_exists() -> None:
    table = TEXT[TEXT.index("| hang | ended by") :].partition("\n\n")[0].splitlines()[2:]
    cells = [row.split("|")[-2].strip() for row in table]
    assert len(cells) > 15
    assert [cell for cell in cells if not NAMED.search(cell)] == ["none: never run there"]
    assert [named for cell in cells for named in NAMED.findall(cell) if not has_test(*named)] == []


def test_a_test_that_does_not_exist_is_found() -> None:
    assert not has_test("tests/training/test_page.py", "test_of_nothing")
    assert not has_test("tests/training/test_nothing.py", "test_of_nothing")


def test_each_key_of_the_file_is_on_the_page_with_its_default_and_none_besides() -> None:
    table = TEXT[TEXT.index("| key | default |") :].partition("\n\n")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", table, re.MULTILINE))
    plain = EvalSettings()
    assert {key: json.loads(value) for key, value in listed.items()} == {key: getattr(plain, key) for key in KEYS}


@pytest.mark.parametrize("word", [*Verdict, *Layer, *Doing])
def test_the_page_knows_all_words_of_the_guard(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    from hangtight.training.generating import guarded_generate
    from hangtight.training.isolated import START_LIMIT

    assert f"{100 * SHARE:g} % more ({LEAST:g} to {MOST:g} s)" in TEXT
    assert f"more than {100 * TOO_MANY:g} % have timed out" in TEXT
    options = inspect.signature(guarded_generate).parameters
    assert f"| `limit` | {options['limit'].default:g} |" in TEXT
    assert f"| `check_every` | {options['check_every'].default} |" in TEXT
    assert f"a limit of its own, {START_LIMIT:g} s" in TEXT


@pytest.mark.real
def test_importing_the_room_loads_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, hangtight.training as room; dir(room); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "hangtight" in loaded
    assert not {"torch", "transformers", "lightning", "trl", "accelerate", "tokenizers"} & set(loaded)


@pytest.mark.real
def test_a_public_name_is_no_module_whichever_was_used_first() -> None:
    script = (
        "import types, hangtight.training as room; room.guarded_generate; names = set(room.__all__) - {'EvalSamples'}; "
        "print(*[name for name in names if isinstance(getattr(room, name), types.ModuleType)])"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert found.split() == []


@pytest.mark.torch
@pytest.mark.real
def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    from tests.training.kit import tiny_model, tiny_tokenizer
    from tests.training.trainings import Texts, arguments

    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"eval_steps": 4, "max_new_tokens": 5}')
    tokenizer = tiny_tokenizer()
    names: dict[str, Any] = {
        "model": tiny_model("gpt2"),
        "tokenizer": tokenizer,
        "inputs": tokenizer("w9 w10", return_tensors="pt", return_token_type_ids=False),
        "args": arguments(tmp_path),
        "dataset": Texts(),
    }
    examples = PYTHON.findall(TEXT)
    assert len(examples) == 5
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"training.md, python block {number}", "exec"), names)
    status = json.loads((tmp_path / "status" / "training_status.json").read_text(encoding="utf-8"))
    assert (status["doing"], status["evaluations"]) == ("finished", 3)
