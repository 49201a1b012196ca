"""`guarded_generate(isolate=True)`: the same clocks, around a process that can be killed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hangtight.core.time import FOREVER
from hangtight.errors import LoadTimeout
from hangtight.training.guarding import READING
from hangtight.training.interrupting import interrupted_after
from hangtight.training.isolated import Came, isolated
from hangtight.training.outcome import Generated, Layer, Verdict
from hangtight.training.rows import NO_LOOPS, Reading, rows_of
from hangtight.training.run import Run
from hangtight.training.vigil import Vigil, grace_of

if TYPE_CHECKING:
    from hangtight.training.outcome import Row

LAYERS = (Layer.CRITERION, Layer.PROCESS)


class Apart:
    """One generation in the other process, as its clocks and readers here see it."""

    def __init__(self, run: Run, vigil: Vigil, tokenizer: Any, every: int) -> None:
        self._run, self._vigil, self._tokenizer = run, vigil, tokenizer
        self._reading: Reading | None = None
        if tokenizer is not None and vigil.wanted.intent.on and run.setting("num_beams", 1) == 1:
            self._reading = Reading(tokenizer, vigil.wanted, every=every, ends=run.ends, start=0)
        self._tokens = 0

    def generated(self) -> Generated:
        vigil, run = self._vigil, self._run
        total, idle = vigil.total, vigil.idle
        vigil.begins()
        came = Came()
        try:
            came = isolated(run.model).generate(
                run.kwargs,
                limit=None if total == FOREVER else total,
                grace=grace_of(total),
                idle=None if idle == FOREVER else idle,
                on_tokens=self._hears,
            )
        except BaseException as error:
            vigil.close(error, tokens=self._tokens, partial="")
            raise
        return self._told(came)

    def _hears(self, rows: list[list[int]]) -> bool | set[int] | None:
        """All tokens so far. True ends all rows; numbers end these."""
        tokens = sum(map(len, rows))
        before, self._tokens = self._tokens, tokens
        if self._vigil.came(max(1, tokens - before)):
            return True
        reading = self._reading
        if reading is not None and len(rows[0]) >= reading.next_at and reading.reads(rows):
            return set(reading.loops)
        return None

    def _told(self, came: Came) -> Generated:
        vigil, loops = self._vigil, NO_LOOPS if self._reading is None else self._reading.loops
        rows = self._rows(came)
        ended_by = Layer.PROCESS if came.killed else Layer.CRITERION if came.stopped or loops else None
        if came.killed or (came.stopped and not loops):
            vigil.rings()
        elif loops:
            loop = next(iter(loops.values()))
            vigil.loops(loop.found, loop.attention)
        partial = next((row.partial for row in rows if not row.whole), "")
        vigil.close(tokens=sum(row.tokens for row in rows), partial=partial)
        return Generated(
            verdict=_verdict(came, vigil) if ended_by is not None else Verdict.FINISHED,
            rows=rows,
            output=came.output,
            elapsed=vigil.elapsed,
            layers=LAYERS,
            ended_by=ended_by,
            error=None if ended_by is None else vigil.verdict(),
        )

    def _rows(self, came: Came) -> tuple[Row, ...]:
        rows = tuple(replace(row, unread=TimeoutError("timed out")) for row in self._read(came, None))
        with interrupted_after(max(READING, grace_of(self._vigil.total)), where="the tokenizer"):
            return self._read(came, self._tokenizer)
        return rows

    def _read(self, came: Came, tokenizer: Any) -> tuple[Row, ...]:
        run, ids = self._run, getattr(came.output, "sequences", came.output)
        loops = NO_LOOPS if self._reading is None else self._reading.loops
        answers, longest = came.rows, run.setting("max_new_tokens")
        if ids is not None and run.setting("num_beams", 1) > 1:
            answers = ids[:, self._start() :].tolist()
        ends = run.ends._replace(longest=longest)
        return rows_of(answers, 0, ends, tokenizer, stopped=came.stopped or came.killed, loops=loops)

    def _start(self) -> int:
        """Of an output of beams: where the prompt ends. A decoder with an encoder begins with a mark of its own."""
        given = self._run.given_length()
        return given if given is not None else int(bool(getattr(self._run.model.config, "is_encoder_decoder", False)))


def _verdict(came: Came, vigil: Vigil) -> Verdict:
    if came.killed:
        return Verdict.HUNG
    return Verdict.LOOPING if vigil.machine.looped is not None else Verdict.TIMED_OUT


def generate_apart(
    model: Any, kwargs: dict[str, Any], *, tokenizer: Any, check_every: int, name: str, **given: Any
) -> Generated:
    """As `guarded_generate`. The start of the process has a limit of its own, and no part in that of the generation."""
    try:
        isolated(model).ready()
    except LoadTimeout as late:
        return Generated(Verdict.TIMED_OUT, layers=LAYERS, ended_by=Layer.PROCESS, error=late)
    vigil = Vigil(model=name, **given)
    return Apart(Run(model, model.generate, (), kwargs), vigil, tokenizer, check_every).generated()
