"""One JSON object out of the pieces in which it came."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from hangtight.dialects.dialect import Unfit
from hangtight.dialects.reading import NOTHING


class Growing:
    """Some fields are joined (text) or added to (lists); of the others the last value stays that says something."""

    __slots__ = ("_fields", "_joined", "_listed", "_texts")

    def __init__(self, *, joined: Collection[str] = (), listed: Collection[str] = ()) -> None:
        self._joined = joined
        self._listed = listed
        self._fields: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}

    def add(self, fields: Mapping[str, Any], *, but: Collection[str] = ()) -> None:
        for name, value in fields.items():
            if name in but:
                continue
            if isinstance(value, str) and name in self._joined:
                self._texts.setdefault(name, []).append(value)
            elif isinstance(value, list) and name in self._listed:
                self._extend(name, value)
            elif name not in self._fields or (value is not None and value != ""):
                self._fields[name] = value

    def _extend(self, name: str, values: list[Any]) -> None:
        known = self._fields.get(name)
        if isinstance(known, list):
            known.extend(values)
        else:
            self._fields[name] = [*values]  # the chunk's own list is not ours to grow

    def more(self, fields: Mapping[str, Any]) -> Callable[[str], object] | None:
        """What adds these fields, which were just added, with another text; None where that is not all they add."""
        grown = [name for name, value in fields.items() if value and (name in self._joined or name in self._listed)]
        return self._texts[grown[0]].append if len(grown) == 1 and isinstance(fields[grown[0]], str) else None

    def get(self, name: str) -> Any:
        """A field that is not joined."""
        return self._fields.get(name)

    def whole(self) -> dict[str, Any]:
        """Raises Unfit where a field came as text and as something else."""
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        mixed = [name for name in texts if self._fields.get(name) is not None]
        if mixed:
            raise Unfit(f"{mixed[0]!r} came as text and as {type(self._fields[mixed[0]]).__name__}")
        return {**self._fields, **texts}


def index_of(fields: Mapping[str, Any]) -> int:
    """The number of a choice or a block; what has none is the first."""
    index = fields.get("index")
    return index if isinstance(index, int) else 0


def fields_of(value: object) -> Mapping[str, Any]:
    """The fields, if this is a JSON object."""
    return value if isinstance(value, dict) else NOTHING


def objects_in(value: object) -> list[dict[str, Any]]:
    """The objects of a JSON list; nothing else is let through."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
