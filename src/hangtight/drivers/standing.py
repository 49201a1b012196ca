"""What stands for this process: the settings in force, the journal, and what was learned from it."""

from __future__ import annotations

from hangtight.core.pace import Learner, Paces
from hangtight.rules.settings import NOTHING, Settings

_paces: Learner = Paces()


def settings() -> Settings:
    """The settings in force."""
    return NOTHING


def paces() -> Learner:
    """What was learned about how fast models are."""
    return _paces
