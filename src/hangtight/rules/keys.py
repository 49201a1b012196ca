"""The variables of the environment that mean something to us."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "HANGTIGHT_"
LIMITS: Mapping[str, str] = {
    "HANGTIGHT_FIRST_TOKEN": "first_token",
    "HANGTIGHT_IDLE": "idle",
    "HANGTIGHT_TOTAL": "total",
    "HANGTIGHT_HEARTBEAT": "heartbeat",
    "OLLAMA_HEARTBEAT_INTERVAL": "heartbeat",
}
"""In the order of their rank: what was meant for us stands above what we understand."""
FOREIGN = ("OLLAMA_HEARTBEAT_INTERVAL",)
"""Others read them too: what we cannot use in them is no error."""
MODE, STEP_TIMEOUT = "HANGTIGHT_MODE", "HANGTIGHT_STEP_TIMEOUT"
CONFIG, JOURNAL = "HANGTIGHT_CONFIG", "HANGTIGHT_JOURNAL"
INTENT = "HANGTIGHT_INTENT"
KEYS = (*LIMITS, INTENT, MODE, STEP_TIMEOUT, CONFIG, JOURNAL)
