"""What the command says of itself."""

from __future__ import annotations

from hangtight.cli import lab
from hangtight.testing.lab import script


def test_the_labs_defaults_on_the_command_line_are_those_of_its_scripts() -> None:
    assert (lab.TOKENS, lab.RATE) == (script.TOKENS, script.RATE)
