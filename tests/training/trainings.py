"""Short real trainings of a tiny model, and examples that are bad for it. torch is imported inside."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.training.kit import tiny_model, tiny_tokenizer

SLOW, LOOP, BROKEN = "w9 w100", "w9 w101", "w9 w102"
"""A prompt that ends so makes each token slow, the forward loop for ever, or raise."""
SLOW_TOKEN = 0.15  # seconds
SAMPLES = [(f"w{10 + number} w{20 + number} w{30 + number}", f"w{40 + number} w{50 + number}") for number in range(7)]


class Texts:
    """A data set of random tokens, the same each time."""

    def __init__(self, count: int = 64, length: int = 12) -> None:
        import torch

        numbers = random.Random(5)
        rows = [[numbers.randrange(4, 100) for _ in range(length)] for _ in range(count)]
        self._rows = [{"input_ids": torch.tensor(row), "labels": torch.tensor(row)} for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index]


def badly_behaved(model: Any) -> Any:
    """The same model; what it does while it generates depends on the prompt."""
    ends = {tiny_tokenizer()(prompt)["input_ids"][-1]: prompt for prompt in (SLOW, LOOP, BROKEN)}
    behaves = {"as": ""}

    def before(_: Any, args: Any, given: dict[str, Any]) -> None:
        if model.training or given.get("labels") is not None:
            return
        ids = given.get("input_ids", args[0] if args else None)
        if ids is not None and ids.shape[1] > 1:
            behaves["as"] = ends.get(int(ids[0, -1]), "")
        if behaves["as"] == SLOW:
            time.sleep(SLOW_TOKEN)
        while behaves["as"] == LOOP:
            pass
        if behaves["as"] == BROKEN:
            raise RuntimeError("a kernel that is not there")

    model.register_forward_pre_hook(before, with_kwargs=True)
    return model


def arguments(folder: Path, **more: Any) -> Any:
    from transformers import TrainingArguments

    plain: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "max_steps": 12,
        "per_device_train_batch_size": 2,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "dataloader_pin_memory": False,
        "seed": 3,
    }
    return TrainingArguments(**(plain | more))


def trainer(folder: Path, *callbacks: Any, model: Any = None, **more: Any) -> Any:
    """A Trainer of a model that has dropout, which draws random numbers at each step."""
    from transformers import Trainer

    return Trainer(
        model=tiny_model("gpt2") if model is None else model,
        args=arguments(folder, **more),
        train_dataset=Texts(),
        callbacks=list(callbacks),
    )


def losses(run: Any) -> list[tuple[int, float, float]]:
    """The loss curve of a run, number for number."""
    history: Iterable[dict[str, Any]] = run.state.log_history
    return [(told["step"], told["loss"], told["grad_norm"]) for told in history if "loss" in told]
