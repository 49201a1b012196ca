"""One of two ranks that train together under DDP. Run by `test_ddp.py`; says as JSON how it went.

What the model does with a bad example it does on rank 0 alone: there it generates.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.training.kit import tiny_model, tiny_tokenizer
from tests.training.trainings import LOOP, SAMPLES, SLOW, badly_behaved, losses, trainer

LIMIT = 0.4  # seconds; a slow token takes more than a third of it
BACKEND: dict[str, Any] = {"ddp_backend": "gloo", "max_steps": 12}


def main(folder: Path) -> None:
    import torch

    from hangtight.training import EvalSamples
    from hangtight.training.eval_settings import EvalSettings

    samples = [(SLOW, "w20"), SAMPLES[0], (LOOP, "w21")]
    settings = EvalSettings(
        eval_steps=4,
        logging_steps=2,
        max_new_tokens=5,
        eval_timeout_seconds=LIMIT,
        status_file=str(folder / "status.json"),
    )
    guarded = trainer(
        folder,
        EvalSamples(samples, tiny_tokenizer(), settings=settings),
        model=badly_behaved(tiny_model("gpt2")),
        **BACKEND,
    )
    guarded.train()
    plain = trainer(folder, model=tiny_model("gpt2"), **BACKEND)
    plain.train()
    told = {
        "ranks": guarded.args.world_size,
        "step": guarded.state.global_step,
        "same": losses(guarded) == losses(plain),
        "curve": losses(guarded),
        "weights": [float(each.detach().double().sum()) for each in guarded.model.parameters()],
    }
    print(json.dumps(told), flush=True)
    torch.distributed.barrier()
    os._exit(0)  # a rank of gloo with DDP may hang when it takes its group down, with and without the guard


if __name__ == "__main__":
    main(Path(sys.argv[1]))
