"""A fine-tuning run as the user has it: a program with a `config.json` beside it, whose output goes into a log.

python training_run.py FOLDER STEPS [--resume]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.training.kit import tiny_model, tiny_tokenizer  # noqa: E402
from tests.training.trainings import BROKEN, LOOP, SAMPLES, SLOW, badly_behaved, trainer  # noqa: E402

PATHOLOGICAL = [SAMPLES[0], (SLOW, "w20"), SAMPLES[1], (LOOP, "w21"), (BROKEN, "w22")]


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", type=Path)
    asked.add_argument("steps", type=int)
    asked.add_argument("--save", type=int, default=500)
    asked.add_argument("--resume", action="store_true")
    asked.add_argument("--plain", action="store_true", help="without the guard")
    run = asked.parse_args()
    os.chdir(run.folder)
    callbacks = []
    if not run.plain:
        from hangtight.training import EvalSamples

        val = [("w60 w61", "w62 w63")]
        callbacks.append(EvalSamples.from_config("config.json", PATHOLOGICAL, tiny_tokenizer(), val=val))
    training = trainer(
        Path(),
        *callbacks,
        model=badly_behaved(tiny_model("gpt2")),
        max_steps=run.steps,
        logging_steps=10,
        save_strategy="steps",
        save_steps=run.save,
    )
    training.train(resume_from_checkpoint=True if run.resume else None)
    training.state.save_to_json("plain.json" if run.plain else "trained.json")


if __name__ == "__main__":
    main()
