"""Flows as files, and graphs by chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from hangtight.flows.definition.reading import load
from hangtight.rules.errors import Problem, SettingsErrors

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes a file into the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str, name: str = "flow.yaml") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(SettingsErrors) as refused:
        load(path)
    return refused.value.problems


names = st.lists(
    st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(
        lambda name: name not in ("input", "model", "workspace")
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda name: name.replace("-", "_"),
)


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    """Names with the names that each needs, in any order."""
    known = draw(names)
    needs = {
        name: draw(st.lists(st.sampled_from(known[:place]), unique=True)) if place else []
        for place, name in enumerate(known)
    }
    return {name: needs[name] for name in draw(st.permutations(known))}
