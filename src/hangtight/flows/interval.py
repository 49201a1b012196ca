"""How often a run says that a model still works, and how long a step may take, where nobody says it for this run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hangtight.core.limits import Setting
from hangtight.drivers.standing import settings, working_folder
from hangtight.flows.definition.steps import HEARTBEAT, STEP_TIMEOUT
from hangtight.rules.dotenv import read_dotenv
from hangtight.rules.environment import Environment, told_by, understood
from hangtight.rules.errors import SettingsErrors
from hangtight.rules.keys import LIMITS

KEY: Final = "heartbeat"
DOTENV: Final = ".env"


def usual_heartbeat(folder: Path | None = None) -> float | None:
    """The environment's, else that of `.env` in the working folder, else that of the settings, else 15. None is off."""
    found = _said(folder)
    if found.problems:
        raise SettingsErrors(found.problems)
    for layer in (*found.layers, *settings().below):
        if KEY in layer.values:
            return _length(layer.values[KEY])
    return HEARTBEAT


def remarks() -> list[str]:
    """On what stands in the environment for it and cannot be meant: others know these variables, too."""
    return _said(None).remarks


def _said(folder: Path | None) -> Environment:
    told = [*told_by(os.environ), *read_dotenv((folder or working_folder()) / DOTENV, DOTENV)]
    return understood([each for each in told if LIMITS.get(each.key) == KEY])


def usual_timeout() -> float | None:
    """`step_timeout` of the settings and of the environment, else 300."""
    step = settings().step
    return STEP_TIMEOUT if step is None else _length(step.values["total"])


def _length(value: Setting) -> float | None:
    return value if isinstance(value, int | float) else None
