"""How a guarded generation ended, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hangtight.errors import HangtightError


class Verdict(StrEnum):
    """What became of it."""

    FINISHED = "finished"
    """All rows ended by themselves."""
    TIMED_OUT = "timed out"
    LOOPING = "looping"
    """It said the same again and again."""
    HUNG = "hung"
    """Nothing that may be done inside this process ended it in time; with `isolate=True` its process was killed."""


class Layer(StrEnum):
    """What may end a generation, from the gentlest to the hardest."""

    CRITERION = "criterion"
    """Asked between two tokens. The text is kept."""
    RANKS = "ranks"
    """All ranks stop at the same step."""
    ALARM = "alarm"
    """A signal: in the main thread, on Unix."""
    EXCEPTION = "exception"
    """An asynchronous exception: in other threads, and on Windows."""
    NAMED = "named"
    """Ends nothing: says in time that it hangs, and where."""
    PROCESS = "process"
    """Its own process, which can be killed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch."""

    text: str | None
    """None where it was stopped, or where no tokenizer is known."""
    partial: str
    """What came, whole or not."""
    tokens: int
    whole: bool
    """It ended by itself."""
    unread: Exception | None = None
    """What the tokenizer raised, where there is no text for that reason."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What `guarded_generate` returns, however the generation ended."""

    verdict: Verdict
    rows: tuple[Row, ...] = ()
    output: Any = None
    """What `generate` returned; None where it was interrupted."""
    elapsed: float = 0.0
    layers: tuple[Layer, ...] = ()
    """What stood around it, the gentlest first."""
    ended_by: Layer | None = None
    """Which of them ended it; None where it ended by itself."""
    error: HangtightError | None = None
    """What `guard` would have raised: a GenerationTimeout, or BudgetSpent where no time was left to begin."""

    @property
    def text(self) -> str | None:
        """Of the first row; None where it was stopped."""
        return self.rows[0].text if self.rows else None

    @property
    def partial(self) -> str:
        return self.rows[0].partial if self.rows else ""

    @property
    def tokens(self) -> int:
        """Of all rows."""
        return sum(row.tokens for row in self.rows)

    @property
    def finished(self) -> bool:
        return self.verdict is Verdict.FINISHED
