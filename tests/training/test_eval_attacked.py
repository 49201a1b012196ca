"""`EvalSamples` where what the user gave it hangs, does not fit, or is missing: the training goes on and it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import SettingsError
from hangtight.training.outcome import Generated, Row, Verdict
from tests.training.kit import tiny_model, tiny_tokenizer
from tests.training.trainings import SAMPLES, trainer

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 0.3


def made(folder: Path, samples: Any = SAMPLES, tokenizer: Any = None, *, val: Any = None, **more: Any) -> Any:
    from hangtight.training import EvalSamples
    from hangtight.training.eval_settings import EvalSettings

    plain = {"eval_steps": 4, "logging_steps": 2, "max_new_tokens": 5, "eval_timeout_seconds": LIMIT}
    settings = EvalSettings(**{**plain, "status_file": str(folder / "status.json"), **more})
    return EvalSamples(samples, tokenizer or tiny_tokenizer(), val=val, settings=settings)


def status(folder: Path, name: str = "status.json") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def answering(text: str = "w9") -> Callable[..., Generated]:
    row = Row(text, text, len(text.split()), True)
    return lambda *_, **__: Generated(Verdict.FINISHED, (row,))


def for_ever(*_: Any, **__: Any) -> Any:
    while True:
        time.sleep(0.01)


class Slow:
    """A tokenizer that hangs at what it is named for."""

    eos_token_id, bos_token_id, pad_token_id, chat_template = 1, 2, 0, None

    def __init__(self, hangs_at: str) -> None:
        self._hangs_at, self._plain = hangs_at, tiny_tokenizer()

    def __call__(self, *args: Any, **options: Any) -> Any:
        return for_ever() if self._hangs_at == "encode" else self._plain(*args, **options)

    def decode(self, *args: Any, **options: Any) -> Any:
        return for_ever() if self._hangs_at == "decode" else self._plain.decode(*args, **options)


# -- what hangs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", ["samples", "encode", "decode", "match", "log_to", "val"])
def test_whatever_the_user_gave_it_is_ended_at_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hangs: str
) -> None:
    samples = for_ever if hangs == "samples" else SAMPLES
    more: dict[str, Any] = {"match": for_ever} if hangs == "match" else {}
    callback = made(tmp_path, samples, Slow(hangs), val=for_ever if hangs == "val" else None, **more)
    if hangs == "log_to":
        callback.log_to(for_ever)
    run = trainer(tmp_path, callback, max_steps=5)
    run.train()
    said = capsys.readouterr().out
    assert run.state.global_step == 5
    assert "timed out" in said
    counted = 0 if hangs == "log_to" else 1
    assert status(tmp_path)["timeouts"]["count"] == counted, "whatever of an evaluation it was that timed out"
    assert status(tmp_path)["evaluations"] == 1


def test_a_loss_that_hangs_is_a_timeout_of_the_evaluation(tmp_path: Path) -> None:
    model = tiny_model("gpt2")

    def before(_: Any, __: Any, given: dict[str, Any]) -> None:
        while not model.training and given.get("labels") is not None:
            pass

    model.register_forward_pre_hook(before, with_kwargs=True)
    trainer(tmp_path, made(tmp_path), model=model, max_steps=5).train()
    assert status(tmp_path)["timeouts"] == {"count": 1, "rate": 1.0}


@pytest.mark.parametrize("ours", [for_ever, lambda *_: 1 / 0])
def test_the_hook_of_the_user_is_called_whatever_becomes_of_our_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Any
) -> None:
    from hangtight.training import hanging

    monkeypatch.setattr(hanging, "BESIDE", 0.05)
    told: list[Any] = []
    callback = made(tmp_path)
    callback.settings = callback.settings.__class__(on_hang=told.append)
    callback._status.write = ours

    class State:
        is_world_process_zero = True

    evaluator = callback._evaluator({"model": tiny_model()}, State(), False)
    evaluator._settings.on_hang("a hang")
    assert told == ["a hang"]


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_an_answer_is_cut_to_the_positions_of_the_model_and_what_has_no_room_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [(" ".join(["w5"] * count), "w6") for count in (16, 13, 4)]
    callback = made(tmp_path, samples, eval_timeout_seconds=60, eval_steps=2, max_new_tokens=9)
    run = trainer(tmp_path, callback, model=tiny_model("gpt2", n_positions=16), max_steps=7)
    run.train()
    lines = capsys.readouterr().out.splitlines()
    assert run.state.global_step == 7
    why = "its prompt has 16 tokens, the model has 16 positions"
    assert [line for line in lines if "Skipping the example" in line] == [f"⚠️  Skipping the example of step 2: {why}"]
    cut = "⚠️  max_new_tokens is 3 instead of 9 at step 4: the model has no more positions"
    assert [line for line in lines if "max_new_tokens" in line] == [cut]
    assert [line.split(":")[0] for line in lines if line.startswith("🤖")] == [
        "🤖 MODEL (3 tokens)",
        "🤖 MODEL (9 tokens)",
    ]
    assert len([line for line in lines if line.startswith("📉") and "n/a" not in line]) == 2


def test_an_expected_answer_without_room_has_no_loss_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = made(tmp_path, [(" ".join(["w5"] * 14), "w6 w7 w8")], eval_timeout_seconds=60)
    trainer(tmp_path, callback, model=tiny_model("gpt2", n_positions=16), max_steps=5).train()
    said = capsys.readouterr().out
    assert "🤖 MODEL (2 tokens)" in said
    assert "📉 LOSS ON THIS EXAMPLE: n/a" in said
    assert "the expected answer has 4 tokens, behind the prompt there is room for 2" in said


def test_positions_that_are_computed_have_no_end() -> None:
    from hangtight.training.fitting import positions_of

    assert positions_of(tiny_model("llama", max_position_embeddings=16)) is None
    assert positions_of(tiny_model("t5")) is None
    assert positions_of(tiny_model("gpt2", n_positions=16)) == 16


def test_an_empty_prompt_begins_with_the_mark_of_the_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, made(tmp_path, [("", "w6")], eval_timeout_seconds=60), max_steps=5).train()
    said = capsys.readouterr().out
    assert "🤖 MODEL (5 tokens): " in said
    assert "📉 LOSS ON THIS EXAMPLE: n/a" not in said


# -- what is missing or there twice -----------------------------------------------------------------------------------


def test_a_missing_tokenizer_is_told_at_the_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hangtight.training import EvalSamples
    from hangtight.training.eval_settings import EvalSettings

    settings = EvalSettings(eval_steps=2, logging_steps=2, status_file=str(tmp_path / "status.json"))
    trainer(tmp_path, EvalSamples(SAMPLES, settings=settings), max_steps=4).train()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "⚠️" in line] == [line for line in lines if "has no tokenizer" in line][:1]
    assert lines.index(next(line for line in lines if "has no tokenizer" in line)) == 0


def test_examples_that_are_missing_are_refused_also_while_another_one_lives(tmp_path: Path) -> None:
    from hangtight.training import EvalSamples

    living = made(tmp_path)
    with pytest.raises(SettingsError, match="samples"):
        EvalSamples(None, tiny_tokenizer())
    assert living._samples is not None


@pytest.mark.parametrize("restores", [False, True])
def test_two_of_them_have_each_its_own_counts_and_status_also_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], restores: bool
) -> None:
    def two() -> list[Any]:
        return [made(tmp_path, generate=answering(), eval_steps=every) for every in (2, 3)]

    given = {"save_strategy": "steps", "save_steps": 4, "restore_callback_states_from_checkpoint": restores}
    trainer(tmp_path, *two(), max_steps=8, **given).train()
    assert "status.json is the status file of another EvalSamples" in capsys.readouterr().out
    callbacks = two()
    trainer(tmp_path, *callbacks, max_steps=12, **given).train(str(tmp_path / "out" / "checkpoint-8"))
    assert [status(tmp_path, name)["evaluations"] for name in ("status.json", "status_2.json")] == [5, 4]
    kept = json.loads((tmp_path / "out" / "checkpoint-12" / "trainer_state.json").read_text())
    assert len(kept["stateful_callbacks"]["EvalSamples"]) == 4, "it does not grow with the checkpoints"


# -- a process of its own ---------------------------------------------------------------------------------------------

WITHOUT_A_GUARD = """
import os, sys
from pathlib import Path
print("PROCESS", flush=True)
from tests.training.trainings import SAMPLES, trainer
from tests.training.kit import tiny_tokenizer
from hangtight.training import EvalSamples
from hangtight.training.eval_settings import EvalSettings
from transformers import TrainerCallback
class Steps(TrainerCallback):
    def on_step_end(self, *args, **more):
        print("STEP", os.getpid(), flush=True)
folder = Path(sys.argv[1])
settings = EvalSettings(
    eval_steps=3, logging_steps=None, max_new_tokens=3, eval_isolate=True, status_file=str(folder / "status.json")
)
run = trainer(folder, Steps(), EvalSamples(SAMPLES, tiny_tokenizer(), settings=settings), max_steps=10)
run.train()
"""


@pytest.mark.real
@pytest.mark.timeout(200)
def test_a_script_without_a_main_guard_trains_once_and_goes_on_without_the_other_process(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(WITHOUT_A_GUARD, encoding="utf-8")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=env, capture_output=True, text=True, check=True, timeout=180
    )
    lines = ran.stdout.splitlines()
    assert len([line for line in lines if line.startswith("STEP")]) == 10
    assert len({line for line in lines if line.startswith("STEP")}) == 1, "no other process trains"
    assert lines.count("PROCESS") == 2, "it is tried once"
    assert len([line for line in lines if "eval_isolate is off from now on" in line]) == 1
    assert len([line for line in lines if line.startswith("🤖 MODEL (3 tokens)")]) == 3


# -- settings ---------------------------------------------------------------------------------------------------------


def test_an_option_of_generate_that_has_a_setting_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="eval_generation"):
        made(tmp_path, eval_generation={"limit": 1})


def test_a_key_that_stands_twice_is_told_and_a_share_of_all_steps_is_refused_as_one(tmp_path: Path) -> None:
    from hangtight.training.eval_settings import settings_from

    config, told = tmp_path / "config.json", list[str]()
    config.write_text('{"eval_timeout_seconds": 5, "eval_timeout_seconds": 50, "x": {"a": 1, "a": 2}}')
    assert settings_from(config, tell=told.append).eval_timeout_seconds == 50
    assert told == [f"⚠️  {config}: eval_timeout_seconds stands there twice; the last one counts: 50"]
    config.write_text('{"eval_steps": 0.1}')
    with pytest.raises(SettingsError, match="a share of all steps"):
        settings_from(config, tell=told.append)


def test_whether_ranks_need_each_other_is_asked_only_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    from hangtight.training import ranks

    for name in ("transformers.integrations.fsdp", "transformers.distributed", "transformers.integrations.deepspeed"):
        monkeypatch.setitem(sys.modules, name, None)
    assert ranks.needs_all_ranks(object()) is False
    assert ranks.in_lockstep(object(), None) is False
