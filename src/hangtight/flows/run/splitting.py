"""A long answer in pieces: what a model is asked, what is read out of its plan, how the pieces are joined. Pure.

>>> plan_in('Sure!\\n1. Overview\\n2. Storage\\n', Split("sections")).names
('Overview', 'Storage')
>>> plan_in('{"files": ["src/a.py", "../b.py"]}', Split("files")).left_out
{'../b.py': 'no file below the folder of the step'}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hangtight.errors import BackendError, SettingsError
from hangtight.flows.definition.checks import MOST_PIECES, output

SECTIONS: Final = "sections"
LONGEST_PLAN: Final = 50_000  # characters that are read of an answer: a plan is a list of names
MOST_OPENED: Final = 200
"""Places where a list may begin that are tried: a model that says nothing but `[` must not hold up the loop."""
LONGEST_NAME: Final = 200
LONGEST_ABOUT: Final = 1000
NAMED: Final = ("path", "file", "filename", "title", "name", "section", "heading")
"""Where the name stands, if each entry of a plan is an object."""
ABOUT: Final = ("about", "description", "purpose", "summary", "content", "contents")
NUMBERED: Final = re.compile(r"(\s*)\d+[.)]\s+(.+)")
BULLET: Final = re.compile(r"(\s*)[-*+]\s+(.+)")
HEADING: Final = re.compile(r"(\s*)#{1,6}\s+(.+)")
A_PATH: Final = re.compile(r"[./\\]\w")
NO_NAMES: Final = ("```", "~~~", "[", "]", "{", "}")
"""Lines that begin so are fences, or JSON that could not be read."""
DASHES: Final = ("-", "–", "—", ":", "(", "#")
FENCE: Final = re.compile(r"`{3,}|~{3,}")
OUTSIDE: Final = "no file below the folder of the step"
IN_THE_WAY: Final = "the name of a folder of another one"
TOO_MANY: Final = "more pieces than the step may have"


@dataclass(frozen=True, slots=True)
class Split:
    """How a step is split."""

    by: str
    most: int = MOST_PIECES
    whole: bool = False
    """A piece that is missing costs the step."""

    @property
    def files(self) -> bool:
        return self.by != SECTIONS


@dataclass(frozen=True, slots=True)
class Piece:
    """One of them: a heading, or a file."""

    name: str
    about: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.about}" if self.about else self.name


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written, in its order, and what of the model's plan is not, with the reason."""

    pieces: tuple[Piece, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(piece.name for piece in self.pieces)

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"pieces": [[piece.name, piece.about] for piece in self.pieces], "left_out": dict(self.left_out)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Plan:
        return cls(tuple(Piece(*pair) for pair in plain["pieces"]), plain["left_out"])


# -- what a model is asked ------------------------------------------------------------------------------------


def asks_for_the_plan(prompt: str, split: Split) -> str:
    what, like = "sections", '["Overview", "Storage"]'
    if split.files:
        what, like = "files", '["README.md", "src/main.py"]'
    return (
        f"{prompt}\n\n---\nThe answer is long, so it is written in pieces, later. Do not write it yet. Say now which "
        f"{what} it has, in their order: a JSON list like {like}, of {split.most} at most, and nothing else."
    )


def asks_for_a_piece(prompt: str, split: Split, plan: Plan, at: int) -> str:
    """`at` counts from 0."""
    listed = "\n".join(f"{number}. {piece}" for number, piece in enumerate(plan.pieces, 1))
    what, how = "section", "with its heading"
    if split.files:
        what, how = "file", "just what stands in it, with no fence and no word around it"
    return (
        f"{prompt}\n\n---\nThe answer is written in pieces. Its {what}s are:\n{listed}\n\n"
        f"Write {what} {at + 1} now, {plan.pieces[at].name}: all of it, {how}. The others are written elsewhere."
    )


# -- its plan -------------------------------------------------------------------------------------------------


def plan_in(answer: str, split: Split) -> Plan:
    """What the answer lists, as JSON or in lines, with whatever stands around it. Raises where it lists nothing."""
    answer = answer[:LONGEST_PLAN]
    found = max(_lists(answer), key=len, default=[]) or list(_lines(answer, split))
    kept: dict[str, Piece] = {}
    left_out: dict[str, str] = {}
    for piece in found:
        name, reason = _file(piece.name) if split.files else (piece.name, "")
        if not reason and len(kept) >= split.most and name.casefold() not in kept:
            reason = TOO_MANY
        if reason:
            left_out[name] = reason
        else:
            kept.setdefault(name.casefold(), Piece(name, piece.about))
    for key in [key for key in kept if split.files and any(other.startswith(key + "/") for other in kept)]:
        left_out[kept.pop(key).name] = IN_THE_WAY
    if not kept:
        why = f": {next(iter(left_out))} is {next(iter(left_out.values()))}" if left_out else ""
        raise BackendError(f"the model gave no plan of {split.by} that could be read{why}")
    return Plan(tuple(kept.values()), left_out)


def _lists(text: str) -> Iterator[list[Piece]]:
    """Each JSON list or object of the text, from the outside in, as far as it names something."""
    decoder, at = json.JSONDecoder(), 0
    opened = re.compile(r"[\[{]")
    for _ in range(MOST_OPENED):
        if (found := opened.search(text, at)) is None:
            return
        at = found.end()
        try:
            value, end = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        if pieces := list(_entries(value)):
            at = end
            yield pieces


def _entries(value: Any) -> Iterator[Piece]:
    if isinstance(value, dict):
        inside = [each for each in value.values() if isinstance(each, list)]
        if inside:  # {"files": [...]}
            value = max(inside, key=len)
        elif len(value) > 1 and not any(key in value for key in NAMED) and _is_text(value.values()):
            # {"a.py": "reads", ...}; one entry alone is what a list leaves that was cut off
            value = [{"name": name, "about": about} for name, about in value.items()]
    for entry in value if isinstance(value, list) else ():
        named = entry if isinstance(entry, dict) else {"name": entry}
        if name := _first(named, NAMED)[:LONGEST_NAME]:
            yield Piece(name, _first(named, ABOUT)[:LONGEST_ABOUT])


def _is_text(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def _first(entry: Mapping[str, Any], keys: Sequence[str]) -> str:
    said = (entry.get(key) for key in keys)
    return next((_one_line(each) for each in said if isinstance(each, str) and each.strip()), "")


def _one_line(text: str) -> str:
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def _lines(text: str, split: Split) -> Iterator[Piece]:
    """Of files each line that is one; of sections what is numbered, else bullets, else headings, else every line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(NO_NAMES)]
    marked = [[found for line in lines if (found := mark.fullmatch(line))] for mark in (NUMBERED, BULLET, HEADING)]
    if split.files:
        items = {found.string: found[2] for founds in marked for found in founds}
        yield from filter(None, (_path_in(items.get(line, line), line in items) for line in lines))
        return
    if marks := next(filter(None, marked), []):
        least = min(len(mark[1]) for mark in marks)  # what stands further in is a part of a section
        lines = [mark[2] for mark in marks if len(mark[1]) == least]
    for line in lines:
        if name := _one_line(line.strip(' \t*_`#,"'))[:LONGEST_NAME]:
            yield Piece(name)


def _path_in(line: str, marked: bool) -> Piece | None:
    """`src/a.py - reads the files`. A sentence is none."""
    head, _, rest = line.strip().partition(" ")
    name, rest = head.strip("`*\"':,;"), rest.strip()
    apart = not rest or rest.startswith(DASHES) or head.endswith(":")
    if not name or name.endswith("/") or not apart or not (marked or A_PATH.search(name)):
        return None
    return Piece(_one_line(name)[:LONGEST_NAME], _one_line(rest.strip(" -–—:()#"))[:LONGEST_ABOUT])


def _file(name: str) -> tuple[str, str]:
    """As it may stand below the folder of the step, and else why it may not."""
    try:
        return output(name) or name, "" if name.strip() else OUTSIDE
    except SettingsError:
        return name, OUTSIDE


# -- the whole ------------------------------------------------------------------------------------------------


def content_of(answer: str, name: str) -> str:
    """What stands in a file of this name: without the fence around it, and the words around that."""
    lines = answer.splitlines(keepends=True)
    blocks: list[tuple[int, int]] = []
    fence, begun = "", 0
    for at, line in enumerate(lines):
        if not fence and (opens := FENCE.match(line)):
            fence, begun = opens[0], at
        elif fence and line.rstrip() == fence:
            blocks.append((begun, at))
            fence = ""
    if len(blocks) != 1 or fence:
        return answer
    ((first, last),) = blocks
    around = "".join(lines[:first] + lines[last + 1 :]).strip()
    return "".join(lines[first + 1 : last]) if not around or not name.endswith((".md", ".markdown")) else answer


def joined(split: Split, plan: Plan, texts: Mapping[int, str], missing: Mapping[int, str]) -> str:
    """One text in the order of the plan. Of what is `missing`, by its place in the plan, it has the reason."""
    parts = [_part(split, piece, texts.get(at, ""), missing.get(at)) for at, piece in enumerate(plan.pieces)]
    parts = [part for at, part in enumerate(parts) if at in texts or at in missing]
    if len(parts) == len(plan.pieces):
        parts += [f"[{name} was planned and is missing: {reason}]" for name, reason in plan.left_out.items()]
    return "".join(f"{part.rstrip()}\n\n" for part in parts).rstrip("\n") + "\n"


def _part(split: Split, piece: Piece, text: str, reason: str | None) -> str:
    mark = "" if reason is None else f"[{piece.name} is missing: {reason}]"
    if not split.files:
        return f"{text.rstrip()}\n\n{mark}" if mark and text.strip() else mark or text
    if mark:
        return f"## {piece.name}\n\n{mark}"
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"## {piece.name}\n\n{fence}\n{text.rstrip()}\n{fence}"
