"""Several ranks that generate in lockstep: when the time of one is over, all stop at the same step.

Where weights are spread over ranks (FSDP, ZeRO-3) each step needs all of them, so transformers goes on with empty
steps on a rank that has finished, and asks all ranks before each step whether anybody has not. That question is a sum
over all ranks, and our word travels in it: no reduction more than without us. A rank without a guard reads it as "not
finished".
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

METHOD = "_has_unfinished_sequences"
TIME_IS_OVER = float(1 << 20)
"""In the sum of ranks that have not finished: more than there are ranks, and exact in 32 bits."""


def several_ranks() -> bool:
    """More than one process takes part here. torch is not loaded to learn that."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return False
    return bool(distributed.get_world_size() > 1)


def in_lockstep(model: Any, synced_gpus: bool | None) -> bool:
    """Whether transformers will run this generation in lockstep: as it was told, or as it decides by itself."""
    if not several_ranks() or not hasattr(model, METHOD):
        return False
    return needs_all_ranks(model) if synced_gpus is None else synced_gpus


def needs_all_ranks(model: Any) -> bool:
    """Whether no rank can run this model alone: its weights lie on all of them."""
    if not several_ranks():
        return False
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
    from transformers.integrations.fsdp import is_fsdp_managed_module  # in each version 5; it moved, and stayed here

    return bool(is_deepspeed_zero3_enabled() or is_fsdp_managed_module(model))


class Lockstep:
    """While it holds, each rank says before each step whether its time is over, and hears it of the others."""

    def __init__(self, model: Any, *, is_due: Callable[[], bool], stop: Callable[[bool], object]) -> None:
        self._model = getattr(model, METHOD).__self__  # an adapter around a model hands on what is asked of it
        self._is_due = is_due
        self._stop = stop
        """Called once, on all ranks before the same step; with whether this rank had finished before."""
        self._agreed = False
        self._before: Any = None

    def __enter__(self) -> Lockstep:
        self._before = vars(self._model).get(METHOD)
        vars(self._model)[METHOD] = self._has_unfinished
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is None:
            vars(self._model).pop(METHOD, None)
        else:
            vars(self._model)[METHOD] = self._before

    def _has_unfinished(self, this_peer_finished: Any, synced_gpus: bool, device: Any) -> bool:
        if not synced_gpus:
            return not bool(this_peer_finished)
        import torch
        from torch import distributed

        said = 0.0 if this_peer_finished else 1.0
        if not self._agreed and self._is_due():
            said += TIME_IS_OVER
        told = torch.tensor(said, device=device)
        distributed.all_reduce(told, op=distributed.ReduceOp.SUM)
        heard = float(told.item())
        if heard >= TIME_IS_OVER and not self._agreed:
            self._agreed = True
            self._stop(bool(this_peer_finished))
        return heard != 0.0
