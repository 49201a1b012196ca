"""Whatever stands in a file: settings come out, or one error that tells what is wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hangtight.core.resolve import resolve
from hangtight.rules.errors import SettingsErrors
from hangtight.rules.keys import KEYS
from hangtight.rules.schema import NOT_YET, ConfigFile, RulesFile
from tests.rules import kit
from tests.rules.test_every_setting import leaves

WORDS = sorted(
    {part for path in (*leaves(ConfigFile), *leaves(RulesFile)) for part in path.split(".")}
    | {*NOT_YET[""], *NOT_YET["models"], "${env.A}", "/v1/*", "fast", "deep", "own", "idel", "<<", "null", "qwen3*"}
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from([*WORDS, "auto", "off"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=25,
)
SIGNS = [
    ": ",
    ": ",
    ":",
    "\n",
    "\n  ",
    "\n",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "#",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "? ",
    "---\n",
    "%YAML 1.1\n",
    "%YAML 9.9\n",
    "'",
    '"',
    "\t",
]
NUMBERS = ["60", "-1", "1e999", ".nan", "0x", "0o9", "= ", "[["]
FRAGMENTS = [*WORDS, *SIGNS, *NUMBERS, "|\n", "\\u12", "\ufeff", "\x00", "\u2028", "é"]


def survives(text: str | bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = kit.place(Path(folder).resolve())
        path = place.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        try:
            read = place.load()
        except SettingsErrors as errors:
            kit.seen(errors)
            return
        for mode in (None, *read.modes):
            for layer in read.layers(mode, "m", in_step=True):
                layer.change.format(name="idle", flag="idle", value="90")
            resolve(read.layers(mode, "m", in_step=True))
        for model in (*read.models, *read.aliases, "m"):
            assert read.serving(model).name == read.canonical(model)


@pytest.mark.parametrize("name", ["hangtight.yaml", ".qwencoderules"])
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
@example(text="%YAML 1.1\n---\nlimits: {idle: 1:30, total: yes}")
@example(text="limits: !!map {idle: !!float x}")
@example(text="? {a: b}\n: c")
@example(text="a: !!binary x\nlimits: !!set {idle}")
@example(text="limits: &a\n  idle: *a")
@settings(max_examples=400)
def test_fragments_of_a_file_never_raise_anything_else(name: str, text: str) -> None:
    survives(text, name)


@pytest.mark.parametrize("name", ["hangtight.yaml", ".qwencoderules"])
@given(tree=TREES)
@settings(max_examples=300)
def test_trees_of_our_words_never_raise_anything_else(name: str, tree: Any) -> None:
    survives(flow(tree), name)


def flow(tree: Any) -> str:
    """As YAML on one line; not by a library, whose own care would make the text too good."""
    match tree:
        case dict():
            return "{" + ", ".join(f"{key or 'x'}: {flow(value)}" for key, value in tree.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, tree)) + "]"
        case None:
            return "null"
        case bool():
            return str(tree).lower()
        case _:
            return str(tree)


@pytest.mark.parametrize("name", ["hangtight.yaml", ".qwencoderules", ".env"])
@given(content=st.binary(max_size=60))
@settings(max_examples=200)
def test_bytes_never_raise_anything_else(name: str, content: bytes) -> None:
    survives(content, name)


@given(
    told=st.dictionaries(st.sampled_from(KEYS), st.text(max_size=8) | st.sampled_from(["1", "auto", "none", "fast"]))
)
def test_variables_never_raise_anything_else(told: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = kit.place(Path(folder).resolve())
        place.environment |= told
        try:
            place.load()
        except SettingsErrors as errors:
            kit.seen(errors)
