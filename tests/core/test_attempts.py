"""Who is asked next, and within what: by arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.attempts import Attempt, Attempts, Fault, Kept, Try
from hangtight.core.time import FOREVER, Instant, Seconds

HEAVY, LIGHT, TINY = "qwen3-coder", "qwen3:1.7b", "qwen3:0.6b"
TOTAL = Seconds(100.0)


def failed(model: str, fault: Fault = Fault.TIMEOUT, at: float = 30.0) -> Attempt:
    return Attempt(model, fault, "stuck", at, "first_token")


def test_after_a_failure_the_next_model_gets_what_is_left() -> None:
    attempts = Attempts([HEAVY, LIGHT], Instant(5.0))
    assert attempts.model == HEAVY
    assert attempts.may_change
    assert attempts.failed(failed(HEAVY), Instant(35.0), TOTAL) == Try(LIGHT, Seconds(70.0))
    assert attempts.model == LIGHT
    assert not attempts.may_change
    assert attempts.failed(failed(LIGHT), Instant(50.0), TOTAL) is None
    assert [attempt.model for attempt in attempts.told] == [HEAVY, LIGHT]


def test_when_nothing_is_left_nobody_is_asked() -> None:
    attempts = Attempts([HEAVY, LIGHT], Instant(0.0))
    assert attempts.failed(failed(HEAVY), Instant(100.0), TOTAL) is None


def test_without_a_total_the_next_one_has_no_end_either() -> None:
    assert Attempts([HEAVY, LIGHT], Instant(0.0)).failed(failed(HEAVY), Instant(9.0), FOREVER) == Try(LIGHT, FOREVER)


def test_once_a_token_was_delivered_nobody_else_is_asked() -> None:
    attempts = Attempts([HEAVY, LIGHT], Instant(0.0))
    attempts.delivered = True
    assert not attempts.may_change
    assert attempts.failed(failed(HEAVY), Instant(1.0), TOTAL) is None


def test_a_request_that_nobody_would_take_is_not_asked_again() -> None:
    attempts = Attempts([HEAVY, LIGHT], Instant(0.0))
    assert attempts.failed(failed(HEAVY, Fault.REQUEST), Instant(1.0), TOTAL) is None


def test_the_same_model_is_tried_again_after_a_fault_of_the_server_but_not_after_a_timeout() -> None:
    attempts = Attempts([HEAVY, HEAVY, HEAVY, TINY], Instant(0.0))
    assert attempts.failed(failed(HEAVY, Fault.SERVER), Instant(1.0), TOTAL) == Try(HEAVY, Seconds(99.0))
    assert attempts.failed(failed(HEAVY), Instant(31.0), TOTAL) == Try(TINY, Seconds(69.0))


def test_a_chain_of_one_model_that_is_named_again_ends() -> None:
    attempts = Attempts([HEAVY, HEAVY], Instant(0.0))
    assert attempts.failed(failed(HEAVY), Instant(1.0), TOTAL) is None


def test_an_attempt_is_told_in_one_line() -> None:
    assert str(failed(HEAVY)) == "qwen3-coder failed after 30s: stuck"


@given(
    st.lists(st.sampled_from([HEAVY, LIGHT, TINY]), min_size=1),
    st.lists(st.tuples(st.sampled_from(Fault), st.floats(0, 40))),
)
def test_no_chain_gives_more_than_its_total_or_asks_a_silent_model_twice(
    models: list[str], story: list[tuple[Fault, float]]
) -> None:
    attempts, now, silent = Attempts(models, Instant(0.0)), 0.0, set[str]()
    for fault, took in story:
        now += took
        silent |= {attempts.model} if fault is Fault.TIMEOUT else set()
        following = attempts.failed(failed(attempts.model, fault), Instant(now), TOTAL)
        if following is None:
            break
        assert now + following.left <= TOTAL + 1e-9
        assert following.model not in silent


# -- what fits ------------------------------------------------------------------------------------------------

TAKES = {"heavy": 60.0, "middle": 40.0, "light": 10.0}


def knowing(*models: str, at: float = 0.0) -> Attempts:
    return Attempts(models, Instant(at), TAKES.get)


def test_the_time_of_the_first_lighter_model_that_fits_is_kept_free_with_a_margin() -> None:
    assert knowing("heavy", "light").kept(Seconds(100)) == Kept("light", 11)
    assert knowing("heavy", "middle", "light").kept(Seconds(30)) == Kept("light", 11)
    quick = Attempts(["heavy", "quick"], Instant(0), {"quick": 1.0}.get)
    assert quick.kept(Seconds(100)) == Kept("quick", 1.5), "to stop the first one takes time too"


def test_nothing_is_kept_for_who_may_be_fast_or_cannot_finish_or_where_there_is_no_end() -> None:
    assert knowing("heavy", "unknown", "light").kept(Seconds(100)) is None
    assert knowing("heavy", "middle").kept(Seconds(40)) is None
    assert knowing("heavy", "light").kept(FOREVER) is None


def test_who_would_not_finish_in_what_is_left_is_passed_over_and_told() -> None:
    attempts = knowing("heavy", "middle", "light")
    following = attempts.failed(Attempt("heavy", Fault.TIMEOUT, "stuck", 70), Instant(70), Seconds(100))
    assert following == Try("light", Seconds(30))
    assert [(unfit.model, unfit.predicted, unfit.left) for unfit in attempts.unfit] == [("middle", 40, 30)]
    assert "middle was not asked" in str(attempts.unfit[0])


def test_the_one_for_which_time_was_kept_is_asked_even_if_the_first_took_longer_to_stop() -> None:
    attempts = knowing("heavy", "light")
    assert attempts.kept(Seconds(100)) is not None
    following = attempts.failed(Attempt("heavy", Fault.TIMEOUT, "stuck", 92), Instant(92), Seconds(100))
    assert following == Try("light", Seconds(8))


def test_the_first_one_is_skipped_where_only_a_later_one_can_finish() -> None:
    attempts = knowing("heavy", "middle", "light")
    attempts.skip_unfit(Seconds(30))
    assert attempts.model == "light"
    assert [unfit.model for unfit in attempts.unfit] == ["heavy", "middle"]
    assert not attempts.may_change


def test_where_none_can_finish_the_first_is_asked_all_the_same() -> None:
    attempts = knowing("heavy", "middle")
    attempts.skip_unfit(Seconds(5))
    assert (attempts.model, attempts.unfit) == ("heavy", ())


def test_nobody_is_skipped_once_somebody_has_failed() -> None:
    attempts = Attempts(["unknown", "heavy", "light"], Instant(0), TAKES.get)
    attempts.failed(Attempt("unknown", Fault.SERVER, "refused", 1), Instant(1), Seconds(100))
    attempts.skip_unfit(Seconds(30))
    assert attempts.model == "heavy"


def test_there_is_another_model_as_long_as_one_would_be_asked() -> None:
    slow = {"b": 50.0, "c": 9.0}
    attempts = Attempts(["a", "b", "c"], Instant(0.0), slow.get)
    assert attempts.has_another(Instant(0.0), Seconds(60.0))
    assert attempts.has_another(Instant(50.0), Seconds(60.0))
    assert not attempts.has_another(Instant(52.0), Seconds(60.0))
    assert not attempts.has_another(Instant(60.0), Seconds(60.0))
    attempts.delivered = True
    assert not attempts.has_another(Instant(0.0), Seconds(60.0))
