"""Which codes the gateway answers with, read from the code that says them: code, status, and words."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import hangtight
from hangtight.core.limits import Limit
from hangtight.core.telling import INTENT

SRC = Path(hangtight.__file__).parent
ROOMS = ("gateway", "supervisor", "dialects")
GAP = "…"
PASSED_ON = ("backend", "upstream")
"""Where the status of the model's server means the same to our client, it is passed on."""
NEVER_SAID = (Limit.CANCEL,)
"""Limits that end nothing: what became of a cancelled request is reported, and raised to nobody."""


class Saying(NamedTuple):
    """One place where a code is said."""

    code: str
    status: int
    words: str
    """The first line, with a gap where something is filled in; empty where it is somebody else's text."""


class Shape(NamedTuple):
    """At which place of a call stand the status, the code and the words. A status that is fixed stands there itself."""

    code: int
    words: int
    status: int | None = None
    fixed: int = 0


SHAPES = {
    "Told.of": Shape(1, 2, 0),
    "Told": Shape(2, 3, 0),
    "refuse": Shape(2, 3, 1),
    "Answer": Shape(1, 2, 0),
    "unavailable": Shape(1, 2, 0),
    "_malformed": Shape(1, 2, 0),
    "_forbidden": Shape(0, 1, fixed=403),
    "Denied": Shape(2, 3, 0),
    "voice.fail": Shape(2, 1, 0),
    "refusal": Shape(1, 0),
}
"""The ways in which the code says one."""
ELSEWHERE = (
    Saying(INTENT, 504, f"{GAP} stuck - repeats itself: {GAP}"),
    Saying("not_running", 503, f"{GAP}: {GAP}"),
    Saying("process_failed", 502, ""),
    Saying("backend", 502, ""),
    Saying("truncated", 502, ""),
)
"""Those that stand in no call: the name of a limit, and what an attribute or a default says."""


@cache
def sayings() -> tuple[Saying, ...]:
    """All of them, sorted, each once."""
    found = {*ELSEWHERE, *(Saying(limit.value, 504, "") for limit in Limit if limit not in NEVER_SAID)}
    for room in ROOMS:
        for path in sorted((SRC / room).rglob("*.py")):
            found.update(_in(path))
    return tuple(sorted(found))


def codes() -> frozenset[str]:
    return frozenset(each.code for each in sayings())


def _in(path: Path) -> Iterator[Saying]:
    source = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    texts = [node for node in nodes if isinstance(node, ast.Assign)]
    said = [(call, SHAPES[name]) for call in calls if (name := ast.unparse(call.func)) in SHAPES]
    if not said:
        return
    dotted = ".".join(("hangtight", *path.relative_to(SRC).with_suffix("").parts))
    module = import_module(dotted.removesuffix(".__init__"))
    for call, shape in said:
        if len(call.args) > max(shape.code, shape.status or 0):
            status = shape.fixed if shape.status is None else next(_values(call.args[shape.status], module), 0)
            words = _words(_meant(call.args[shape.words], texts)) if len(call.args) > shape.words else ""
            if isinstance(status, int):
                for code in _values(call.args[shape.code], module):
                    if isinstance(code, str):
                        yield Saying(code, status, words)


def _values(node: ast.expr, module: ModuleType) -> Iterator[object]:
    """What stands there, where that is no matter of what happens."""
    match node:
        case ast.Constant(value=value):
            yield value
        case ast.Name(id=name) if hasattr(module, name):
            yield getattr(module, name)
        case ast.IfExp(body=one, orelse=other):
            yield from _values(one, module)
            yield from _values(other, module)
        case _:
            return


def _meant(node: ast.expr, texts: list[ast.Assign]) -> ast.expr:
    """What was last given that name above, where it is one."""
    if not isinstance(node, ast.Name):
        return node
    above = [each for each in texts if each.lineno < node.lineno and ast.unparse(each.targets[0]) == node.id]
    return max(above, key=lambda each: each.lineno).value if above else node


def _words(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            found = text
        case ast.JoinedStr(values=values):
            found = "".join(_part(each) for each in values)
        case _:
            found = ""
    return found.partition("\n")[0]


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else GAP


def statuses(found: Iterable[Saying]) -> str:
    """The statuses of a code, in words."""
    told = list(found)
    numbers = sorted({str(each.status) for each in told if each.status})
    return ", ".join(numbers) + ", or the server's own" * any(each.code in PASSED_ON for each in told)
