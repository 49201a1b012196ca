"""`EvalSamples` in real trainings: what is shown and kept, and that the training does not notice."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import SettingsError
from hangtight.training.outcome import Generated, Row, Verdict
from tests.training.kit import tiny_model, tiny_tokenizer
from tests.training.trainings import BROKEN, LOOP, SAMPLES, SLOW, badly_behaved, losses, trainer

pytestmark = pytest.mark.torch

LIMIT = 0.4  # seconds; a slow token takes more than a third of it
VAL = [("w60 w61", "w62 w63"), ("w64", "w65")]


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., Any]:
    """Makes an `EvalSamples` of a short training: evaluated every 4 steps, with 5 new tokens."""
    return lambda samples=SAMPLES, **more: made(tmp_path, samples, **more)


def made(folder: Path, samples: Any = SAMPLES, *, val: Any = None, **more: Any) -> Any:
    from hangtight.training import EvalSamples
    from hangtight.training.eval_settings import EvalSettings

    plain = {"eval_steps": 4, "logging_steps": 2, "max_new_tokens": 5, "eval_timeout_seconds": LIMIT}
    settings = EvalSettings(**{**plain, "status_file": str(folder / "status.json"), **more})
    return EvalSamples(samples, tiny_tokenizer(), val=val, settings=settings)


def status(folder: Path) -> Any:
    return json.loads((folder / "status.json").read_text(encoding="utf-8"))


def test_the_lines_and_the_blocks_are_printed_each_in_its_turn_with_another_example(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path, shown(val=VAL))
    run.train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("Step ")] == [
        f"Step {step}/12" for step in range(2, 13, 2)
    ]
    blocks = [line for line in lines if line.startswith("🔍")]
    assert blocks == [f"🔍 FULL EVAL - Step {step}" for step in (4, 8, 12)]
    assert [line for line in lines if line.startswith("📝")] == [f"📝 PROMPT: {SAMPLES[turn][0]}" for turn in range(3)]
    assert len([line for line in lines if line.startswith("🤖 MODEL (5 tokens): w")]) == 3
    assert len([line for line in lines if line.startswith("📊 Loss Comparison: Train=")]) == 3
    order = [line[:6] for line in lines if line.startswith(("Step 4", "🔍", "Step 6"))]
    assert order[:3] == ["Step 4", "🔍 FULL"[:6], "Step 6"], "the line of a step stands above its evaluation"


def test_the_losses_are_those_of_a_run_without_it_number_for_number(tmp_path: Path, shown: Any) -> None:
    import torch

    plain = trainer(tmp_path)
    plain.train()
    examples = [SAMPLES[0], (SLOW, "w9"), (BROKEN, "w9")]
    guarded = trainer(tmp_path, shown(examples, val=VAL), model=badly_behaved(tiny_model("gpt2")))
    guarded.train()
    assert len(losses(plain)) == 6
    assert losses(guarded) == losses(plain)
    for ours, theirs in zip(guarded.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_model_and_all_random_numbers_are_as_before_also_after_a_timeout(tmp_path: Path, shown: Any) -> None:
    import numpy
    import torch

    model = badly_behaved(tiny_model("gpt2"))
    model.train()
    model.transformer.h[0].eval()
    model.config.use_cache = False
    model.generation_config.temperature = 0.5
    flags = [module.training for module in model.modules()]
    kept = model.generation_config, model.generation_config.to_dict()

    def state() -> list[Any]:
        place: Any = numpy.random.get_state()
        return [random.getstate(), place[1].tolist(), place[2], torch.random.get_rng_state().tolist()]

    states = state()

    def draws(*args: Any, **options: Any) -> Generated:
        random.random()
        numpy.random.random()
        torch.rand(1)
        from hangtight.training import guarded_generate

        return guarded_generate(*args, **options)

    evaluate(shown([(SLOW, "w9")], generate=draws), model)
    assert [module.training for module in model.modules()] == flags
    assert model.config.use_cache is False
    assert (model.generation_config, model.generation_config.to_dict()) == kept
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert states == state()


def evaluate(callback: Any, model: Any, *, step: int = 4, state: Any = None) -> Any:
    """One evaluation, without a Trainer around it."""
    from transformers import TrainerControl, TrainerState

    state = state or TrainerState(max_steps=12, stateful_callbacks=[callback])
    if callback._session is None:
        callback.on_train_begin(None, state, TrainerControl())
    state.global_step = step
    callback.on_step_end(None, state, TrainerControl())
    callback.on_step_begin(None, state, TrainerControl(), model=model)
    return state


def test_a_slow_example_is_skipped_with_its_text_and_its_loss_kept(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(shown([(SLOW, "w9 w10")], val=VAL), badly_behaved(tiny_model("gpt2")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:5] == [
        f"⚠️  TIMEOUT: Model generation exceeded {LIMIT}s at step 4",
        "   Skipping model output for this example",
    ]
    assert lines[5].startswith("🤖 MODEL (")
    assert " tokens, stopped): w" in lines[5]
    assert lines[6].startswith("📉 LOSS ON THIS EXAMPLE: 4.")
    assert lines[7].startswith("📊 Loss Comparison: ")
    told = status(tmp_path)
    assert (told["eval"]["verdict"], told["eval"]["step"], told["eval"]["match"]) == ("timed out", 4, None)
    assert 0 < told["eval"]["tokens"] < 5
    assert told["timeouts"] == {"count": 1, "rate": 1.0}
    assert told["doing"] == "training"


def test_a_loop_inside_the_forward_is_ended_too(tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(shown([(LOOP, "w9")]), badly_behaved(tiny_model("gpt2")))
    assert f"⚠️  TIMEOUT: Model generation exceeded {LIMIT}s at step 4" in capsys.readouterr().out
    assert status(tmp_path)["eval"]["loss"] > 0


def test_an_error_of_the_model_is_told_and_the_loss_is_still_there(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(shown([(BROKEN, "w9")]), badly_behaved(tiny_model("gpt2")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "⚠️  Generation error at step 4: a kernel that is not there"
    assert lines[4].startswith("📉 LOSS ON THIS EXAMPLE: 4.")
    told = status(tmp_path)
    assert (told["eval"]["verdict"], told["timeouts"]["count"]) == ("failed", 0)


def test_a_loss_that_hangs_is_ended_like_a_generation_and_the_other_one_is_had(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model, asked = tiny_model("gpt2"), iter([True, False])

    def before(_: Any, __: Any, given: dict[str, Any]) -> None:
        while given.get("labels") is not None and next(asked):
            while True:
                pass

    model.register_forward_pre_hook(before, with_kwargs=True)
    evaluate(shown(val=VAL), model)
    said = capsys.readouterr().out
    assert "📉 LOSS ON THIS EXAMPLE: n/a" in said
    assert "TimeoutError: timed out after" in said
    assert status(tmp_path)["eval"]["val_loss"] > 0


def test_the_loss_is_that_of_the_answer_alone(tmp_path: Path, shown: Any) -> None:
    import torch

    model, tokenizer = tiny_model("gpt2"), tiny_tokenizer()
    evaluate(shown([("w10 w11 w12", "w13 w14")]), model)
    ids = torch.tensor([tokenizer("w10 w11 w12 w13 w14 <eos>")["input_ids"]])
    with torch.no_grad():
        chances = model(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[2:, 0]
    assert status(tmp_path)["eval"]["loss"] == pytest.approx(-chances.mean().item(), rel=1e-5)


def answering(text: str = "w9", verdict: Verdict = Verdict.FINISHED, **more: Any) -> Callable[..., Generated]:
    """A stand-in that generates nothing."""
    row = Row(text if verdict is Verdict.FINISHED else None, text, len(text.split()), verdict is Verdict.FINISHED)
    return lambda *_, **__: Generated(verdict, (row,), **more)


@pytest.mark.parametrize(("said", "line"), [("w9  w10", "✅ MATCH"), ("w9", "❌ NO MATCH")])
def test_a_match_is_the_same_words(said: str, line: str, shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(shown([("w5", "w9 w10")], generate=answering(said)), tiny_model())
    assert line in capsys.readouterr().out.splitlines()


def test_what_a_match_is_can_be_set_and_a_mistake_in_it_costs_no_loss(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(shown([("w5", "w9")], generate=answering("nothing"), match=lambda *_: True), tiny_model())
    assert "✅ MATCH" in capsys.readouterr().out
    evaluate(shown([("w5", "w9")], generate=answering(), match=lambda *_: bool(int("no number"))), tiny_model())
    assert "match: ValueError" in capsys.readouterr().out
    assert status(tmp_path)["eval"]["loss"] > 0


def test_generate_is_greedy_and_padded_by_the_end_and_each_of_it_can_be_set(shown: Any) -> None:
    given: dict[str, Any] = {}

    def generate(*_: Any, **options: Any) -> Generated:
        given.update(options)
        return answering()()

    evaluate(shown(generate=generate, max_new_tokens=512, eval_timeout_seconds=60), tiny_model())
    assert (given["limit"], given["max_new_tokens"], given["do_sample"], given["pad_token_id"]) == (60, 512, False, 1)
    assert (given["idle"], given["isolate"], given["intent"]) == (None, False, None)
    settings = {"eval_idle_seconds": 9, "eval_isolate": True, "intent": False}
    evaluate(shown(generate=generate, eval_generation={"do_sample": True, "top_k": 5}, **settings), tiny_model())
    assert (given["idle"], given["isolate"], given["intent"]) == (9, True, False)
    assert (given["do_sample"], given["top_k"]) == (True, 5)


def test_each_way_to_be_stopped_has_its_words(shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from hangtight.errors import BudgetSpent, IdleTimeout, TotalTimeout

    silent, late = IdleTimeout("stuck"), TotalTimeout("timed out")
    silent.limit, silent.waited = "idle", 9.0
    late.limit, late.waited = "total", 60.0
    stopped = [(Verdict.TIMED_OUT, silent), (Verdict.TIMED_OUT, late), (Verdict.TIMED_OUT, BudgetSpent())]
    for verdict, error in [*stopped, (Verdict.LOOPING, None), (Verdict.HUNG, late)]:
        evaluate(shown(generate=answering(verdict=verdict, error=error), eval_timeout_seconds=60), tiny_model())
    said = [line for line in capsys.readouterr().out.splitlines() if "TIMEOUT" in line]
    assert "stuck - no token for 9s" in said[0]
    assert said[1] == said[4] == "⚠️  TIMEOUT: Model generation exceeded 60s at step 4"
    assert "budget" in said[2]
    assert "repeats itself" in said[3]


def test_more_than_a_tenth_of_timeouts_is_told_once_in_ten(shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    callback, model, state = shown(generate=answering(verdict=Verdict.TIMED_OUT)), tiny_model(), None
    for step in range(4, 4 * 16, 4):
        state = evaluate(callback, model, step=step, state=state)
    said = capsys.readouterr().out
    assert said.count("Training will still complete.") == 1
    assert "10 of 10 evaluations timed out" in said


def test_a_hang_is_in_the_status_while_it_lasts_and_the_users_own_hook_is_told(tmp_path: Path, shown: Any) -> None:
    seen: list[Any] = []

    def generate(*_: Any, on_hang: Any, **__: Any) -> Generated:
        seen.append(status(tmp_path)["doing"])
        on_hang("a hang")
        return answering()()

    def told(hang: Any) -> None:
        seen.extend([hang, status(tmp_path)["doing"]])

    evaluate(shown(generate=generate, on_hang=told), tiny_model())
    assert seen == ["evaluating", "a hang", "hung"]
    assert status(tmp_path)["doing"] == "training"


def raising(error: BaseException) -> Callable[..., Any]:
    def raises(*_: Any, **__: Any) -> Any:
        raise error

    return raises


def test_a_failure_of_ours_is_told_once_and_the_training_ends_as_ever(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = shown(lambda turn: ("only one",), eval_steps=1)
    run = trainer(tmp_path, callback)
    run.train()
    assert run.state.global_step == 12
    assert capsys.readouterr().out.count("Training goes on; this is said once.") == 1


def test_an_example_that_cannot_be_used_is_passed_over(shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    callback, model = shown([SAMPLES[0], ("one",), SAMPLES[2]], generate=answering()), tiny_model()
    state = None
    for step in (4, 8, 12):
        state = evaluate(callback, model, step=step, state=state)
    prompts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("📝")]
    assert prompts == [f"📝 PROMPT: {SAMPLES[turn][0]}" for turn in (0, 2)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_whoever_stops_the_training_stops_it(tmp_path: Path, shown: Any, stop: type[BaseException]) -> None:
    run = trainer(tmp_path, shown(generate=raising(stop())))
    with pytest.raises(stop):
        run.train()
    assert run.state.global_step == 4
    assert run.model.training


def test_an_output_that_is_closed_ends_no_training(tmp_path: Path, shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    from transformers import PrinterCallback

    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", closed)
        run = trainer(tmp_path, shown())
        run.remove_callback(PrinterCallback)  # it is transformers' own, and does end the training
        run.train()
    assert run.state.global_step == 12


def test_a_console_that_knows_no_pictures_is_written_to_all_the_same(
    shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", console)
        evaluate(shown(generate=answering()), tiny_model())
    console.seek(0)
    assert "FULL EVAL - Step 4" in console.read()


def test_bars_stay_whole_and_a_logger_is_told_as_well(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("of the run")
    with caplog.at_level(logging.INFO, "of the run"):
        trainer(tmp_path, shown(logger=logger), disable_tqdm=False).train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip("\r") for line in lines if "FULL EVAL" in line] == [
        f"🔍 FULL EVAL - Step {step}" for step in (4, 8, 12)
    ]
    assert "🔍 FULL EVAL - Step 4" in caplog.text


def test_the_numbers_reach_tensorboard_through_the_trainers_own_log(
    tmp_path: Path, shown: Any, monkeypatch: Any
) -> None:
    from importlib import import_module

    EventAccumulator = import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    callback = shown(val=VAL)
    run = trainer(tmp_path, callback, report_to="tensorboard")
    callback.log_to(run.log)
    run.train()
    plain = trainer(tmp_path)
    plain.train()
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    assert [told.step for told in board.Scalars("eval/sample_loss")] == [4, 8, 12]
    assert {"eval/sample_gap", "eval/sample_tokens", "eval/sample_timeouts"} <= set(board.Tags()["scalars"])
    assert losses(run) == losses(plain), "a log of ours takes none of theirs away"


def test_without_it_the_numbers_are_in_the_history_that_a_checkpoint_keeps(tmp_path: Path, shown: Any) -> None:
    run = trainer(tmp_path, shown())
    run.train()
    told = [entry for entry in run.state.log_history if "eval_sample_loss" in entry]
    assert [entry["step"] for entry in told] == [4, 8, 12]


def test_a_resumed_run_goes_on_with_its_count_its_time_and_its_next_example(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, shown(), save_strategy="steps", save_steps=10, max_steps=12).train()
    before = status(tmp_path)
    capsys.readouterr()
    run = trainer(tmp_path, shown(), save_strategy="steps", save_steps=10, max_steps=16)
    run.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-10"))
    prompts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("📝")]
    assert prompts == [f"📝 PROMPT: {SAMPLES[turn][0]}" for turn in (2, 3)], "two were before the checkpoint"
    told = status(tmp_path)
    assert told["evaluations"] == 4
    kept = json.loads((tmp_path / "out" / "checkpoint-10" / "trainer_state.json").read_text())
    kept = kept["stateful_callbacks"]["EvalSamples"]["attributes"]["kept"]["elapsed"]
    assert 0 < kept < before["elapsed"]
    assert told["elapsed"] > kept


def test_a_checkpoint_from_before_it_was_there_can_be_resumed_and_saved_again(tmp_path: Path, shown: Any) -> None:
    trainer(tmp_path, save_strategy="steps", save_steps=6).train()
    run = trainer(tmp_path, shown(), save_strategy="steps", save_steps=2, max_steps=16)
    run.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-6"))
    assert run.state.global_step == 16
    assert status(tmp_path)["evaluations"] == 3


def test_the_trainer_may_restore_it_in_its_own_way(tmp_path: Path, shown: Any) -> None:
    given = {"save_strategy": "steps", "save_steps": 6, "restore_callback_states_from_checkpoint": True}
    trainer(tmp_path, shown(), **given).train()
    run = trainer(tmp_path, shown(), **{**given, "max_steps": 16})
    run.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-6"))
    assert run.state.global_step == 16
    assert status(tmp_path)["evaluations"] == 4


def test_an_evaluation_that_killed_the_run_is_not_met_again_by_resuming(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path, shown(generate=raising(KeyboardInterrupt())), save_strategy="steps", save_steps=4)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    capsys.readouterr()
    again = trainer(tmp_path, shown(), save_strategy="steps", save_steps=4)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    blocks = [line for line in capsys.readouterr().out.splitlines() if line.startswith("🔍")]
    assert blocks == ["🔍 FULL EVAL - Step 8", "🔍 FULL EVAL - Step 12"]


def test_a_training_that_is_begun_anew_counts_anew(tmp_path: Path, shown: Any) -> None:
    callback = shown()
    trainer(tmp_path, callback).train()
    trainer(tmp_path, callback).train()
    assert status(tmp_path)["evaluations"] == 3
    assert status(tmp_path)["doing"] == "finished"


def test_another_rank_neither_generates_nor_prints_and_logs_at_the_same_steps(
    shown: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from transformers import TrainerControl, TrainerState

    callback = shown(generate=raising(AssertionError("it is not this rank's turn")))
    state = TrainerState(max_steps=12, stateful_callbacks=[callback], is_world_process_zero=False)
    control = TrainerControl()
    callback.on_train_begin(None, state, control)
    state.global_step = 4
    callback.on_step_end(None, state, control)
    assert control.should_log
    callback.on_step_begin(None, state, control, model=tiny_model())
    callback.on_log(None, state, control, logs={"loss": 1.0})
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "status.json").exists()


def test_settings_come_from_the_config_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hangtight.training import EvalSamples

    config = tmp_path / "config.json"
    told = {"eval_timeout_seconds": LIMIT, "eval_steps": 6, "logging_steps": 3, "max_new_tokens": 4, "save_steps": 5}
    config.write_text(json.dumps(told | {"status_file": str(tmp_path / "status.json")}))
    callback = EvalSamples.from_config(config, [(SLOW, "w9")], tiny_tokenizer(), val=VAL)
    assert capsys.readouterr().out == "", "save_steps is the Trainer's own"
    trainer(tmp_path, callback, model=badly_behaved(tiny_model("gpt2")), logging_steps=500).train()
    lines = capsys.readouterr().out.splitlines()
    timeouts = [line for line in lines if "TIMEOUT" in line]
    assert timeouts == [f"⚠️  TIMEOUT: Model generation exceeded {LIMIT}s at step {step}" for step in (6, 12)]
    assert [line.split()[1] for line in lines if line.startswith("Step")] == ["3/12", "6/12", "9/12", "12/12"]


def test_a_config_that_cannot_be_meant_is_refused_before_the_training(tmp_path: Path) -> None:
    from hangtight.training import EvalSamples

    config = tmp_path / "config.json"
    config.write_text('{"eval_timeout_seconds": 0}')
    with pytest.raises(SettingsError, match=r"config\.json: eval_timeout_seconds = 0"):
        EvalSamples.from_config(config, SAMPLES, tiny_tokenizer())


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_trl_trains_with_it_too(tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"prompt": prompt, "completion": f" {golden}"} for prompt, golden in SAMPLES]
    config = SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=12,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    run = SFTTrainer(
        model=tiny_model("gpt2"),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
        callbacks=[shown(rows)],
    )
    run.train()
    assert run.state.global_step == 12
    assert capsys.readouterr().out.count("📉 LOSS ON THIS EXAMPLE: 4.") == 3


def test_gradient_checkpointing_and_accumulation_change_nothing(tmp_path: Path, shown: Any) -> None:
    given = {"activation_checkpointing": True, "gradient_accumulation_steps": 2}
    plain = trainer(tmp_path, **given)
    plain.train()
    guarded = trainer(tmp_path, shown(), **given)
    guarded.train()
    assert losses(plain) == losses(guarded)
    assert status(tmp_path)["evaluations"] == 3


def test_a_conversation_goes_through_the_template_of_the_model(tmp_path: Path, shown: Any) -> None:
    from hangtight.training.samples import sample_of
    from hangtight.training.scoring import encoded

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<bos> {% for m in messages %}{{ m.content }} {% endfor %}w7"
    messages = [{"role": "user", "content": "w10"}, {"role": "assistant", "content": "w11"}]
    example = encoded(tokenizer, sample_of({"messages": messages}))
    assert (example.prompt, example.golden, example.end) == ([2, 10, 7], [11], [1])


def test_a_read_only_status_folder_ends_no_training(tmp_path: Path, shown: Any) -> None:
    (tmp_path / "status").write_text("")
    run = trainer(tmp_path, shown(status_file=str(tmp_path / "status" / "training_status.json")))
    run.train()
    assert run.state.global_step == 12


def test_the_time_of_an_evaluation_is_in_the_status(tmp_path: Path, shown: Any) -> None:
    def slow(*_: Any, **__: Any) -> Generated:
        time.sleep(0.05)
        return answering()()

    evaluate(shown(generate=slow), tiny_model())
    assert status(tmp_path)["eval"]["elapsed"] >= 0.05


def test_in_a_process_of_its_own_the_model_says_what_it_has_learned_by_now(
    tmp_path: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers(**more: Any) -> list[str]:
        trainer(tmp_path, shown(SAMPLES[:1], eval_timeout_seconds=60, **more), learning_rate=0.1).train()
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("🤖")]

    here = answers()
    assert len(set(here)) > 1, "it learns, so it says something else"
    assert answers(eval_isolate=True) == here
