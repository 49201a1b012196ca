"""What the guard does where tokenizers fail or hang, models are copied, and others meddle."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import weakref
from typing import Any

import pytest

import hangtight
from hangtight.training.generating import guarded_generate
from hangtight.training.guarding import guard
from hangtight.training.outcome import Layer, Verdict
from tests.training.kit import ENDLESS, before_each_forward, endless, prompt, tiny_model

pytestmark = pytest.mark.torch

LIMIT = 0.3
FAR = 30.0


@pytest.fixture(scope="module")
def model() -> Any:
    made = tiny_model()
    made.generate(prompt(), max_new_tokens=2)  # the first one loads much
    return made


def ever() -> dict[str, Any]:
    return {"max_new_tokens": ENDLESS, "logits_processor": endless()}


class Broken:
    """A tokenizer that cannot decode."""

    def decode(self, *_: Any, **__: Any) -> str:
        raise IndexError("piece id is out of range")


class Hanging:
    def decode(self, *_: Any, **__: Any) -> str:
        while True:
            pass


# -- a tokenizer ------------------------------------------------------------------------------------------------------


def test_tokens_that_cannot_be_decoded_are_an_answer_without_text(model: Any) -> None:
    got = guarded_generate(model, prompt(2), tokenizer=Broken(), limit=FAR, max_new_tokens=5)
    assert got.verdict is Verdict.FINISHED
    assert [(row.text, row.partial, row.tokens, row.whole) for row in got.rows] == [(None, "", 5, True)] * 2
    assert str(got.rows[0].unread) == "piece id is out of range"


@pytest.mark.parametrize("intent", [True, False])
def test_a_timeout_is_told_also_where_its_text_cannot_be(model: Any, intent: bool) -> None:
    with (
        pytest.raises(hangtight.TotalTimeout) as late,
        guard(LIMIT, model=model, tokenizer=Broken(), intent=intent) as g,
    ):
        model.generate(prompt(), **ever())
    assert g.tokens > 0
    assert late.value.__notes__ == ["the tokenizer made no text of it: IndexError: piece id is out of range"]


@pytest.mark.parametrize("own", [KeyboardInterrupt, KeyError, SystemExit])
def test_an_error_of_the_block_wins_over_a_tokenizer_that_fails(model: Any, own: type[BaseException]) -> None:
    with pytest.raises(own), guard(FAR, model=model, tokenizer=Broken()) as g:
        model.generate(prompt(), max_new_tokens=3)
        raise own
    assert g.elapsed > 0, "it was closed"


@pytest.mark.parametrize("max_new_tokens", [3, ENDLESS])
def test_a_tokenizer_that_hangs_costs_the_text_alone(model: Any, max_new_tokens: int) -> None:
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "logits_processor": endless()}
    got = guarded_generate(model, prompt(), tokenizer=Hanging(), limit=LIMIT, intent=False, **options)
    assert got.verdict is not Verdict.FINISHED
    assert isinstance(got.error, hangtight.TotalTimeout)
    assert got.tokens >= 3
    assert isinstance(got.rows[0].unread, TimeoutError)
    assert got.output is not None


def byte_tokenizer() -> Any:
    """One that can spell anything, as those of real models can."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelling = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    spelling.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelling.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=spelling, eos_token=alphabet[0])


def test_strings_that_stop_it_are_handed_the_tokenizer() -> None:
    """Not the words of the other tests: transformers wants one that can spell."""
    from tests.training.kit import saying

    model, tokenizer = tiny_model(vocab_size=256), byte_tokenizer()
    said = tokenizer("so it ends here, and not there")["input_ids"]
    got = guarded_generate(
        model,
        prompt(),
        tokenizer=tokenizer,
        limit=FAR,
        stop_strings=["here"],
        max_new_tokens=100,
        logits_processor=saying(said, then=said[0]),
    )
    assert got.text == "so it ends here"


# -- the settings of the model ----------------------------------------------------------------------------------------


def test_beams_that_only_the_model_wants_are_no_rows(model: Any) -> None:
    from transformers import GenerationConfig

    def spins(number: int) -> None:
        while number == 4:
            pass

    wide = tiny_model()
    wide.generation_config.num_beams = 3
    given = GenerationConfig(max_new_tokens=50, pad_token_id=0)
    with before_each_forward(wide, spins):
        got = guarded_generate(wide, prompt(2), limit=LIMIT, generation_config=given, logits_processor=endless())
    assert [row.tokens for row in got.rows] == [4, 4]


@pytest.mark.parametrize("name", ["limit", "idle"])
def test_what_is_refused_has_the_name_that_was_typed(model: Any, name: str) -> None:
    with pytest.raises(hangtight.SettingsError, match=f"^{name} = 0 "):
        zero: dict[str, Any] = {name: 0}
        guarded_generate(model, prompt(), **zero)


# -- what others do inside --------------------------------------------------------------------------------------------


def test_a_copy_that_is_made_inside_knows_nothing_of_the_guard(model: Any) -> None:
    import torch

    with guard(FAR, model=model), guard(FAR, model=model):
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        file = io.BytesIO()
        torch.save(model, file)
    file.seek(0)
    copies.append(torch.load(file, weights_only=False))
    for each in copies:
        assert vars(each).keys() == vars(model).keys()
        assert each.generate(prompt(), max_new_tokens=2).shape == (1, 6)
    assert "__reduce_ex__" not in vars(model)


def test_a_method_that_somebody_has_put_on_the_model_is_copied_with_it() -> None:
    model = tiny_model()
    model.generate = len
    with guard(FAR, model=model):
        assert copy.deepcopy(model).generate is len
    assert model.generate is len


@pytest.mark.usefixtures("gently")
def test_what_somebody_patches_inside_stays_and_is_guarded_the_next_time(model: Any) -> None:
    from transformers import GenerationMixin

    plain = GenerationMixin.generate
    asked = []
    try:
        with guard(FAR):
            beneath = GenerationMixin.generate

            def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
                asked.append(len(args))
                return beneath(self, *args, **kwargs)

            GenerationMixin.generate = patched
        assert GenerationMixin.generate is patched
        with pytest.raises(hangtight.TotalTimeout), guard(LIMIT) as g:
            model.generate(prompt(), **ever())
        assert asked == [1]
        assert g.ended_by is Layer.CRITERION
        assert GenerationMixin.generate is patched
    finally:
        GenerationMixin.generate = plain


def test_generations_side_by_side_in_one_guard_are_each_stopped_between_two_tokens(model: Any) -> None:
    from contextvars import copy_context

    shapes: list[Any] = []
    with pytest.raises(hangtight.TotalTimeout), guard(LIMIT, model=model) as g:
        work = lambda: shapes.append(model.generate(prompt(), **ever()).shape)  # noqa: E731
        threads = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(FAR)
    assert len(shapes) == 2
    assert g.tokens == sum(shape[1] - 4 for shape in shapes)


def test_a_ring_is_not_lost_in_the_last_word_of_something_that_went(model: Any) -> None:
    class Thing:
        pass

    lost: list[Any] = []

    def goes(number: int) -> None:
        while number == 2:
            thing = Thing()
            _kept = weakref.ref(thing, lambda _: sum(range(3000)))
            del thing

    import sys

    before, sys.unraisablehook = sys.unraisablehook, lost.append
    try:
        with before_each_forward(model, goes):
            got = guarded_generate(model, prompt(), limit=LIMIT, **ever())
    finally:
        sys.unraisablehook = before
    assert got.ended_by is Layer.ALARM
    assert lost == []
