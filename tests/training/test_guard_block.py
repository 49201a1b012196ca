"""The guard as a block and as a decorator: what it raises, what it wraps, and what it leaves behind."""

from __future__ import annotations

import copy
import threading
import time
from typing import Any

import pytest

import hangtight
from hangtight.training.generating import guarded_generate
from hangtight.training.guarding import guard
from hangtight.training.outcome import Layer, Verdict
from tests.training.kit import ENDLESS, EOS, endless, prompt, saying, tiny_model, tiny_tokenizer

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


def few(count: int = 3) -> dict[str, Any]:
    return {"max_new_tokens": count, "logits_processor": endless()}


@pytest.mark.usefixtures("gently")
def test_the_timeout_is_raised_at_the_end_of_the_block_with_all_in_hand(model: Any) -> None:
    after = False
    with pytest.raises(hangtight.TotalTimeout) as late, guard(LIMIT, model=model, tokenizer=tiny_tokenizer()) as g:
        out = model.generate(prompt(2), **ever())
        after = True
    assert after
    assert g.output is out
    assert (g.verdict, g.ended_by) == (Verdict.TIMED_OUT, Layer.CRITERION)
    assert g.layers == (Layer.CRITERION, Layer.ALARM, Layer.NAMED)
    assert g.tokens == 2 * (out.shape[1] - 4)
    assert late.value is g.error
    assert late.value.partial == g.rows[0].partial
    assert late.value.tokens == g.tokens


def test_all_generations_of_a_block_share_its_deadline(model: Any) -> None:
    with pytest.raises(hangtight.TotalTimeout), guard(LIMIT, model=model) as g:
        first = model.generate(prompt(), **few())
        second = model.generate(prompt(), **ever())
        third = model.generate(prompt(), **ever())
    assert first.shape[1] == 7
    assert third.shape[1] == 5
    assert g.tokens == 3 + second.shape[1] - 4 + 1


def test_a_block_that_ends_in_time_raises_nothing(model: Any) -> None:
    with guard(FAR, model=model) as g:
        model.generate(prompt(), **few())
    assert (g.verdict, g.error, g.tokens) == (Verdict.FINISHED, None, 3)


@pytest.mark.usefixtures("gently")
def test_without_a_model_all_models_are_meant_but_no_other_thread(model: Any) -> None:
    from transformers import GenerationMixin

    plain = GenerationMixin.generate
    theirs: list[Any] = []
    with pytest.raises(hangtight.TotalTimeout), guard(LIMIT) as g:
        thread = threading.Thread(target=lambda: theirs.append(tiny_model(seed=2).generate(prompt(), **few(300))))
        thread.start()
        model.generate(prompt(), **ever())
    thread.join()
    assert g.ended_by is Layer.CRITERION
    assert theirs[0].shape[1] == 304
    assert GenerationMixin.generate is plain


@pytest.mark.parametrize("inner_model", [True, False])
@pytest.mark.parametrize("outer_model", [True, False])
def test_the_nearest_deadline_wins_and_each_reports_its_own(model: Any, outer_model: bool, inner_model: bool) -> None:
    mine = {True: {"model": model}, False: {}}
    with guard(FAR, **mine[outer_model]) as outer:
        with pytest.raises(hangtight.TotalTimeout), guard(LIMIT, **mine[inner_model]) as inner:
            model.generate(prompt(), **ever())
        model.generate(prompt(), **few())
    assert (inner.verdict, outer.verdict) == (Verdict.TIMED_OUT, Verdict.FINISHED)
    assert outer.tokens == inner.tokens + 3

    outer, inner = guard(LIMIT, **mine[outer_model]), guard(FAR, **mine[inner_model])
    with pytest.raises(hangtight.TotalTimeout) as late, outer, inner:
        model.generate(prompt(), **ever())
    assert (inner.verdict, outer.verdict) == (Verdict.FINISHED, Verdict.TIMED_OUT)
    assert late.value is outer.error


def test_an_error_of_the_block_wins_and_ours_is_its_note(model: Any) -> None:
    with pytest.raises(ZeroDivisionError) as failed, guard(LIMIT, model=model) as g:
        model.generate(prompt(), **ever())
        _ = 1 / 0
    assert g.error is not None
    assert failed.value.__notes__ == [f"TotalTimeout: {g.error}"]


def test_ctrl_c_passes(model: Any) -> None:
    with pytest.raises(KeyboardInterrupt), guard(FAR, model=model):
        raise KeyboardInterrupt


def test_it_is_a_decorator_too(model: Any) -> None:
    @guard(LIMIT, model=model)
    def answer(count: int) -> Any:
        return model.generate(prompt(), **few(count))

    assert answer(3).shape[1] == 7
    with pytest.raises(hangtight.TotalTimeout):
        answer(ENDLESS)
    assert answer(3).shape[1] == 7


def test_what_returns_before_it_has_run_cannot_be_decorated() -> None:
    async def later() -> None: ...

    with pytest.raises(TypeError, match="later"):
        guard(LIMIT)(later)


def test_a_model_with_a_generate_of_its_own_has_the_outer_layers_only() -> None:
    class Foreign:
        def generate(self, words: str) -> str:
            while words:
                pass
            return words

    foreign = Foreign()
    with pytest.raises(hangtight.TotalTimeout), guard(LIMIT, model=foreign) as g:
        foreign.generate("for ever")
    assert g.layers == (Layer.ALARM, Layer.NAMED)
    assert g.ended_by is Layer.ALARM
    assert "generate" not in vars(foreign)


def test_nothing_of_the_model_is_changed_afterwards(model: Any) -> None:
    mine = lambda *args, **kwargs: type(model).generate(model, *args, **kwargs)  # noqa: E731
    model.train()
    before = (copy.deepcopy(model.generation_config.to_dict()), copy.copy(vars(model)), model.training)
    with pytest.raises(hangtight.TotalTimeout), guard(LIMIT, model=model):
        model.generate(prompt(), **ever())
    after = (model.generation_config.to_dict(), vars(model), model.training)
    assert before == after

    vars(model)["generate"] = mine
    with guard(FAR, model=model) as g:
        model.generate(prompt(), **few())
    assert vars(model).pop("generate") is mine
    assert g.tokens == 3
    model.eval()


def test_guards_that_leave_out_of_order_put_all_back(model: Any) -> None:
    one, two = guard(FAR, model=model), guard(FAR, model=model)

    def hold(each: guard, entered: threading.Event, leave: threading.Event) -> None:
        with each:
            entered.set()
            leave.wait(FAR)

    flags = [threading.Event() for _ in range(4)]
    threads = [threading.Thread(target=hold, args=(each, *flags[at : at + 2])) for each, at in ((one, 0), (two, 2))]
    for thread, entered in zip(threads, flags[::2], strict=True):
        thread.start()
        assert entered.wait(FAR)
    for thread, leave in zip(threads, flags[1::2], strict=True):
        leave.set()
        thread.join()
    assert "generate" not in vars(model)


def test_limits_around_it_and_budgets_hold(model: Any) -> None:
    with hangtight.budget(LIMIT):
        got = guarded_generate(model, prompt(), limit=FAR, **ever())
        assert got.verdict is Verdict.TIMED_OUT
        assert got.error is not None
        assert "budget" in str(got.error)
        time.sleep(LIMIT)
        spent = guarded_generate(model, prompt(), limit=FAR, **ever())
    assert isinstance(spent.error, hangtight.BudgetSpent)
    with hangtight.limits(idle=5), guard(FAR, model=model) as g:
        assert g._block is not None
        assert g._block.vigil.idle == 5


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": -1}, {"idle": 0}, {"check_every": 0}, {"limit": True}])
def test_what_cannot_be_meant_is_refused(model: Any, given: dict[str, Any]) -> None:
    with pytest.raises(hangtight.SettingsError), guard(model=model, **given):
        pass


def test_it_writes_into_the_journal(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hangtight.drivers import session
    from hangtight.journal.entries import Ended

    put: list[Any] = []

    class Keeping:
        url = "somewhere.db"

        def put(self, entry: Any) -> None:
            put.append(entry)

        def new_id(self) -> str:
            return "0123456789abcdef"

    keeping = Keeping()
    monkeypatch.setattr(session, "recorder", lambda: keeping)
    got = guarded_generate(model, prompt(), limit=LIMIT, **ever())
    ends = [entry for entry in put if isinstance(entry, Ended)]
    assert len(ends) == 1
    assert ends[0].outcome == "timeout"
    assert ends[0].tokens == got.tokens
    assert "hangtight log 01234567" in str(got.error)


def test_what_costs_a_token_is_small(model: Any) -> None:
    """Against a bare tensor operation of the same run, since the machine may be busy."""
    import timeit

    import torch

    from hangtight.training.criterion import Between
    from hangtight.training.vigil import Vigil

    vigil = Vigil(FAR, idle=None, intent=None, model="tiny", source="here")
    vigil.begins()
    criterion, ids, false = Between(vigil, None), prompt(8), torch.zeros(8, dtype=torch.bool)
    criterion(ids)
    ours = min(timeit.repeat(lambda: criterion(ids), number=2000, repeat=5))
    bare = min(timeit.repeat(lambda: torch.full((8,), False, dtype=torch.bool) | false, number=2000, repeat=5))
    vigil.close(tokens=0, partial="")
    assert ours < 3 * bare


def test_a_row_that_ends_with_the_time_is_whole(model: Any) -> None:
    with guard(FAR, model=model, tokenizer=tiny_tokenizer()) as g:
        model.generate(prompt(2), max_new_tokens=9, logits_processor=saying([5, EOS], [6, 6, EOS]))
    assert [row.text for row in g.rows] == ["w5", "w6 w6"]
