"""Where a call stands: in which budget, and in which step of it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from hangtight.core.telling import LONGER
from hangtight.core.time import FOREVER, plain

if TYPE_CHECKING:
    from hangtight.drivers.budget.task import Budget


class Share:
    """A place in a budget: in this step of it, or in none. Inside of another budget that one holds too."""

    __slots__ = ("budget", "former", "step", "token", "void", "within")

    def __init__(self, budget: Budget, step: str | None) -> None:
        self.budget = budget
        self.step = step
        self.former = former = current()
        """Where the code stood before."""
        self.within: Share | None = former if former is None or former.budget is not budget else former.within
        """The place in another budget."""
        self.void = False
        """Its block has ended, somewhere else than where it began."""
        self.token: Token[Share | None] | None = None

    # -- the block --------------------------------------------------------------------------------------------

    def enter(self) -> None:
        self.token = CURRENT.set(self)

    def leave(self) -> None:
        """A generator may be closed in another context than it ran in, or out of turn: what it left is passed over."""
        token, self.token = self.token, None
        if token is None:
            return
        try:
            if CURRENT.get() is self:
                CURRENT.reset(token)
                return
        except ValueError:
            pass
        self.void = True

    # -- what there is ----------------------------------------------------------------------------------------

    def left(self) -> float:
        """How long a call here may take at most."""
        budget, within = self.budget, self.within
        left = budget.begun.left_for(self.step, budget.now())
        return left if within is None else min(left, within.left())

    def allotted_left(self) -> float:
        """What this step has left of what was allotted to it; for ever where nothing was."""
        budget = self.budget
        if self.step is None or not budget.parts:
            return FOREVER
        return budget.begun.allotted_left(self.step, budget.now())

    def admit(self, least: float = 0.0) -> None:
        """Raises BudgetSpent where a call that began now, and takes at least so long, could not fit."""
        budget, step = self.budget, self.step
        left, needed = self.left(), max(least, budget.begun.needed(step, budget.now()))
        if left <= 0 or left < needed:
            raise budget.spent(self, left, needed)

    @property
    def parent(self) -> tuple[str, str]:
        """How people know it, and the line to change. Of budgets inside each other it is the one that ends first."""
        within, budget = self.within, self.budget
        if within is not None and within.left() < budget.begun.left_for(self.step, budget.now()):
            return within.parent
        if budget.around is not None and budget.total < budget.asked:
            return budget.around.parent
        told = "the budget" if self.step is None else f"the budget, in step {self.step}"
        return told, budget.change or f"hangtight.budget({plain(LONGER * budget.asked)}, ...)"


CURRENT: ContextVar[Share | None] = ContextVar("hangtight-budget", default=None)


def current() -> Share | None:
    """Where the code that asks stands."""
    share = CURRENT.get()
    while share is not None and share.void:
        share = share.former
    return share
