"""What is asked between two tokens: whether time is over, and now and then whether a row repeats itself.

Needs torch and transformers: it is loaded by the guard when a model of transformers generates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria

if TYPE_CHECKING:
    from hangtight.training.rows import Reading
    from hangtight.training.vigil import Vigil


class Between(StoppingCriteria):  # type: ignore[misc]
    """Ends all rows when time is over, and one row when that repeats itself.

    It makes no tensor at a step and never waits for a device: the two answers are kept per device and batch, and what
    it keeps of the tokens is a reference to the newest ids.
    """

    def __init__(self, vigil: Vigil, reading: Reading | None, *, in_step: bool = False) -> None:
        self.vigil = vigil
        self.reading = reading
        self.in_step = in_step
        """The ranks agree on when time is over; it is not decided here."""
        self.newest: Any = None
        self.first_length = 0
        """Of prompt and first step, where it was asked first."""
        self.length = 0
        self.stopped = False
        """It has ended what was not over by itself."""
        self._rows = -1
        self._device: Any = None
        self._go_on: Any = None
        self._stop: Any = None

    def __call__(self, input_ids: Any, scores: Any = None, **_: Any) -> Any:
        rows, length = input_ids.shape
        if rows != self._rows or input_ids.device != self._device:
            self._meets(rows, length, input_ids.device)
        came, self.length, self.newest = length - self.length, length, input_ids
        if self.vigil.came(came * rows) and not self.in_step:
            self.stopped = True
            return self._stop
        if self.stopped:
            return self._stop
        reading = self.reading
        if reading is not None and length >= reading.next_at and reading.looks(input_ids):
            self._leave_out(reading)
        return self._go_on

    def __deepcopy__(self, memo: Any) -> Between:
        """Some ways to generate copy the list of criteria; there is one clock all the same."""
        return self

    def _meets(self, rows: int, length: int, device: Any) -> None:
        self._rows, self._device = rows, device
        self._go_on = torch.zeros(rows, dtype=torch.bool, device=device)
        self._stop = torch.ones(rows, dtype=torch.bool, device=device)
        if not self.first_length:
            self.first_length, self.length = length, length - 1

    def _leave_out(self, reading: Reading) -> None:
        """From now on these rows are over."""
        over = [row in reading.loops for row in range(self._rows)]
        self._go_on = torch.tensor(over, dtype=torch.bool).to(self._device, non_blocking=True)
