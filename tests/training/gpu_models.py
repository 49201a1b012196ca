"""A model whose kernel does not return: at the top level of a module, so that another process can be sent it."""

from __future__ import annotations

from tests.training.hanging_models import Trouble

FOR_EVER = 1 << 60
"""Cycles of a GPU: years."""


class Spinning(Trouble):
    """At its forward number `at` the device is kept busy for so many `cycles`, and Python waits for it."""

    cycles = FOR_EVER

    def spin(self) -> None:
        import torch

        torch.cuda._sleep(self.cycles)
        torch.cuda.synchronize()
