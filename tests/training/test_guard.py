"""What the guard ends, and how; on a tiny random model."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import hangtight
from hangtight.training.generating import guarded_generate
from hangtight.training.outcome import Layer, Verdict
from tests.training.kit import (
    ENDLESS,
    EOS,
    before_each_forward,
    endless,
    prompt,
    saying,
    slowed,
    tiny_model,
    tiny_tokenizer,
)

pytestmark = pytest.mark.torch

LIMIT = 0.3
FAR = 30.0
OVERDUE = 10.0
"""Seconds that a busy machine may add, and still far less than what hangs would take."""


@pytest.fixture(scope="module")
def model() -> Any:
    made = tiny_model()
    made.generate(prompt(), max_new_tokens=2)  # the first one loads much
    return made


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


def ever(**more: Any) -> dict[str, Any]:
    return {"max_new_tokens": ENDLESS, "logits_processor": endless(), **more}


def spinning(at: int) -> Any:
    def act(number: int) -> None:
        while number == at:
            pass

    return act


# -- between two tokens -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gently")
def test_an_endless_generation_is_stopped_and_its_text_is_kept(model: Any, tokenizer: Any) -> None:
    got = guarded_generate(model, prompt(), tokenizer=tokenizer, limit=LIMIT, **ever())

    assert got.verdict is Verdict.TIMED_OUT
    assert got.ended_by is Layer.CRITERION
    assert got.text is None
    assert len(got.partial.split()) == got.tokens == got.output.shape[1] - 4
    assert isinstance(got.error, hangtight.TotalTimeout)
    assert got.error.partial == got.partial
    assert LIMIT <= got.elapsed < LIMIT + OVERDUE
    _, source, change = str(got.error).splitlines()
    assert source == f"total = {LIMIT} comes from the call"
    assert change.startswith(f"to wait longer:  hangtight.training.guarded_generate(limit={2 * LIMIT})")


def test_one_that_ends_by_itself_is_whole(model: Any, tokenizer: Any) -> None:
    said: dict[str, Any] = {"logits_processor": saying([5, 6, 7, EOS]), "max_new_tokens": 50}
    got = guarded_generate(model, prompt(), tokenizer=tokenizer, limit=FAR, **said)

    assert got.verdict is Verdict.FINISHED
    assert (got.text, got.partial, got.tokens) == ("w5 w6 w7", "w5 w6 w7", 3)
    assert got.error is None
    assert got.ended_by is None


@pytest.mark.usefixtures("gently")
def test_of_eight_rows_with_one_runaway_seven_are_whole_and_one_is_partial(model: Any, tokenizer: Any) -> None:
    rows = [[5, 6, 7, EOS]] * 3 + [[9] * 9] + [[8, 9, EOS]] * 4
    got = guarded_generate(
        model, prompt(8), tokenizer=tokenizer, limit=LIMIT, max_new_tokens=ENDLESS, logits_processor=saying(*rows)
    )

    assert got.verdict is Verdict.TIMED_OUT
    assert [row.text for row in got.rows] == ["w5 w6 w7"] * 3 + [None] + ["w8 w9"] * 4
    assert [row.whole for row in got.rows] == [True] * 3 + [False] + [True] * 4
    assert got.rows[3].partial.startswith("w9 w9 w9")
    assert isinstance(got.error, hangtight.GenerationTimeout)
    assert got.error.partial == got.rows[3].partial


@pytest.mark.usefixtures("gently")
def test_slow_tokens_are_stopped_at_the_limit(model: Any) -> None:
    with slowed(model, 0.05):
        got = guarded_generate(model, prompt(), limit=LIMIT, **ever())
    assert got.verdict is Verdict.TIMED_OUT
    assert got.ended_by is Layer.CRITERION
    assert 0 < got.tokens <= LIMIT / 0.05 + 1


def test_a_row_that_repeats_itself_is_stopped_alone(model: Any, tokenizer: Any) -> None:
    words = list(range(10, 60))
    healthy = [*range(4, 120), *range(119, 3, -1), *range(4, 120, 3), EOS]
    got = guarded_generate(
        model,
        prompt(2),
        tokenizer=tokenizer,
        limit=FAR,
        intent=True,
        max_new_tokens=600,
        logits_processor=saying(words * 20, healthy),
    )
    assert got.verdict is Verdict.LOOPING
    assert got.rows[0].text is None
    assert got.rows[0].tokens < 250
    assert got.rows[1].whole
    assert got.rows[1].tokens == len(healthy) - 1
    assert isinstance(got.error, hangtight.Looping)
    assert got.error.useful.split() == [f"w{number}" for number in words]


@pytest.mark.usefixtures("gently")
def test_a_late_token_breaks_the_limit_on_silence(model: Any) -> None:
    with before_each_forward(model, lambda number: time.sleep(0.5) if number == 3 else None):
        got = guarded_generate(model, prompt(), limit=FAR, idle=0.47, **ever())
    assert isinstance(got.error, hangtight.IdleTimeout)
    assert got.tokens == 3 or got.ended_by is Layer.CRITERION


@pytest.mark.parametrize("more", [{"num_beams": 2}, {"return_dict_in_generate": True}, {"num_return_sequences": 2}])
def test_other_ways_to_generate_have_honest_rows(model: Any, tokenizer: Any, more: dict[str, Any]) -> None:
    if "num_return_sequences" in more:
        more = {**more, "do_sample": True}
    more = {**ever(), "max_new_tokens": 3000, **more}
    got = guarded_generate(model, prompt(2), tokenizer=tokenizer, limit=LIMIT, **more)
    assert got.verdict is Verdict.TIMED_OUT
    assert len(got.rows) == 2 * more.get("num_return_sequences", 1)
    assert all(not row.whole and len(row.partial.split()) == row.tokens > 0 for row in got.rows)


def test_a_model_with_an_encoder(tokenizer: Any) -> None:
    more: dict[str, Any] = {"max_new_tokens": ENDLESS, "logits_processor": saying([5, 6, EOS], [5] * 9, start=1)}
    got = guarded_generate(tiny_model("t5"), prompt(2), tokenizer=tokenizer, limit=LIMIT, **more)
    assert [row.text for row in got.rows] == ["w5 w6", None]
    assert got.rows[1].tokens == got.output.shape[1] - 1


def test_inputs_may_be_embeddings_or_an_encoding(model: Any, tokenizer: Any) -> None:
    import torch

    said: dict[str, Any] = {"logits_processor": saying([5, 6, EOS], start=0), "max_new_tokens": 9}
    with torch.no_grad():
        embedded = model.get_input_embeddings()(prompt())
    got = guarded_generate(model, tokenizer=tokenizer, inputs_embeds=embedded, **said)
    assert got.text == "w5 w6"

    said["logits_processor"] = saying([5, 6, EOS], start=2)
    encoding = tokenizer("w7 w8", return_tensors="pt", return_token_type_ids=False)
    assert guarded_generate(model, encoding, tokenizer=tokenizer, **said).text == "w5 w6"


def test_an_assisted_generation_has_one_clock(model: Any, tokenizer: Any) -> None:
    got = guarded_generate(
        model, prompt(), tokenizer=tokenizer, limit=LIMIT, assistant_model=tiny_model(seed=1), **ever()
    )
    assert got.verdict is Verdict.TIMED_OUT
    assert got.tokens == got.output.shape[1] - 4


def test_criteria_and_streamers_of_the_caller_are_kept(model: Any) -> None:
    seen: list[int] = []

    class Streamer:
        def put(self, value: Any) -> None:
            seen.append(value.numel())

        def end(self) -> None:
            seen.append(-1)

    def enough(ids: Any, scores: Any, **_: Any) -> bool:
        return bool(ids.shape[1] >= 10)

    got = guarded_generate(model, prompt(), limit=FAR, stopping_criteria=[enough], streamer=Streamer(), **ever())
    assert got.verdict is Verdict.FINISHED
    assert got.tokens == 6
    assert seen == [4, 1, 1, 1, 1, 1, 1, -1]


# -- where no next token comes ----------------------------------------------------------------------------------------


def test_a_loop_in_the_forward_is_interrupted_and_the_tokens_so_far_are_kept(model: Any, tokenizer: Any) -> None:
    with before_each_forward(model, spinning(5)):
        got = guarded_generate(model, prompt(2), tokenizer=tokenizer, limit=LIMIT, **ever())
    assert (got.verdict, got.ended_by) == (Verdict.TIMED_OUT, Layer.ALARM)
    assert [row.tokens for row in got.rows] == [5, 5]
    assert all(row.text is None and row.partial for row in got.rows)
    assert got.output is None


def test_the_same_in_another_thread(model: Any) -> None:
    got: list[Any] = []

    def work() -> None:
        with before_each_forward(model, spinning(5)):
            got.append(guarded_generate(model, prompt(), limit=LIMIT, **ever()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (got[0].verdict, got[0].ended_by, got[0].tokens) == (Verdict.TIMED_OUT, Layer.EXCEPTION, 5)


def test_silence_is_interrupted_long_before_the_limit(model: Any) -> None:
    with before_each_forward(model, spinning(5)):
        got = guarded_generate(model, prompt(), limit=600, idle=LIMIT, **ever())
    assert isinstance(got.error, hangtight.IdleTimeout)
    assert got.ended_by is Layer.ALARM
    assert got.tokens == 5
    assert got.elapsed < 600


def test_an_interruption_for_silence_waits_as_long_as_tokens_come(model: Any) -> None:
    with slowed(model, 0.05):
        got = guarded_generate(model, prompt(), limit=600, idle=0.4, max_new_tokens=30, logits_processor=endless())
    assert got.verdict is Verdict.FINISHED
    assert got.tokens == 30


def test_an_error_that_the_interrupted_code_made_of_it_is_ours(model: Any) -> None:
    def act(number: int) -> None:
        if number == 4:
            try:
                spinning(4)(4)
            except BaseException:
                raise RuntimeError("while cleaning up")  # noqa: B904

    with before_each_forward(model, act):
        got = guarded_generate(model, prompt(), limit=LIMIT, **ever())
    assert (got.verdict, got.tokens) == (Verdict.TIMED_OUT, 4)


def test_a_c_call_that_does_not_return_in_time_is_named(model: Any, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Any] = []
    named = threading.Event()

    def hook(hang: Any) -> None:
        told.append(hang)
        named.set()

    def counts(number: int) -> None:
        until = time.monotonic() + 3 * LIMIT
        while number == 3 and time.monotonic() < until:
            sum(range(100_000_000))  # in C, and it looks for no signal

    with before_each_forward(model, counts):
        got = guarded_generate(model, prompt(), limit=LIMIT, on_hang=hook, **ever())
    assert named.wait(FAR)
    assert got.verdict is Verdict.HUNG
    assert got.tokens >= 3
    assert Layer.NAMED in got.layers
