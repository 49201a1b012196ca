"""Everything hangtight raises.

HangtightError
├── GenerationTimeout (also a TimeoutError)     a limit was broken; says which, how long, from where
│   ├── QueueTimeout                            queue: no slot in time
│   ├── LoadTimeout                             load: the model did not load, and showed no progress
│   ├── FirstTokenTimeout                       first_token, or thinking before the first delta
│   ├── IdleTimeout                             idle, or thinking after the first delta
│   ├── TotalTimeout                            total, or unstreamed
│   └── Looping                                 the model said the same again and again
├── BudgetSpent                                 the time of a task is spent: the call was not begun
├── BackendError                                the model's side broke, not the clock
│   └── Truncated                               a stream ended without saying that it was the end
└── SettingsError (also a ValueError)           a setting that cannot be meant

All of them pickle. `str()` of a timeout is three lines, and never shows `.partial`.
"""

from __future__ import annotations

from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hangtight.core.attempts import Attempt
    from hangtight.intent.findings import Finding

LONGEST_VALUE_SHOWN = 80
PLAIN = (str, bytes, int, float, type(None))


class HangtightError(Exception):
    """The root: catches all that hangtight raises and nothing else."""

    attempts: tuple[Attempt, ...] = ()
    """What was tried and failed, this error last: each has `.model`, `.elapsed`, `.reason` and `.limit`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Named facts stand beside the text, notes among them: all of `__dict__` travels."""
        return _revive, (type(self), self.args, self.__dict__)


class SettingsError(HangtightError, ValueError):
    """A setting that cannot be meant. Says its name, what was found, and what would be right."""

    def __init__(self, name: str, found: object, wanted: str) -> None:
        super().__init__(f"{name} = {_shown(found)} cannot be used: it must be {wanted}")
        self.name, self.found, self.wanted = name, found, wanted

    def __reduce__(self) -> tuple[Any, ...]:
        """What was found may be anything; what does not surely pickle travels as it was shown."""
        found = self.found if isinstance(self.found, PLAIN) else _shown(self.found)
        return _revive, (type(self), self.args, self.__dict__ | {"found": found})


class GenerationTimeout(HangtightError, TimeoutError):
    """A limit was broken. The text so far is in `.partial`; the number and its source are in the message."""

    limit: str = ""
    """The row of the time contract that was broken: `idle`, `total`, `thinking`, ..."""
    model: str = ""
    waited: float = 0.0
    """Seconds of the broken limit, its allowances included."""
    elapsed: float = 0.0
    """Seconds since the call started."""
    tokens: int = 0
    partial: str = ""
    source: str = ""
    """Where the number came from: `the call`, `default`, `hangtight.yaml:14`."""
    left_running: bool = False
    """True where a synchronous source could not be stopped and its thread is still in it."""


class QueueTimeout(GenerationTimeout):
    """No slot was given in time."""


class LoadTimeout(GenerationTimeout):
    """The model did not load, and showed no progress."""


class FirstTokenTimeout(GenerationTimeout):
    """Nothing at all came from the model."""


class IdleTimeout(GenerationTimeout):
    """The model went silent in the middle."""


class TotalTimeout(GenerationTimeout):
    """The whole call took too long."""


class Looping(GenerationTimeout):
    """The model said the same again and again, so it was ended before its time was over. `.limit` is `intent`."""

    useful: str = ""
    """The text without the repeated tail: one copy of what repeats stays."""
    loop: Finding | None = None
    """What was seen: `.unit`, `.period`, `.copies`, where it `.start`s, by which `.rule`."""
    may_fall_back: bool = True
    """Another model may be asked."""


class BudgetSpent(HangtightError):
    """The time of a task is spent, so the next call is not begun; what there is so far is the caller's to return.

    Its text is one line, which may stand in an answer as it is. Why, and what to change, are its notes.
    """

    TEXT = "[Budget exhausted] Task incomplete."

    remaining: float = 0.0
    """Seconds that a call could still have had."""
    needed: float = 0.0
    """Seconds that it would have needed, as far as that is known."""
    total: float = 0.0
    elapsed: float = 0.0
    step: str = ""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or (self.TEXT,)))


class BackendError(HangtightError):
    """The model's side broke: its process died, its server refused, its answer made no sense."""

    elapsed: float = 0.0
    partial: str = ""
    returncode: int | None = None
    """Of a process that died: its exit code, or minus the number of the signal that ended it."""
    status: int | None = None
    """Of a server that refused: its HTTP status."""
    code: str = ""
    """Why no server was asked, in a word of ours, as `circuit_open`. Empty where one was."""
    retry_after: float | None = None
    """In how many seconds it is worth asking again, where no server was asked."""
    generation: str = ""
    """Where a gateway of ours was asked: the id under which its journal knows this."""
    stderr: str = ""
    """The last lines of what a dead process said."""


class Truncated(BackendError):
    """A stream ended without a finish reason and without its end mark: what came is in `.partial`."""


def _revive(kind: type[HangtightError], args: tuple[Any, ...], told: dict[str, Any]) -> HangtightError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(told)
    return error


def _shown(found: object) -> str:
    try:
        shown = repr(found)
    except Exception:  # noqa: BLE001 - a strange value must not hide that it is one (Python writes no number of 5,000 digits)
        return f"<{type(found).__name__}>"
    return shown if len(shown) <= LONGEST_VALUE_SHOWN else shown[:LONGEST_VALUE_SHOWN] + "..."
