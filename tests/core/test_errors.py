"""Errors: three lines, the words of the users to the byte, and every attribute after a pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from hangtight import errors
from hangtight.core.attempts import Attempt, Fault
from hangtight.core.facts import Absent, Asked, Content, Fact, Reasoning
from hangtight.core.generation import Generation
from hangtight.core.layers import Layer, Rank, Resolved, Situation, mode_layer
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken
from hangtight.core.phases import IllegalFact, Phase
from hangtight.core.resolve import resolve
from hangtight.core.telling import Door, describe, timeout_error
from hangtight.core.time import Instant, Seconds
from hangtight.errors import (
    BackendError,
    FirstTokenTimeout,
    GenerationTimeout,
    HangtightError,
    IdleTimeout,
    LoadTimeout,
    QueueTimeout,
    SettingsError,
    TotalTimeout,
    Truncated,
)

CHANGE = "hangtight.watch(..., {name}={value})"
DEFAULTS = resolve((), Situation(warm=True))
EVERY_ERROR = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HangtightError)]


def told(
    *facts: Fact, resolved: Resolved = DEFAULTS, phase: Phase = Phase.WAITING, change: str = CHANGE
) -> GenerationTimeout:
    """The error of a generation to which this happened at 10 s, and then nothing more."""
    generation = Generation(resolved.clocks, Instant(0.0), phase=phase, model="mistral-7b")
    generation.record(Asked(), Instant(0.0))
    for fact in (*facts, Asked()) if facts else ():
        generation.record(fact, Instant(10.0))
    while generation.broken is None:
        now = generation.next_wakeup()
        generation.wake(now)
    return timeout_error(generation.broken, generation, resolved, elapsed=now, door=Door(change))


def by_hand(limit: Limit, waited: float, resolved: Resolved = DEFAULTS, *, tokens: int = 0) -> GenerationTimeout:
    generation = Generation(resolved.clocks, Instant(0.0), model="mistral-7b")
    generation.tokens = tokens
    return timeout_error(Broken(limit, Seconds(waited)), generation, resolved, elapsed=waited, door=Door(CHANGE))


# -- what they say --------------------------------------------------------------------------------------------


def test_silence_in_the_words_of_s0() -> None:
    assert str(told(Content())).startswith("mistral-7b stuck - no output for 45s")


def test_the_end_of_total_in_the_words_of_s0() -> None:
    assert str(by_hand(Limit.TOTAL, 600)).startswith("mistral-7b request timed out (600s total)")


def test_an_error_is_three_lines() -> None:
    assert str(told(Content())).split("\n") == [
        "mistral-7b stuck - no output for 45s (1 token in 55s so far, kept in .partial)",
        "idle = 45 comes from default",
        "to wait longer:  hangtight.watch(..., idle=90)",
    ]
    cold = resolve((), Situation())
    assert str(told(resolved=cold)).split("\n") == [
        "mistral-7b stuck - no output for 105s (105s elapsed, nothing received)",
        "first_token = 45 comes from default, + 60s allowed for a load or a long prompt",
        "to wait longer:  hangtight.watch(..., first_token=210)",
    ]


def test_a_number_that_only_follows_says_what_it_follows() -> None:
    resolved = resolve([Layer(Rank.CALL, "the call", {"idle": 60})], Situation(warm=True))
    assert str(told(resolved=resolved)).split("\n")[1] == "first_token = 60 follows idle=60 (the call)"


def test_a_load_that_a_parent_ended_says_how_long_it_had() -> None:
    resolved = resolve([mode_layer("fast")], Situation(warm=False, remaining=100))
    first, second, _ = str(told(resolved=resolved, phase=Phase.LOADING)).split("\n")
    assert first.startswith("mistral-7b request timed out (100s total)")
    assert second == "total = 30 comes from mode fast, + 70s allowed for a load or a long prompt"


def test_the_line_to_change_is_that_of_the_place_or_else_of_the_door() -> None:
    line = "models: {{mistral-7b: {{limits: {{{name}: {value}}}}}}}"
    resolved = resolve([Layer(Rank.MODEL, "hangtight.yaml:14", {"idle": 90}, line)], Situation(warm=True))
    said = str(told(Content(), resolved=resolved)).split("\n")
    assert said[1] == "idle = 90 comes from hangtight.yaml:14"
    assert said[2] == "to wait longer:  models: {mistral-7b: {limits: {idle: 180}}}"
    flag = told(change="hangtight run --{flag} {value} -- ...")
    assert str(flag).endswith("to wait longer:  hangtight run --first-token 90 -- ...")


@pytest.mark.parametrize("limit", Limit)
@pytest.mark.parametrize("tokens", [0, 7])
def test_every_message_can_be_grepped_for_and_has_three_lines(limit: Limit, tokens: int) -> None:
    error = by_hand(limit, 12.5, tokens=tokens)
    first = str(error).split("\n")[0]
    assert any(word in first for word in ("timeout", "timed out", "stuck"))
    assert "12.5s" in first
    assert str(error).count("\n") == 2
    assert (error.limit, error.waited, error.tokens) == (limit.value, 12.5, tokens)


@pytest.mark.parametrize(
    ("limit", "tokens", "kind"),
    [
        (Limit.QUEUE, 0, QueueTimeout),
        (Limit.LOAD, 0, LoadTimeout),
        (Limit.FIRST_TOKEN, 0, FirstTokenTimeout),
        (Limit.IDLE, 3, IdleTimeout),
        (Limit.THINKING, 0, FirstTokenTimeout),
        (Limit.THINKING, 3, IdleTimeout),
        (Limit.UNSTREAMED, 0, TotalTimeout),
        (Limit.TOTAL, 0, TotalTimeout),
    ],
)
def test_each_limit_has_its_error(limit: Limit, tokens: int, kind: type[GenerationTimeout]) -> None:
    assert type(by_hand(limit, 5, tokens=tokens)) is kind


def test_an_error_knows_what_broke_how_long_and_from_where() -> None:
    error = told(Reasoning())
    assert isinstance(error, IdleTimeout)
    assert (error.limit, error.model, error.source) == ("thinking", "mistral-7b", "default")
    assert (error.waited, error.elapsed, error.tokens) == (300, 310, 1)
    load = told(Absent(), resolved=resolve((), Situation()))
    assert (type(load), load.elapsed) == (LoadTimeout, 310)


def test_the_text_never_shows_what_the_model_said() -> None:
    error = told(Content())
    before = str(error)
    error.partial = "a secret"
    assert (str(error), "secret" in repr(error)) == (before, False)


def test_a_fact_that_cannot_happen_is_no_error_for_users() -> None:
    assert not issubclass(IllegalFact, HangtightError)


def test_phases_have_words_for_the_live_line() -> None:
    assert [describe(phase) for phase in (Phase.WAITING, Phase.LOADING, Phase.STREAMING)] == [
        "waiting for the first token",
        "loading the model",
        "streaming",
    ]


# -- the tree -------------------------------------------------------------------------------------------------


def test_the_tree_is_as_drawn() -> None:
    drawn = [
        line.lstrip("│├└─ ").split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if "──" in line or line.startswith("HangtightError")
    ]
    assert {kind.__name__ for kind in EVERY_ERROR} == set(drawn)
    timeouts = (QueueTimeout, LoadTimeout, FirstTokenTimeout, IdleTimeout, TotalTimeout)
    assert all(kind.__bases__ == (GenerationTimeout,) for kind in timeouts)
    assert issubclass(GenerationTimeout, TimeoutError)
    assert issubclass(SettingsError, ValueError)
    assert Truncated.__bases__ == (BackendError,)
    assert not issubclass(BackendError, TimeoutError)
    assert all(issubclass(kind, HangtightError) for kind in (GenerationTimeout, BackendError, SettingsError))


# -- on the way to other processes ----------------------------------------------------------------------------


def travelled(error: BaseException, protocol: int) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_timeout_arrives_with_all_it_knew(protocol: int) -> None:
    error = told(Content())
    error.partial, error.left_running, error.attempts = (
        "half an ans",
        True,
        (Attempt("m", Fault.TIMEOUT, "stuck", 1.0),),
    )
    error.add_note("its source could not be stopped")
    for twin in (travelled(error, protocol), copy.copy(error)):
        assert type(twin) is IdleTimeout
        assert (str(twin), twin.args) == (str(error), error.args)
        assert twin.__dict__ == error.__dict__
        assert twin.__notes__ == ["its source could not be stopped"]
        assert (twin.limit, twin.partial, twin.left_running) == ("idle", "half an ans", True)


@pytest.mark.parametrize("kind", [kind for kind in EVERY_ERROR if kind is not SettingsError])
def test_every_error_travels(kind: type[HangtightError]) -> None:
    error = kind("what happened")
    error.add_note("a note")
    twin = travelled(error, pickle.HIGHEST_PROTOCOL)
    assert (type(twin), str(twin), twin.__notes__) == (kind, "what happened", ["a note"])


def test_what_is_known_of_a_dead_process_travels() -> None:
    error = BackendError("llamafile ended with exit code 1")
    error.elapsed, error.partial, error.returncode, error.stderr = 1.5, "so f", 1, "no such model"
    twin = travelled(error, 4)
    assert (twin.elapsed, twin.partial, twin.returncode, twin.stderr) == (1.5, "so f", 1, "no such model")


@pytest.mark.parametrize("found", [-1, "45", None, b"45", float("nan"), [1, 2], lambda: 45])
def test_a_settings_error_travels_whatever_was_found(found: object) -> None:
    error = SettingsError("idle", found, "more than 0 seconds")
    error.add_note("in hangtight.yaml")
    twin = travelled(error, pickle.HIGHEST_PROTOCOL)
    assert (type(twin), str(twin)) == (SettingsError, str(error))
    assert (twin.name, twin.wanted, twin.__notes__) == ("idle", "more than 0 seconds", ["in hangtight.yaml"])
    assert repr(twin.found) in (repr(found), repr(repr(found)))


def test_a_settings_error_names_setting_value_and_what_would_be_right() -> None:
    error = SettingsError("idle", -1, "more than 0 seconds")
    assert str(error) == "idle = -1 cannot be used: it must be more than 0 seconds"


def test_a_long_value_is_cut_and_one_that_cannot_be_shown_is_named() -> None:
    assert len(str(SettingsError("idle", "9" * 5000, "a number"))) < 200
    assert str(SettingsError("idle", 10**5000, "less")).startswith("idle = <int> cannot be used")
