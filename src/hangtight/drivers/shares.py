"""Where a call stands: in which budget, and in which step of it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from hangtight.core.telling import LONGER
from hangtight.core.time import plain

if TYPE_CHECKING:
    from hangtight.drivers.budgets import Budget


class Share:
    """Where a call stands: in this budget, and in this step of it or in none."""

    __slots__ = ("budget", "step")

    def __init__(self, budget: Budget, step: str | None) -> None:
        self.budget = budget
        self.step = step

    def left(self) -> float:
        """How long a call here may take at most."""
        budget = self.budget
        return budget.begun.left_for(self.step, budget.now())

    def admit(self, least: float = 0.0) -> None:
        """Raises BudgetSpent where a call that began now, and takes at least so long, could not fit."""
        budget, step = self.budget, self.step
        now = budget.now()
        left, needed = budget.machine.left_for(step, now), max(least, budget.machine.needed(step, now))
        if left <= 0 or left < needed:
            raise budget.spent(step, left, needed)

    @property
    def parent(self) -> tuple[str, str]:
        """How people know it, and the line to change."""
        told = "the budget" if self.step is None else f"the budget, in step {self.step}"
        return told, f"hangtight.budget({plain(LONGER * self.budget.total)}, ...)"


CURRENT: ContextVar[Share | None] = ContextVar("hangtight-budget", default=None)
