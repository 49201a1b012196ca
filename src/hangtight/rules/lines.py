"""The line to change in a settings file, as it must be typed in YAML, TOML or JSON to be true."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

NAME = "{name}"
PLAIN = re.compile(r"^[A-Za-z][\w.-]*$", re.ASCII)
BARE_IN_TOML = re.compile(r"^[\w-]+$", re.ASCII)
WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")


def line_to_change(kind: str, file: str, path: Sequence[str], name: str = NAME) -> str:
    """A template with `{value}`, and with `{name}` unless a name is given; what else it holds is escaped.

    >>> line_to_change("yaml", "hangtight.yaml", ["limits"]).format(name="idle", value=90)
    'limits: {idle: 90}  in hangtight.yaml'
    """
    last = name if name == NAME else _quoted(kind, name)
    return f"{_written(kind, [_quoted(kind, part) for part in path], last)}  in {_escaped(file)}"


def _written(kind: str, path: list[str], last: str) -> str:
    if kind == "toml":
        return f"{'.'.join([*path, last])} = {{value}}"
    line = f"{last}: {{value}}" if kind == "yaml" or last != NAME else f'"{NAME}": {{value}}'
    for part in reversed(path):
        line = f"{part}: {{{{{line}}}}}"
    return line if kind == "yaml" else f"{{{{{line}}}}}"


def _quoted(kind: str, part: str) -> str:
    if kind == "yaml":
        bare = PLAIN.match(part) is not None and part.lower() not in WORDS
    else:
        bare = kind == "toml" and BARE_IN_TOML.match(part) is not None
    return _escaped(part if bare else _in_quotes(kind, part))


def _in_quotes(kind: str, part: str) -> str:
    """JSON writes what is beyond 16 bits as two halves, which YAML and TOML do not know."""
    if kind == "json":
        return json.dumps(part)
    return "".join(
        each if each.isprintable() else f"\\U{ord(each):08x}" for each in json.dumps(part, ensure_ascii=False)
    )


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
