"""The guard where the model is on a GPU: `make test-gpu`, skipped where CUDA is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hangtight.training.outcome import Layer, Verdict
from tests.training.kit import ENDLESS, EOS, endless, prompt, saying, tiny_model, tiny_tokenizer
from tests.training.trainings import SAMPLES, losses, trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.torch,
    pytest.mark.real,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

LIMIT = 0.5
FAR = 60.0
LEAST_STEP = 0.005  # seconds
MOST_ADDED = 0.01
HEALTHY = [*range(4, 120), *range(119, 3, -1), *range(4, 120, 3), EOS]


@pytest.fixture(scope="module")
def gpu() -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA here")
    return torch.device("cuda")


@pytest.fixture(scope="module")
def model(gpu: Any) -> Any:
    made = tiny_model().to(gpu)
    made.generate(prompt().to(gpu), max_new_tokens=2)  # the first one loads much
    return made


@pytest.fixture
def spinning(gpu: Any) -> Iterator[Any]:
    """Makes models that keep the device busy, and ends the processes in which they ran."""
    from hangtight.training.isolated import isolated
    from tests.training.gpu_models import Spinning
    from tests.training.hanging_models import trouble

    made: list[Any] = []

    def make(what: str = "", at: int = 0) -> Any:
        made.append(trouble(what, at, kind=Spinning).to(gpu))
        return made[-1]

    yield make
    for each in made:
        isolated(each).close()


def cycles_in(seconds: float) -> int:
    """How many cycles the device needs for so long."""
    import torch

    some = 50_000_000
    torch.cuda._sleep(some)
    torch.cuda.synchronize()
    began = time.perf_counter()
    torch.cuda._sleep(some)
    torch.cuda.synchronize()
    return int(some * seconds / (time.perf_counter() - began))


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Whatever waits for the device in here is an error."""
    import torch

    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


# -- what ends what ---------------------------------------------------------------------------------------------------


def test_an_endless_generation_on_a_gpu_is_stopped_row_by_row(model: Any, gpu: Any) -> None:
    from hangtight.training import guarded_generate

    rows = [[5, 6, 7, EOS]] * 3 + [[9] * 9] + [[8, 9, EOS]] * 4
    got = guarded_generate(
        model,
        prompt(8).to(gpu),
        tokenizer=tiny_tokenizer(),
        limit=LIMIT,
        max_new_tokens=ENDLESS,
        logits_processor=saying(*rows),
    )
    assert (got.verdict, got.ended_by) == (Verdict.TIMED_OUT, Layer.CRITERION)
    assert [row.text for row in got.rows] == ["w5 w6 w7"] * 3 + [None] + ["w8 w9"] * 4


def test_a_row_on_a_gpu_that_repeats_itself_is_stopped_alone(model: Any, gpu: Any) -> None:
    from hangtight.training import guarded_generate

    says = saying(list(range(10, 60)) * 20, HEALTHY)
    more: dict[str, Any] = {"max_new_tokens": 600, "logits_processor": says, "intent": True, "limit": FAR}
    got = guarded_generate(model, prompt(2).to(gpu), tokenizer=tiny_tokenizer(), **more)
    assert got.verdict is Verdict.LOOPING
    assert not got.rows[0].whole
    assert got.rows[0].tokens < 300
    assert (got.rows[1].whole, got.rows[1].tokens) == (True, len(HEALTHY) - 1)


def test_a_kernel_that_does_not_return_is_killed_with_its_process_and_the_device_is_free(
    spinning: Any, gpu: Any
) -> None:
    from hangtight.training import guarded_generate

    stuck, ids = spinning(), prompt().to(gpu)
    long: dict[str, Any] = {"isolate": True, "max_new_tokens": 50, "min_new_tokens": 50}
    assert guarded_generate(stuck, ids, limit=FAR, **long).tokens == 50, "the device is ready in that process, too"
    stuck.what, stuck.at = "spin", 5
    got = guarded_generate(stuck, ids, limit=5.0, **long)
    assert (got.verdict, got.ended_by) == (Verdict.HUNG, Layer.PROCESS)
    assert got.tokens == 5
    stuck.what = ""
    assert stuck.generate(ids, max_new_tokens=3, min_new_tokens=3).shape[1] == ids.shape[1] + 3


def test_a_kernel_that_is_late_is_named_in_time_where_nothing_may_end_it(spinning: Any, gpu: Any) -> None:
    from hangtight.training import guarded_generate

    slow = spinning("spin", at=3)
    slow.generate(prompt().to(gpu), max_new_tokens=2)
    slow.cycles = cycles_in(4 * LIMIT)
    named = threading.Event()
    began, told = time.perf_counter(), []

    def hook(hang: Any) -> None:
        told.append(time.perf_counter() - began)
        named.set()

    got = guarded_generate(
        slow, prompt().to(gpu), limit=LIMIT, on_hang=hook, max_new_tokens=ENDLESS, logits_processor=endless()
    )
    assert named.wait(FAR)
    assert got.verdict is Verdict.HUNG
    assert told[0] < got.elapsed, "it was named while it still hung"


def test_in_a_process_of_its_own_a_model_on_a_gpu_has_the_weights_of_today(spinning: Any, gpu: Any) -> None:
    import torch

    from hangtight.training import guarded_generate

    learning, ids = spinning(), prompt().to(gpu)
    for _ in range(2):
        here = learning.generate(ids, max_new_tokens=8, min_new_tokens=8, do_sample=False)
        got = guarded_generate(
            learning, ids, limit=FAR, isolate=True, max_new_tokens=8, min_new_tokens=8, do_sample=False
        )
        assert got.output.tolist() == here.tolist()
        with torch.no_grad():
            for weight in learning.parameters():
                weight.add_(torch.randn_like(weight))


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intent", [False, True])
def test_the_criterion_never_waits_for_the_device(gpu: Any, intent: bool) -> None:
    import torch

    from hangtight.training.criterion import Between
    from hangtight.training.rows import Ends, Reading
    from hangtight.training.vigil import Vigil

    vigil = Vigil(FAR, idle=None, intent=intent, model="tiny", source="here")
    vigil.begins()
    reading = None
    if intent:
        ends = Ends(frozenset({EOS}), frozenset({EOS}), None)
        reading = Reading(tiny_tokenizer(), vigil.wanted, every=4, ends=ends, start=1)
    criterion = Between(vigil, reading)
    ids = torch.tensor([HEALTHY[:-1]] * 8).to(gpu)
    with no_synchronisation():
        with pytest.raises(RuntimeError):
            ids.sum().item()
        answers = [criterion(ids[:, :length]) for length in range(2, ids.shape[1])]
    vigil.close(tokens=0, partial="")
    assert {each.device.type for each in answers} == {"cuda"}
    assert not any(bool(each.any()) for each in answers)


@pytest.mark.parametrize("intent", [False, True])
def test_the_guard_takes_less_than_a_hundredth_of_a_step_on_a_gpu(gpu: Any, intent: bool) -> None:
    import torch

    from hangtight.training import guard
    from hangtight.training.criterion import Between

    inside, plain = 0.0, Between.__call__

    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        began = time.perf_counter()
        try:
            return plain(self, *args, **kwargs)
        finally:
            inside += time.perf_counter() - began

    deep, tokens = deep_enough(gpu), 100
    with patch.object(Between, "__call__", timed):
        torch.cuda.synchronize()
        began = time.perf_counter()
        with guard(FAR, model=deep, tokenizer=tiny_tokenizer(), intent=intent):
            deep.generate(prompt().to(gpu), max_new_tokens=tokens, logits_processor=saying(HEALTHY))
        torch.cuda.synchronize()
        whole = time.perf_counter() - began
    print(f"a step takes {whole / tokens * 1e3:.2f} ms, the criterion {inside / tokens * 1e6:.1f} µs of it")
    assert inside < MOST_ADDED * whole


def deep_enough(gpu: Any) -> Any:
    """A model whose step takes long enough on this device that a hundredth of it says something."""
    for layers in (16, 32, 64, 128):
        deep = tiny_model(num_hidden_layers=layers).to(gpu)
        deep.generate(prompt().to(gpu), max_new_tokens=2)
        began = time.perf_counter()
        deep.generate(prompt().to(gpu), max_new_tokens=20, logits_processor=endless())
        if time.perf_counter() - began > 20 * LEAST_STEP:
            return deep
    pytest.skip("this device is too quick for the models that were tried")


# -- in a training ----------------------------------------------------------------------------------------------------


def test_a_training_on_a_gpu_has_the_losses_of_one_that_shows_nothing(gpu: Any, tmp_path: Path) -> None:
    from hangtight.training import EvalSamples
    from hangtight.training.eval_settings import EvalSettings

    settings = EvalSettings(eval_steps=4, logging_steps=2, max_new_tokens=5, status_file=str(tmp_path / "status.json"))
    guarded = trainer(tmp_path, EvalSamples(SAMPLES, tiny_tokenizer(), settings=settings), use_cpu=False)
    guarded.train()
    plain = trainer(tmp_path, use_cpu=False)
    plain.train()
    assert guarded.model.device.type == "cuda"
    assert losses(guarded) == losses(plain)
