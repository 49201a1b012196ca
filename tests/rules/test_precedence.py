"""Whatever is there or not: the highest place wins, and it is told where it stands."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.rules import kit
from tests.rules.kit import values

FILES = {"config": "hangtight.yaml", "rules": ".qwencoderules"}
IDLE: Sequence[tuple[str, tuple[str, ...]]] = (
    ("rules", ("modes", "own", "idle")),
    ("config", ("modes", "own", "idle")),
    ("rules", ("models", "model", "limits", "idle")),
    ("config", ("models", "model", "limits", "idle")),
    ("rules", ("models", "mod*", "limits", "idle")),
    ("config", ("models", "mod*", "limits", "idle")),
    ("environment", ("HANGTIGHT_IDLE",)),
    (".env", ("HANGTIGHT_IDLE",)),
    ("rules", ("limits", "idle")),
    ("config", ("limits", "idle")),
)
TOTAL: Sequence[tuple[str, tuple[str, ...]]] = (
    ("environment", ("HANGTIGHT_STEP_TIMEOUT",)),
    (".env", ("HANGTIGHT_STEP_TIMEOUT",)),
    ("rules", ("step_timeout",)),
    ("config", ("step_timeout",)),
    ("rules", ("modes", "own", "total")),
    ("rules", ("budgets", "own")),
    ("config", ("modes", "own", "total")),
    ("rules", ("models", "model", "limits", "total")),
    ("config", ("models", "model", "limits", "total")),
    ("environment", ("HANGTIGHT_TOTAL",)),
    (".env", ("HANGTIGHT_TOTAL",)),
    ("rules", ("limits", "total")),
    ("config", ("limits", "total")),
)
"""The highest first."""


def write(place: kit.Place, chosen: Sequence[tuple[str, tuple[str, ...]]], seconds: Sequence[int]) -> None:
    trees: dict[str, dict[str, object]] = {"config": {}, "rules": {"default_mode": None}}
    dotenv = []
    for (where, path), number in zip(chosen, seconds, strict=True):
        if where == "environment":
            place.environment[path[0]] = str(number)
        elif where == ".env":
            dotenv.append(f"{path[0]}={number}")
        else:
            branch = trees[where]
            for part in path[:-1]:
                branch = branch.setdefault(part, {})  # type: ignore[assignment]
            branch[path[-1]] = number
    for where, tree in trees.items():
        place.write(FILES[where], json.dumps(tree, indent=1))
    place.write(".env", "\n".join(dotenv))


def stands(place: kit.Place, chosen: tuple[str, tuple[str, ...]], number: int) -> str:
    where, path = chosen
    if where == "environment":
        return path[0]
    file = FILES.get(where, where)
    lines = (place.folder / file).read_text().splitlines()
    return f"{file}:{next(at for at, line in enumerate(lines, 1) if str(number) in line)}"


def check(name: str, chosen: list[tuple[str, tuple[str, ...]]], in_step: bool) -> None:
    """Numbers of four digits that grow downwards, so that none of them is in another, and none follows another."""
    with tempfile.TemporaryDirectory() as folder:
        place = kit.place(Path(folder).resolve())
        seconds = [2000 + number for number in range(len(chosen))]
        write(place, chosen, seconds)
        in_a_mode = any("own" in path for _, path in chosen)
        settings = place.load()
        found = values(settings, "own" if in_a_mode else None, "model", in_step=in_step)[name]
        if chosen:
            assert (found.value, found.source) == (seconds[0], stands(place, chosen[0], seconds[0]))
        else:
            assert (found.value, found.source) == ({"idle": 45, "total": 600}[name], "default")


@given(st.sets(st.sampled_from(IDLE)))
def test_of_all_places_that_give_idle_the_highest_wins(chosen: set[tuple[str, tuple[str, ...]]]) -> None:
    ordered = [place for place in IDLE if place in chosen]
    if any("own" in path for _, path in ordered):
        # a mode without a total of its own has 600, of which a fifth is 120: it is switched off
        return check_unscaled(ordered)
    check("idle", ordered, in_step=False)
    return None


def check_unscaled(ordered: list[tuple[str, tuple[str, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = kit.place(Path(folder).resolve())
        seconds = [2000 + number for number in range(len(ordered))]
        write(place, ordered, seconds)
        layers = place.load().layers("own", "model")
        highest = next(layer for layer in layers if "idle" in layer.values)
        assert highest.values["idle"] == seconds[0]
        assert highest.sources["idle"] == stands(place, ordered[0], seconds[0])


@given(st.sets(st.sampled_from(TOTAL)), st.booleans())
def test_of_all_places_that_give_total_the_highest_wins(
    chosen: set[tuple[str, tuple[str, ...]]], in_step: bool
) -> None:
    of_steps = TOTAL[:4]
    ordered = [place for place in TOTAL if place in chosen and (in_step or place not in of_steps)]
    check("total", ordered, in_step=in_step)
