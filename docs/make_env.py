"""Writes `.env.example`: each variable of the environment that means something to us, with its default.

Run it as `make docs`. `tests/test_docs.py` fails if the file is not what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from hangtight.core.layers import MODES
from hangtight.core.limits import Limits
from hangtight.flows.definition.steps import HEARTBEAT, STEP_TIMEOUT
from hangtight.rules import keys
from hangtight.rules.building import DEFAULT_MODE_OF_A_PROJECT

PAGE = Path(__file__).parent.parent / ".env.example"
HEAD = """\
# What hangtight reads from the environment, or from .env in the working folder. Copy it to .env and take away the # of
# what you want to set. Seconds; none is no limit; auto is learned. A call, a mode and a model's section in
# hangtight.yaml are stronger; `limits` in hangtight.yaml are weaker.
"""
SET = "OLLAMA_HEARTBEAT_INTERVAL"
"""It stands there as set, which changes nothing: its value is the default."""
LIMITS = Limits()
GROUPS: Mapping[str, Mapping[str, object]] = {
    "A sign of life this often; 0 = off. The same under two names; ours wins.": {
        SET: f"{HEARTBEAT:g}",
        "HANGTIGHT_HEARTBEAT": f"{LIMITS.heartbeat:g}",
    },
    "Silence before the first piece, silence in the middle, the whole call.": {
        "HANGTIGHT_FIRST_TOKEN": f"{LIMITS.first_token:g}",
        "HANGTIGHT_IDLE": f"{LIMITS.idle:g}",
        "HANGTIGHT_TOTAL": f"{LIMITS.total:g}",
    },
    "Whether what the model writes may move its deadline: on or off.": {keys.INTENT: "on"},
    f"The mode of a call that names none: {', '.join(MODES)}, or one of the settings.": {
        keys.MODE: DEFAULT_MODE_OF_A_PROJECT
    },
    "The total of a step of a flow that has none, and of each call inside a step of a budget.": {
        keys.STEP_TIMEOUT: f"{STEP_TIMEOUT:g}"
    },
    "The settings file, and where the journal is: a path, postgresql://user@host/database, or off.": {
        keys.CONFIG: "hangtight.yaml",
        keys.JOURNAL: "off",
    },
}


def page() -> str:
    """The file, made anew."""
    told = {key for group in GROUPS.values() for key in group}
    assert told == set(keys.KEYS), f"this file and the variables differ: {told ^ set(keys.KEYS)}"
    return "\n".join([HEAD, *_groups()])


def _groups() -> Iterator[str]:
    for words, group in GROUPS.items():
        lines = (f"{'' if key == SET else '#'}{key}={value}\n" for key, value in group.items())
        yield f"# {words}\n{''.join(lines)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is up to date\n")
