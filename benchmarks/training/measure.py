"""The figures, one after the other. CPU time of one thread, so that a busy machine changes them little."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable
from inspect import signature
from typing import Any
from unittest.mock import patch

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.row import Row
from hangtight.testing.lab.healthy import said_of_code
from hangtight.training import guard
from hangtight.training.criterion import Between
from hangtight.training.rows import Ends, Reading
from hangtight.training.vigil import Vigil

MICRO, MILLI, KB, PERCENT = 1e6, 1e3, 1024, 100
LIMIT = 600.0
LETTERS, STEPS, ROUNDS, BATCH = 4, 1024, 9, 8
NEW_TOKENS, PAIRS, LEAST_STEP = 48, 20, 5.0  # milliseconds: a step that is quicker says nothing
BLOCKS = 200
TEXT = "".join(map(said_of_code, range(STEPS)))


def measured() -> list[Row]:
    torch.set_num_threads(1)
    plain = {rows: a_step(rows, intent=False) for rows in (1, BATCH)}
    read = {rows: a_step(rows, intent=True) for rows in (1, BATCH)}
    return [
        Row("training: the criterion, per step, 1 row", plain[1], "µs", 20),
        Row(f"training: the criterion, per step, {BATCH} rows", plain[BATCH], "µs", 20),
        Row("training: the same, reading along (intent), 1 row", read[1], "µs", 20),
        Row(f"training: the same, reading along (intent), {BATCH} rows", read[BATCH], "µs", 20),
        *in_generate(),
        Row("training: a guarded block around nothing", a_block(), "µs", float("inf")),
        Row(f"training: an answer of {STEPS} tokens keeps, a row", kept(intent=False), "KB", 1),
        Row("training: the same, reading along (intent)", kept(intent=True), "KB", 64),
    ]


# -- the criterion alone ----------------------------------------------------------------------------------------------


def spoken(rows: int) -> tuple[Any, Any]:
    """A tokenizer of pieces of healthy source code, and what rows of it say, each from another place."""
    pieces = [TEXT[at : at + LETTERS] for at in range(0, LETTERS * STEPS * 2, LETTERS)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(["<eos>", *pieces]))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    ids = [[vocabulary[piece] for piece in pieces[row * 97 : row * 97 + STEPS]] for row in range(rows)]
    return tokenizer, torch.tensor(ids)


def criterion_of(tokenizer: Any, *, intent: bool) -> tuple[Vigil, Between]:
    vigil = Vigil(LIMIT, idle=None, intent=intent, model="measured", source="benchmarks")
    vigil.begins()
    reading = None
    if intent:
        every = signature(guard).parameters["check_every"].default
        ends = Ends(frozenset({0}), frozenset({0}), None)
        reading = Reading(tokenizer, vigil.wanted, every=every, ends=ends, start=1)
    return vigil, Between(vigil, reading)


def a_step(rows: int, *, intent: bool) -> float:
    """Microseconds, averaged over an answer; the least of several."""
    tokenizer, ids = spoken(rows)
    steps = [ids[:, :length] for length in range(2, STEPS + 1)]
    found: list[float] = []
    for _ in range(ROUNDS):
        vigil, criterion = criterion_of(tokenizer, intent=intent)
        start = time.thread_time()
        for each in steps:
            criterion(each)
        found.append((time.thread_time() - start) / len(steps))
        assert not criterion.stopped
        assert criterion.reading is None or not criterion.reading.loops
        vigil.close(tokens=0, partial="")
    return min(found) * MICRO


def kept(*, intent: bool) -> float:
    """KB of each row of a batch, beside the tensor that `generate` has anyway."""
    tokenizer, ids = spoken(BATCH)
    steps = [ids[:, :length] for length in range(2, STEPS + 1)]
    tokenizer.decode([1])
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    vigil, criterion = criterion_of(tokenizer, intent=intent)
    for each in steps:
        criterion(each)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    vigil.close(tokens=0, partial="")
    return size / KB / BATCH


# -- around a real generate -------------------------------------------------------------------------------------------


class Timed(LlamaForCausalLM):  # type: ignore[misc]
    """Big enough that a step takes its time, and random. It knows how long its own `generate` took."""

    own = 0.0

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        try:
            return super().generate(*args, **kwargs)
        finally:
            self.own = time.thread_time() - start


def slow_model() -> Timed:
    torch.manual_seed(0)
    sizes = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
    ids = {"vocab_size": 2048, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    made = Timed(LlamaConfig(**sizes, **ids))
    made.eval()
    return made


def in_generate() -> list[Row]:
    model, (tokenizer, ids) = slow_model(), spoken(1)
    prompt = ids[:, :8] % 2048

    def bare() -> None:
        mask = torch.ones_like(prompt)
        model.generate(prompt, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)

    def guarded() -> None:
        with guard(LIMIT, model=model):
            bare()

    def reading() -> None:
        with guard(LIMIT, model=model, tokenizer=tokenizer, intent=True):
            bare()

    took = in_turns(bare, bare, guarded)
    step = statistics.median(took[0]) / NEW_TOKENS * MILLI
    assert step >= LEAST_STEP, f"a step of {step:.1f} ms is too quick to say anything: make the model bigger"
    again, ours = (paired(each, took[0]) for each in took[1:])
    return [
        Row("training: a step of the generate that is measured", step, "ms", float("inf")),
        Row("training: of that generate, spent in the guard", spent(model, guarded), "%", 1),
        Row("training: the same, reading along (intent)", spent(model, reading), "%", 1),
        Row("training: with the guard over without it, in turns", ours, "%", float("inf")),
        Row("training: without it over without it, in the same turns", again, "%", float("inf")),
    ]


def spent(model: Timed, work: Callable[[], None]) -> float:
    """Per cent: all that is not the model's own `generate`, and the criterion in it, which is asked at each step.

    The difference between two runs is not it: on a shared machine two runs that are the same differ by more.
    """
    inside = 0.0
    plain = Between.__call__

    def timed(self: Between, *args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        start = time.thread_time()
        try:
            return plain(self, *args, **kwargs)
        finally:
            inside += time.thread_time() - start

    shares: list[float] = []
    with patch.object(Between, "__call__", timed):
        for _ in range(ROUNDS):
            inside = 0.0
            whole = cpu(work)
            shares.append((whole - model.own + inside) / whole)
    return statistics.median(shares) * PERCENT


def in_turns(*ways: Callable[[], None]) -> list[list[float]]:
    """Seconds of each; each is first as often as the others."""
    for way in ways:
        way()
    took: list[list[float]] = [[] for _ in ways]
    for turn in range(PAIRS):
        for at in range(len(ways)):
            which = (at + turn) % len(ways)
            took[which].append(cpu(ways[which]))
    return took


def paired(ours: list[float], theirs: list[float]) -> float:
    """By how many per cent one is slower than the other."""
    return (statistics.median(one / other for one, other in zip(ours, theirs, strict=True)) - 1) * PERCENT


def cpu(work: Callable[[], None]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def a_block() -> float:
    """Microseconds to arm all layers and to put them away again."""
    model = slow_model()

    def block() -> None:
        for _ in range(BLOCKS):
            with guard(LIMIT, model=model):
                pass

    block()
    return min(cpu(block) for _ in range(ROUNDS)) / BLOCKS * MICRO
