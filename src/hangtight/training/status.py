"""The status file of a training run: JSON that a monitor can read at any time, and what stands in it.

    cat status/training_status.json | jq '{step: .current_step, loss: .loss}'

It is written whole or not at all, so that a reader never sees half of it. A full disk is told once and ends nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

from hangtight.core.time import Instant, between
from hangtight.drivers import clock

STATUS_FILE = "status/training_status.json"
TOO_MANY = 0.10
"""The share of evaluations that timed out above which the model or the data need a look. 1 to 5 % is normal."""
ENOUGH = 10  # evaluations: fewer say nothing about a share
DIGITS = 3  # of a second: a monitor needs no more


class Doing(StrEnum):
    """What the run is at. `evaluating` for long is seen by its `since`."""

    TRAINING = "training"
    EVALUATING = "evaluating"
    HUNG = "hung"
    FINISHED = "finished"


@dataclass(slots=True)
class Tally:
    """What is counted over a whole run, its checkpoints included."""

    turn: int = 0
    """Which example is next; those that could not be used count."""
    evaluations: int = 0
    timeouts: int = 0
    elapsed: float = 0.0
    """Seconds of the sessions before this one."""
    loss: float | None = None
    eval: dict[str, Any] | None = None
    """The last one."""
    warned_at: int = 0
    """At how many evaluations it was last said that too many time out."""

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Tally:
        """From a checkpoint, which another version of us may have written."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in kept.items() if name in known})

    def kept(self, elapsed: float) -> dict[str, Any]:
        return asdict(self) | {"elapsed": elapsed}

    @property
    def rate(self) -> float:
        return self.timeouts / self.evaluations if self.evaluations else 0.0

    def needs_a_look(self) -> bool:
        """Whether it is time to say that too many time out: at the tenth evaluation, then every ten."""
        return self.rate > TOO_MANY and self.evaluations >= max(ENOUGH, self.warned_at + (self.warned_at and ENOUGH))


@dataclass(slots=True)
class Session:
    """Where this process came in, and how fast it is."""

    began: Instant
    first_step: int
    total_steps: int
    elapsed_before: float = 0.0
    looked: Instant = field(init=False)
    looked_step: int = field(init=False)

    def __post_init__(self) -> None:
        self.looked, self.looked_step = self.began, self.first_step

    def elapsed(self, now: Instant) -> float:
        return self.elapsed_before + between(self.began, now)

    def pace(self, step: int, now: Instant) -> float | None:
        """Steps per second since this was asked last."""
        steps, took = step - self.looked_step, between(self.looked, now)
        self.looked, self.looked_step = now, step
        return steps / took if steps > 0 and took > 0 else None

    def eta(self, step: int, now: Instant) -> float | None:
        """Seconds to the end at the pace of this session, its evaluations included."""
        steps = step - self.first_step
        if steps <= 0 or self.total_steps <= 0:
            return None
        return max(0, self.total_steps - step) * between(self.began, now) / steps


class StatusFile:
    """The one writer of a status file. `tell` is told once that it cannot be written."""

    def __init__(self, path: str | os.PathLike[str], tell: Callable[[str], None]) -> None:
        self.path = Path(path)
        self._tell = tell
        self._told = False
        self._doing = Doing.TRAINING
        self._since = clock.wall()
        self._facts: dict[str, Any] = {}
        self._lock = Lock()

    def write(self, doing: Doing, facts: Mapping[str, Any] | None = None) -> None:
        """What is known now. Without facts the earlier ones stay: a hang is told from another thread."""
        with self._lock:
            now = clock.wall()
            if doing is not self._doing:
                self._doing, self._since = doing, now
            if facts is not None:
                self._facts = dict(facts)
            told = {**self._facts, "doing": doing.value, "since": _iso(self._since), "updated": _iso(now)}
            try:
                replace_whole(self.path, json.dumps(plainly(told), allow_nan=False, ensure_ascii=False, indent=1))
                self._told = False
            except OSError as error:
                self._refused(error)

    def _refused(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            self._tell(f"⚠️  {self.path} cannot be written: {error}. Training goes on.")


def replace_whole(path: Path, text: str) -> None:
    """Writes beside the file and puts it in its place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    try:
        beside.write_text(text + "\n", encoding="utf-8")
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def plainly(value: Any) -> Any:
    """The same as JSON has it: what is no number becomes null, and nothing else is left to guess."""
    if isinstance(value, Mapping):
        return {str(key): plainly(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plainly(part) for part in value]
    if isinstance(value, bool | int | str | None):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if isfinite(number) else None


def facts(tally: Tally, session: Session, step: int, now: Instant) -> dict[str, Any]:
    """What stands in the file, whoever reads it."""
    eta = session.eta(step, now)
    return {
        "current_step": step,
        "total_steps": session.total_steps,
        "loss": tally.loss,
        "eval": tally.eval,
        "evaluations": tally.evaluations,
        "timeouts": {"count": tally.timeouts, "rate": round(tally.rate, DIGITS)},
        "elapsed": round(session.elapsed(now), DIGITS),
        "eta": None if eta is None else round(eta, DIGITS),
    }


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")
