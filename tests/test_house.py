"""The house rules that a machine can hold: floors, sizes, one clock, types."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hangtight

SRC = Path(hangtight.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
MOST_PARAMETERS = 7

FLOORS = {
    "errors": 0,
    "core": 0,
    "intent": 0,
    "rules": 1,
    "drivers": 1,
    "dialects": 1,
    "http": 1,
    "journal": 1,
    "gateway": 2,
    "supervisor": 2,
    "flows": 2,
    "training": 2,
    "testing": 2,
    "cli": 3,
    "__main__": 3,
}
PURE = ("core", "intent", "errors")
IMPURE_MODULES = {"time", "asyncio", "threading", "random", "os", "socket", "logging", "subprocess", "select"}
CLOCK_CALLS = {"time.time", "time.monotonic", "time.sleep", "time.perf_counter", "asyncio.wait_for"}

FILES = sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")
BESIDE = sorted(path for room in ("docs", "examples", "benchmarks") for path in (ROOT / room).glob("*.*"))


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_from_its_own_floor_and_from_lower_ones(path: Path) -> None:
    own = FLOORS[room(path)]
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "hangtight" or len(parts) == 1:
            continue
        other = FLOORS.get(parts[1])
        assert other is None or other <= own, f"{path} imports {name} from a higher floor"
        rooms_of_the_third_floor = own == other == 2 and parts[1] != room(path)
        assert not rooms_of_the_third_floor or "testing" in (parts[1], room(path)), f"{path} knows {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_the_ground_floor_knows_neither_clock_nor_world(path: Path) -> None:
    if room(path) in PURE:
        used = {name.partition(".")[0] for name in imports(ast.parse(path.read_text()))}
        assert not used & IMPURE_MODULES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for function in functions(ast.parse(text)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= LONGEST_FUNCTION, f"{function.name} has {length} lines"


@pytest.mark.parametrize("path", BESIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_examples_and_benchmarks_stay_short_too(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= LONGEST_FILE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_constructor_takes_more_than_seven_settings(path: Path) -> None:
    for function in functions(ast.parse(path.read_text())):
        if function.name == "__init__":
            arguments = function.args
            count = len(arguments.args) + len(arguments.kwonlyargs) - 1
            assert count <= MOST_PARAMETERS, f"{path}:{function.lineno} takes {count}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_only_one_file_reads_a_clock_or_spends_time(path: Path) -> None:
    if path == SRC / "drivers" / "clock.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in CLOCK_CALLS, f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_every_module_says_what_it_is_for_and_nothing_is_left_undone(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert not re.search(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b", text)


def test_the_front_door_lists_every_name_once_and_each_opens() -> None:
    assert len(set(hangtight.__all__)) == len(hangtight.__all__)
    for name in hangtight.__all__:
        assert getattr(hangtight, name) is not None
    assert set(hangtight.__all__) <= set(dir(hangtight))


def test_importing_hangtight_loads_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import hangtight; print(*sorted(set(sys.modules) - before))"
    added = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert added.split() == ["hangtight"]


def test_watching_loads_no_third_party_module() -> None:
    script = "import sys, hangtight; list(hangtight.watch(['a'])); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    rooms = {name.partition(".")[0] for name in loaded.split()}
    assert rooms - sys.stdlib_module_names - {"hangtight", "__main__"} <= injected_at_start()


@pytest.mark.real
def test_generating_loads_no_third_party_module() -> None:
    script = (
        "import sys, hangtight; from hangtight.testing.lab import Lab\n"
        "with Lab() as lab: hangtight.generate('?', url=lab.url, model='tokens=2,rate=400')\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    rooms = {name.partition(".")[0] for name in loaded.split()}
    assert rooms - sys.stdlib_module_names - {"hangtight", "__main__"} <= injected_at_start()


def injected_at_start() -> set[str]:
    """What the installation itself loads before any program runs (a `.pth` file of an editable install)."""
    script = "import sys; print(*sys.modules)"
    bare = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in bare.stdout.split()}


def test_a_name_that_is_not_there_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="no attribute 'watcher'"):
        hangtight.watcher  # noqa: B018
