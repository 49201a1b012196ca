"""One of two ranks that generate together. Run by `test_ranks.py`; says as JSON how it ended."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch import distributed

from hangtight.training.generating import guarded_generate
from hangtight.training.ranks import METHOD
from tests.training.kit import ENDLESS, EOS, endless, prompt, saying, slowed, tiny_model


def main(how: str) -> None:
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    model = tiny_model()
    inner = model
    more: dict[str, Any] = {"synced_gpus": True}
    if how == "ddp":
        model, more = torch.nn.parallel.DistributedDataParallel(model), {}
    says = saying([5, 6, EOS]) if how == "one has finished" and rank == 0 else endless()
    distributed.barrier()
    with slowed(inner, 0.03 if rank else 0.0):
        got = guarded_generate(
            model, prompt(2), limit=0.6 if rank == 0 else 3.0, max_new_tokens=ENDLESS, logits_processor=says, **more
        )
    told = {
        "verdict": got.verdict,
        "ended_by": got.ended_by,
        "layers": got.layers,
        "tokens": [row.tokens for row in got.rows],
        "elapsed": got.elapsed,
        "clean": METHOD not in vars(inner) and "generate" not in vars(inner),
    }
    print(json.dumps(told), flush=True)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
