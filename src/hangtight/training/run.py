"""One call of `generate` inside a guarded block: what is asked between its tokens, and which rows came of it."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hangtight.training.ranks import Lockstep, in_lockstep
from hangtight.training.rows import NO_LOOPS, Ends, Reading, rows_of

if TYPE_CHECKING:
    from hangtight.training.criterion import Between
    from hangtight.training.outcome import Row
    from hangtight.training.vigil import Vigil

CRITERIA = "stopping_criteria"
PAGED = "paged"
"""A cache with which transformers generates in another way, and refuses criteria."""


class Run:
    """From the call of `generate` to its rows."""

    def __init__(self, model: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.model, self.call = model, call
        self.args, self.kwargs = list(args), dict(kwargs)
        self.output: Any = None
        self.criterion: Between | None = None
        self.rows: tuple[Row, ...] | None = None
        """What came, once it was read."""
        self.in_step = False
        """It runs in lockstep with other ranks."""
        self.ends = self.find_ends()

    # -- before -----------------------------------------------------------------------------------------------

    def guarded(self, vigil: Vigil, tokenizer: Any, every: int) -> None:
        """Put the criterion among those that the caller gave, where this `generate` takes any."""
        place = self._place_of_criteria()
        if place is None:
            return
        from hangtight.training.criterion import Between

        self.in_step = in_lockstep(self.model, self.kwargs.get("synced_gpus"))
        reading = None
        if tokenizer is not None and vigil.wanted.intent.on and self.setting("num_beams", 1) == 1:
            reading = Reading(tokenizer, vigil.wanted, every=every, ends=self.ends, start=self.given_length())
        self.criterion = Between(vigil, reading, in_step=self.in_step)
        self._put(place, self.criterion)

    def _place_of_criteria(self) -> int | None:
        """Where among the arguments the criteria stand; None where this `generate` knows none."""
        if "transformers" not in sys.modules or self.setting("cache_implementation") == PAGED:
            return None
        try:
            parameters = inspect.signature(self.call).parameters
        except (TypeError, ValueError):
            return None
        if CRITERIA in parameters:
            return [*parameters].index(CRITERIA)
        hands_on = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        return len(self.args) if hands_on and hasattr(self.model, "generation_config") else None

    def _put(self, place: int, criterion: Between) -> None:
        from transformers import StoppingCriteriaList

        given: Iterable[Any] | None
        if place < len(self.args):
            given = self.args[place]
            self.args[place] = StoppingCriteriaList([*(given or ()), criterion])
        else:
            given = self.kwargs.get(CRITERIA)
            self.kwargs[CRITERIA] = StoppingCriteriaList([*(given or ()), criterion])

    def lockstep(self, vigil: Vigil) -> AbstractContextManager[object]:
        """Holds while it runs: the agreement with the other ranks, where there is one."""
        criterion = self.criterion
        if criterion is None or not self.in_step:
            return nullcontext()

        def stop(finished: bool) -> None:
            vigil.rings_for_others()
            criterion.stopped = not finished

        return Lockstep(self.model, is_due=vigil.is_due, stop=stop)

    # -- what was asked for -----------------------------------------------------------------------------------

    def setting(self, name: str, default: Any = None) -> Any:
        """As `generate` finds it: the argument, the configuration given, that of the model."""
        given = self.kwargs.get("generation_config")
        for found in (self.kwargs.get(name), getattr(given, name, None), self._of_model(name)):
            if found is not None:
                return found
        return default

    def _of_model(self, name: str) -> Any:
        return getattr(getattr(self.model, "generation_config", None), name, None)

    def find_ends(self) -> Ends:
        """How a row of this call can end by itself."""
        eos = _ids(self.setting("eos_token_id")) or _ids(self._of_model("eos_token_id"))
        pad = _ids(self.setting("pad_token_id")) or _ids(self._of_model("pad_token_id"))
        return Ends(eos, pad or eos, self.setting("max_length"))

    def given_length(self) -> int | None:
        """How long the prompt is that the output will begin with; None where that cannot be seen."""
        given: Any
        if getattr(getattr(self.model, "config", None), "is_encoder_decoder", False):
            given = self.kwargs.get("decoder_input_ids")
        else:
            given = self.kwargs.get("input_ids", self.kwargs.get("inputs", self.args[0] if self.args else None))
        shape: Any = getattr(given, "shape", ())
        return int(shape[1]) if len(shape) == 2 and not given.is_floating_point() else None

    def _batch(self) -> int | None:
        for given in (*self.args[:1], *self.kwargs.values()):
            if len(getattr(given, "shape", ())) >= 1:
                return int(given.shape[0])
        return None

    # -- after ------------------------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """All rows that were not over were ended by us, between two tokens."""
        return self.criterion is not None and self.criterion.stopped

    @property
    def reading(self) -> Reading | None:
        return None if self.criterion is None else self.criterion.reading

    def read(self, tokenizer: Any, unread: Exception | None = None) -> None:
        """The rows as text, or `unread`: why there is none. Whatever `generate` gave, this does not fail."""
        try:
            self.rows = self._rows(tokenizer)
        except Exception as error:  # noqa: BLE001 - it is no output of transformers, and the answer is the caller's
            logging.getLogger("hangtight.training").warning("the rows of an answer cannot be told: %r", error)
            self.rows = ()
        if unread is not None:
            self.rows = tuple(replace(row, unread=unread) for row in self.rows)

    def _rows(self, tokenizer: Any) -> tuple[Row, ...]:
        """In the rows of the output, or of the newest tokens where there is no output."""
        ids = getattr(self.output, "sequences", self.output)
        was_cut = self.output is None
        if was_cut:
            ids = self._newest()
        if ids is None or len(getattr(ids, "shape", ())) != 2:
            return ()
        loops = NO_LOOPS if self.reading is None else self.reading.loops
        ends, start = self.ends._replace(longest=self._longest()), self._start(ids)
        answers = ids[:, start:].tolist()
        return rows_of(answers, start, ends, tokenizer, stopped=self.stopped or was_cut, loops=loops)

    def _newest(self) -> Any:
        """The newest tokens of each row; of several beams the best one so far."""
        ids = None if self.criterion is None else self.criterion.newest
        batch = self._batch()
        if ids is None or not batch or self.setting("num_beams", 1) == 1:
            return ids
        return ids[:: max(1, ids.shape[0] // batch)]

    def _start(self, ids: Any) -> int:
        """Where the prompt ends and the answer begins."""
        first = self.criterion.first_length if self.criterion is not None else 0
        given = self.given_length()
        if given is not None and (not first or given < first):
            return min(given, int(ids.shape[1]))
        return max(0, first - 1)

    def _longest(self) -> int | None:
        more = self.setting("max_new_tokens")
        first = self.criterion.first_length if self.criterion is not None else 0
        return self.ends.longest if more is None or not first else first - 1 + int(more)

    def forget(self) -> None:
        """Tensors of a whole batch are not kept longer than they are needed."""
        if self.criterion is not None:
            self.criterion.newest = None
        self.args, self.kwargs = [], {}


def _ids(value: Any) -> frozenset[int]:
    if value is None:
        return frozenset()
    if hasattr(value, "tolist"):
        value = value.tolist()
    return frozenset(value) if isinstance(value, list | tuple | set) else frozenset((int(value),))
