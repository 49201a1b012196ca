"""What is refused of a flow before anything begins: places that are left open, files in the way of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangtight.errors import SettingsError
from hangtight.flows import Engine, Flow, generate, load, tool
from tests.flows.kit import Written, problems_of, written

__all__ = ["written"]


@pytest.mark.parametrize("text", ["echo ${input.q", "echo ${a and", "echo ${a.title", "echo ${input.q:-x}", "${a\n"])
def test_a_place_of_ours_that_is_not_closed_is_refused_with_its_line(text: str, written: Written) -> None:
    (problem,) = problems_of(written(f"steps:\n  a: {{tool: 'true'}}\n  b: {{generate: {text!r}}}\n".replace("'", '"')))
    assert (problem.line, problem.key) == (3, "steps.b.generate")
    assert "closed" in problem.wanted
    with pytest.raises(SettingsError, match="closed"):
        Flow("f", [tool("a", "true"), generate("b", text)])


@pytest.mark.parametrize("text", ["${HOM", "${HOME:-x}", "${a:=x}", "$${a", "$${input.q", "${a%.md}", "${"])
def test_what_a_shell_may_mean_stays_its_text(text: str) -> None:
    assert Flow("f", [tool("a", "true"), generate("b", text)]).steps["b"].needs == ()


@pytest.mark.parametrize(("file", "below"), [("sub", "sub/x"), ("Sub", "sub/y/x"), ("a/b", "a/b/c")])
def test_a_file_that_is_the_folder_of_another_one_is_refused(file: str, below: str) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        Flow("f", [tool("a", "true", output=file), tool("b", "true", output=below)])
    assert len(Flow("f", [tool("a", "true", output=f"{file}.md"), tool("b", "true", output=below)]).steps) == 2


def test_no_step_writes_over_the_file_of_its_flow(written: Written, tmp_path: Path) -> None:
    path = written("steps: {a: {tool: 'true', output: flow.yaml}}\n")
    with Engine(".") as engine:
        with pytest.raises(SettingsError, match="the flow stands"):
            engine.run(path)
        with pytest.raises(SettingsError, match="the flow stands"):
            engine.run(load(path))
    with Engine("elsewhere") as engine:
        assert engine.run(path).finished
