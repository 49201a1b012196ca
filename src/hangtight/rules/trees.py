"""YAML 1.2 as plain values and their lines. Keys that stand twice are refused, and so is what grows without end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hangtight.rules.errors import ONCE, Problem, SettingsErrors, unreadable

Branch = tuple[str | int, ...]
DEEPEST = 40
MOST_VALUES = 20_000  # aliases of aliases make millions out of ten lines
PREFIX = "tag:yaml.org,2002:"
KEYS_HERE = "keys and values"
BASES = {"0x": 16, "0o": 8, "0b": 2}


def parse_yaml(text: str, file: str) -> tuple[Any, dict[Branch, int]]:
    """The values of a YAML text, and the line of each."""
    reader = YAML(typ="safe", pure=True)
    reader.max_depth = DEEPEST
    reader.composer.warn_double_anchors = False
    try:
        root = reader.compose(text)
    except RecursionError:
        raise unreadable(file, "is nested too deeply", f"at most {DEEPEST} levels deep") from None
    except YAMLError as error:
        if "max_depth" in _why(error):  # the reader's own words are about the reader
            deep = f"at most {DEEPEST} levels deep"
            raise unreadable(file, "is nested too deeply", deep, _line_of(error)) from None
        raise unreadable(file, f"is no YAML ({_why(error)})", "YAML 1.2, one document", _line_of(error)) from None
    except Exception as error:  # noqa: BLE001 - a slip of the reader over strange text is still strange text
        raise unreadable(file, f"is no YAML ({type(error).__name__})", "YAML 1.2, one document") from None
    if root is None:
        return None, {}
    grown = _Growing(file)
    data = grown.value(root, ())
    if grown.problems:
        raise SettingsErrors(grown.problems)
    return data, grown.lines


def _why(error: YAMLError) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    return " ".join(str(said).split())


def _line_of(error: YAMLError) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark is not None else 0


class _Growing:
    """One walk over the nodes of a text."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Branch, int] = {}
        self.problems: list[Problem] = []
        self._around: list[Node] = []
        self._values = 0

    def value(self, node: Node, path: Branch) -> Any:
        self._values += 1
        self.lines[path] = self.lines.get(path, node.start_mark.line + 1)
        if self._values > MOST_VALUES or len(path) > DEEPEST or any(node is outer for outer in self._around):
            why = "grows without end" if self._values <= MOST_VALUES else "holds too many values"
            raise unreadable(self.file, why, f"at most {MOST_VALUES} values, aliases counted", node.start_mark.line + 1)
        self._around.append(node)
        try:
            match node:
                case MappingNode():
                    return self._mapping(node, path)
                case SequenceNode():
                    return [self.value(part, (*path, place)) for place, part in enumerate(node.value)]
                case ScalarNode():
                    return _scalar(_kind(node), node.value)
                case _:
                    return None
        finally:
            self._around.pop()

    def _mapping(self, node: MappingNode, path: Branch) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                wanted = "a word as a key"
                self.problems.append(
                    Problem(self.file, key.start_mark.line + 1, _dotted(path), "a key of parts", wanted)
                )
                continue
            if _kind(key) == "merge":
                merged = self._merged(value, path) | merged
                continue
            line, name = key.start_mark.line + 1, _paired(key.value)
            if name in data:
                twice = f"{ONCE}; it stands in line {self.lines[(*path, name)]} already"
                self.problems.append(Problem(self.file, line, _dotted((*path, name)), None, twice))
                continue
            self.lines[(*path, name)] = line
            data[name] = self.value(value, (*path, name))
        return merged | data

    def _merged(self, node: Node, path: Branch) -> dict[str, Any]:
        """`<<: *other`. What stands nearer wins, and so do the lines noted before."""
        parts = node.value if isinstance(node, SequenceNode) else [node]
        data: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, MappingNode):
                line = node.start_mark.line + 1
                self.problems.append(Problem(self.file, line, _dotted((*path, "<<")), None, KEYS_HERE))
                continue
            outer = dict(self.lines)
            data = self.value(part, path) | data
            self.lines.update(outer)
        return data


def _kind(node: Node) -> str:
    return str(node.tag).removeprefix(PREFIX)


def _dotted(path: Branch) -> str:
    return ".".join(map(str, path))


def _scalar(kind: str, text: str) -> Any:
    """What cannot be counted stays the text that it is, and is refused where a number is wanted."""
    with suppress(ValueError):
        return SCALARS.get(kind, _paired)(text)
    return text


def _paired(text: str) -> str:
    """Halves of characters, as JSON writes them, put together; a half without its other is none."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole(text: str) -> int:
    bare = text.replace("_", "")
    sign = -1 if bare.startswith("-") else 1
    bare = bare.lstrip("+-")
    return sign * int(bare[2:], BASES[bare[:2].lower()]) if bare[:2].lower() in BASES else sign * int(bare)


def _number(text: str) -> float:
    bare = text.replace("_", "").lower()
    return float(bare.replace(".inf", "inf").replace(".nan", "nan"))


SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() in ("true", "yes", "on", "y"),
    "int": _whole,
    "float": _number,
}
