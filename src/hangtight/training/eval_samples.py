"""Shows, while a model trains, what it says by now: bounded in time, and without a trace in the training.

A callback for `transformers.Trainer` and for TRL's trainers. It does its work at the beginning of the next step, behind
the checkpoint of this one: a generation that must be killed with its process costs no checkpoint.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState

from hangtight.drivers import clock
from hangtight.errors import SettingsError
from hangtight.training import blocks
from hangtight.training.blocks import block, fast_line, many_timeouts
from hangtight.training.bounding import OwnTimeoutError, within
from hangtight.training.eval_settings import EvalSettings, settings_from
from hangtight.training.evaluating import Evaluated, Evaluator
from hangtight.training.fitting import UnfitError
from hangtight.training.hanging import beside
from hangtight.training.isolated_child import leave_the_training_to_the_parent
from hangtight.training.ranks import needs_all_ranks
from hangtight.training.samples import LOOKS_LIKE, Rotation, Samples
from hangtight.training.showing import Voice
from hangtight.training.status import Doing, Session, StatusFile, Tally, facts

NUMBERS = ("tokens", "loss", "val_loss", "gap", "elapsed")
RESTORED = "as before"
"""Stands for the examples in a checkpoint, which cannot hold them; behind it: which of how many callbacks it is."""
Hook = Callable[..., None]


def never_stops_training(what: str) -> Callable[[Hook], Hook]:
    """A failure of ours is told once and training goes on. A KeyboardInterrupt is the user's and passes."""

    def kept_apart(hook: Hook) -> Hook:
        @wraps(hook)
        def called(self: EvalSamples, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            try:
                hook(self, args, state, control, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, hours of training are worth more
                self._voice.trouble(what, error)

        return called

    return kept_apart


class EvalSamples(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Every few steps a line, and now and then a full evaluation: one example, generated, scored and printed.

    `samples` and `val` are lists or data sets of examples, or functions of a number. `log_to(trainer.log)` sends the
    numbers to TensorBoard and the like; without it they stand in `trainer.state.log_history` alone.
    """

    _living: ClassVar[list[weakref.ref[EvalSamples]]] = []

    def __init__(
        self,
        samples: Samples,
        tokenizer: Any = None,
        *,
        val: Samples = None,
        settings: EvalSettings | None = None,
    ) -> None:
        self.kept: dict[str, Any] = {}
        if isinstance(samples, str) and samples.startswith(RESTORED):
            self._take_over(*map(int, samples.split()[-2:]))
            return
        self.settings = settings = settings or EvalSettings()
        self._voice = Voice(settings.logger)
        self._samples = Rotation(samples, seed=settings.eval_seed)
        self._val = None if val is None else Rotation(val, seed=settings.eval_seed)
        self._tokenizer = tokenizer
        self._status = StatusFile(settings.status_file, self._voice.say)
        self._tally = Tally()
        self._session: Session | None = None
        self._due: int | None = None
        self._log: Callable[[dict[str, Any]], object] | None = None
        self._has_tokenizer = True
        self._training: Any = None
        """The state of the Trainer that it belongs to."""
        self._place = 0
        """Among those of the same Trainer."""
        self._living.append(weakref.ref(self))

    @classmethod
    def from_config(
        cls, path: str | Path, samples: Samples, tokenizer: Any = None, *, val: Samples = None, **more: Any
    ) -> EvalSamples:
        """With the settings of the run's own `config.json`; `more` are settings that win over the file's."""
        foreign = [each.name for each in fields(TrainingArguments)]
        tell = Voice(more.get("logger")).say
        settings: EvalSettings = settings_from(path, tell=tell, foreign=foreign, **more)
        return cls(samples, tokenizer, val=val, settings=settings)

    def _take_over(self, place: int, count: int) -> None:
        """`restore_callback_states_from_checkpoint` makes a new callback of what is in the checkpoint.

        Examples and a tokenizer cannot be in there: they come from the one that the new one replaces.
        """
        living = [(at, each) for at, ref in enumerate(self._living) if type(each := ref()) is type(self)]
        if len(living) < count:
            raise SettingsError("samples", None, LOOKS_LIKE)
        at, replaced = living[place - count]
        self.__dict__.update(replaced.__dict__)
        self._living[at] = weakref.ref(self)

    def _beside(self, state: Any) -> list[EvalSamples]:
        """Those of the same training, itself included, in the order in which they began."""
        living = (ref() for ref in self._living)
        return sorted((each for each in living if type(each) is type(self) and each._training is state), key=_place_of)

    def log_to(self, log: Callable[[dict[str, Any]], object]) -> None:
        """Where the numbers of an evaluation go as well: `trainer.log`, which no callback is given."""
        self._log = log

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: transformers asks for it at each save."""
        session = self._session
        elapsed = self._tally.elapsed if session is None else session.elapsed(clock.now())
        place, count = self._place, max(1, len(self._beside(self._training)) if self._training is not None else 1)
        return {
            "args": {"samples": f"{RESTORED} {place} {count}"},
            "attributes": {"kept": self._tally.kept(elapsed), "place": place},
        }

    @never_stops_training("the beginning")
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        leave_the_training_to_the_parent()
        self._joins(state)
        kept = self._kept(state)
        self._tally = Tally.of(kept) if state.global_step > 0 else Tally()
        self._has_tokenizer = self._tokenizer is not None or kwargs.get("processing_class") is not None
        if not self._has_tokenizer and state.is_world_process_zero:
            self._voice.say(blocks.NO_TOKENIZER)
        self._session = Session(clock.now(), state.global_step, state.max_steps, self._tally.elapsed)
        self._due = None
        self._write(Doing.TRAINING, state)

    def _joins(self, state: Any) -> None:
        """It may be one of several in this training. Two that wrote to one file would tell each other's numbers."""
        others = [each for each in self._beside(state) if each is not self]
        if self._training is not state:
            self._training, self._place = state, len(others)
        wanted = self._status.path
        taken = {each._status.path.absolute() for each in others}
        if wanted.absolute() in taken:
            own = wanted.with_name(f"{wanted.stem}_{self._place + 1}{wanted.suffix}")
            self._status = StatusFile(own, self._voice.say)
            self._voice.say(blocks.shared_status(str(wanted), str(own)))

    def _kept(self, state: Any) -> Any:
        """What the checkpoint has of this one. Several are kept in a list, to which transformers adds at each save."""
        # A checkpoint from before this callback was there has no place for it, and transformers would raise at the
        # next save.
        stored = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        found = [each["attributes"] for each in (stored if isinstance(stored, list) else [stored])]
        own = [each["kept"] for each in found if each.get("place", 0) == self._place]
        return own[-1] if own else {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decides the same on every rank: a log is a reduction over all of them."""
        stored = state.stateful_callbacks.get(type(self).__name__)
        if isinstance(stored, list) and not self._place:
            stored[:] = [each.state() for each in self._beside(state)]
        if _is_time(state.global_step, self.settings.logging_steps):
            control.should_log = True
        if _is_time(state.global_step, self.settings.eval_steps):
            self._due = state.global_step

    @never_stops_training("the line")
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        session = self._session
        if session is None or not logs or "loss" not in logs:
            return
        self._tally.loss = float(logs["loss"])
        step, now = state.global_step, clock.now()
        if not (state.is_world_process_zero and _is_time(step, self.settings.logging_steps)):
            return
        self._write(Doing.TRAINING, state)
        self._voice.say(
            fast_line(
                step,
                state.max_steps,
                loss=self._tally.loss,
                pace=session.pace(step, now),
                elapsed=session.elapsed(now),
                eta=session.eta(step, now),
            )
        )

    @never_stops_training("the evaluation")
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluate_if_due(state, control, kwargs)

    @never_stops_training("the evaluation")
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_training_stop:  # no next step comes, and the best model may be loaded over the last one
            self._evaluate_if_due(state, control, kwargs)

    @never_stops_training("the evaluation")
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluate_if_due(state, control, kwargs)
        self._write(Doing.FINISHED, state)

    def _evaluate_if_due(self, state: Any, control: Any, given: dict[str, Any]) -> None:
        step, self._due = self._due, None
        if step is None or not self._has_tokenizer:
            return
        model = given["model"]
        in_step = needs_all_ranks(model)
        if not (state.is_world_process_zero or in_step):
            return
        self._write(Doing.EVALUATING, state)
        evaluator = self._evaluator(given, state, in_step)
        try:
            turn, self._tally.turn = self._tally.turn, self._tally.turn + 1
            evaluated = evaluator.evaluate(step, self._samples, self._val, turn=turn)
            self._count(evaluated)
            if state.is_world_process_zero:
                self._report(evaluated, state, control)
        except UnfitError as unfit:
            if state.is_world_process_zero:
                self._voice.say(blocks.skipped(step, str(unfit)))
        except OwnTimeoutError:
            self._tally.evaluations += 1
            self._tally.timeouts += 1
            raise
        finally:
            self._write(Doing.TRAINING, state)
        if evaluator.refused is not None:  # it would be tried, and refused, at each evaluation
            self.settings = replace(self.settings, eval_isolate=False)
            self._voice.say(blocks.not_isolated(str(evaluator.refused)))

    def _evaluator(self, given: dict[str, Any], state: Any, in_step: bool) -> Evaluator:
        def hung(hang: Any) -> None:
            beside(lambda: self._write(Doing.HUNG, None))
            if self.settings.on_hang is not None:
                self.settings.on_hang(hang)

        tokenizer = self._tokenizer if self._tokenizer is not None else given.get("processing_class")
        return Evaluator(given["model"], tokenizer, replace(self.settings, on_hang=hung), in_step=in_step)

    def _count(self, evaluated: Evaluated) -> None:
        self._tally.evaluations += 1
        self._tally.timeouts += evaluated.timed_out
        self._tally.eval = evaluated.facts()

    def _report(self, evaluated: Evaluated, state: Any, control: Any) -> None:
        settings, tally = self.settings, self._tally
        self._voice.say(block(evaluated.shown, longest_prompt=settings.longest_prompt, widest_gap=settings.widest_gap))
        for note in evaluated.notes:
            self._voice.say(note)
        for where, error in evaluated.troubles:
            self._voice.trouble(where, error)
        if tally.needs_a_look():
            tally.warned_at = tally.evaluations
            self._voice.say(many_timeouts(tally.timeouts, tally.evaluations))
        told = {f"eval_sample_{name}": value for name in NUMBERS if (value := evaluated.facts()[name]) is not None}
        told["eval_sample_timeouts"] = tally.timeouts
        if self._log is None:
            state.log_history.append({**told, "epoch": state.epoch, "step": state.global_step})
            return
        log, asked = self._log, control.should_log
        try:
            within(settings.eval_timeout_seconds, "log_to", lambda: log(told), on_hang=settings.on_hang)
        except Exception as error:  # noqa: BLE001 - it is no fault of the evaluation
            self._voice.trouble("log_to", error)
        finally:
            control.should_log = asked  # the Trainer takes any log for the one that was asked for

    def _write(self, doing: Doing, state: Any) -> None:
        """The status file, by one rank. Without a state only what the run is doing has changed."""
        if state is None:
            self._status.write(doing)
        elif state.is_world_process_zero and self._session is not None:
            self._status.write(doing, facts(self._tally, self._session, state.global_step, clock.now()))


def _is_time(step: int, every: int | None) -> bool:
    return every is not None and step > 0 and step % every == 0


def _place_of(callback: EvalSamples) -> int:
    return callback._place
