"""S0, activity-based timeouts: every scenario, number and string of the first system, on virtual time.

*If tokens are being generated the model is working: let it go on. Only a silent model is stuck.*
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hangtight
from hangtight.testing import (
    Hang,
    Pings,
    Played,
    Scenario,
    ScriptedModel,
    Silence,
    Step,
    Thoughts,
    Tokens,
    jumping,
    play,
)

MODELS = ("tinyllama", "llama3.2", "gemma2", "mistral-7b", "deepseek-coder")
HANGTIGHT = (sys.executable, "-m", "hangtight")


def ended(*steps: Step, warm: bool = False, model: str = "mistral-7b", **limits: float | None) -> Played:
    return play(Scenario("", steps, limits, warm=warm, model=model))


def test_the_defaults_are_theirs() -> None:
    limits = hangtight.Limits()
    assert (limits.first_token, limits.idle, limits.total, limits.unstreamed) == (45, 45, 600, 300)
    assert limits.extend_to == 600, "600 is hard"


def test_scenario_1_a_load_of_35_s_and_then_tokens_succeeds() -> None:
    played = ended(Silence(35), Tokens(100))
    assert (played.outcome, played.tokens) == ("finished", 100)


def test_scenario_2_tokens_for_180_s_succeed() -> None:
    played = ended(Tokens(180))
    assert (played.outcome, played.at) == ("finished", 180)


def test_scenario_3_tokens_until_10_s_and_then_nothing_is_a_timeout_at_55_s_with_the_text_in_hand() -> None:
    played = ended(Tokens(10, text="word "), Hang())
    assert (played.outcome, played.at) == ("timeout", 55)
    assert isinstance(played.error, hangtight.IdleTimeout)
    assert played.error.partial == "word " * 10
    assert (played.error.limit, played.error.waited, played.error.elapsed, played.error.tokens) == ("idle", 45, 55, 10)
    assert played.closed


def test_every_token_resets_the_inactivity_limit() -> None:
    played = ended(Tokens(13, every=44), total=None)
    assert (played.outcome, played.at) == ("finished", 13 * 44)


def test_the_absolute_limit_of_600_s_is_hard() -> None:
    played = ended(Tokens(10_000, every=0.1), warm=True)
    assert (played.outcome, played.at) == ("timeout", 600)
    assert isinstance(played.error, hangtight.TotalTimeout)


@pytest.mark.parametrize("seconds", [30, 45, 60])
def test_a_load_of_30_to_60_s_survives_on_the_defaults_when_the_model_is_not_known_to_be_warm(seconds: float) -> None:
    assert ended(Silence(seconds), Tokens(100)).outcome == "finished"


def test_a_warm_model_that_is_silent_for_45_s_is_stuck() -> None:
    played = ended(Hang(), warm=True)
    assert (played.outcome, played.at) == ("timeout", 45)
    assert isinstance(played.error, hangtight.FirstTokenTimeout)


def test_a_cold_model_that_never_answers_is_stuck_too_after_its_allowance() -> None:
    played = ended(Hang())
    assert (played.outcome, played.at) == ("timeout", 45 + 60)


def test_a_model_that_only_pings_is_as_silent_as_one_that_does_not() -> None:
    played = ended(Tokens(10), Pings(100, every=0.7))
    assert (played.outcome, played.at) == ("timeout", 55)


def test_a_cold_model_has_its_600_s_from_its_first_token_at_most_60_s_late() -> None:
    assert ended(Silence(59), Tokens(700)).at == 60 + 600
    assert ended(Silence(90), Tokens(700)).at == 60 + 600


def test_reasoning_is_work() -> None:
    played = ended(Thoughts(1), Thoughts(4, every=200), total=None)
    assert (played.outcome, played.at) == ("finished", 801)


def test_unstreamed_there_is_one_generous_limit_of_300_s() -> None:
    async def silent() -> float:
        import asyncio

        loop = asyncio.get_running_loop()
        with pytest.raises(hangtight.TotalTimeout) as caught:
            await hangtight.watch(asyncio.sleep(3000), model="gemma2")
        assert caught.value.limit == "unstreamed"
        return loop.time()

    assert jumping(silent()) == 300


@pytest.mark.parametrize("model", MODELS)
def test_no_limit_depends_on_the_size_of_the_model(model: str) -> None:
    assert ended(Tokens(10), Hang(), model=model).at == 55
    assert ended(Hang(), model=model, warm=True).at == 45
    assert hangtight.watch(ScriptedModel(), model=model).limits == hangtight.Limits()


def test_override_idle_60_covers_the_first_token_too() -> None:
    assert hangtight.watch([], idle=60).limits.first_token == 60
    assert ended(Hang(), warm=True, idle=60).at == 60
    assert ended(Tokens(10), Hang(), idle=60).at == 70


def test_override_total_1200_really_is_20_minutes() -> None:
    played = ended(Tokens(10_000, every=0.5), total=1200)
    assert (played.outcome, played.at) == ("timeout", 1200)
    assert ended(Tokens(1190), total=1200).outcome == "finished"


def test_the_words_of_a_silent_model() -> None:
    error = ended(Tokens(10), Hang(), model="mistral-7b").error
    assert str(error).startswith("mistral-7b stuck - no output for 45s")


def test_the_words_of_a_call_that_took_too_long() -> None:
    error = ended(Tokens(10_000, every=0.1), model="gemma2", warm=True).error
    assert str(error).startswith("gemma2 request timed out (600s total)")


def test_build_me_a_complex_script_that_processes_images() -> None:
    """Load 30 to 60 s, then code for 180 s, no timeout, on the defaults."""
    for load in (30, 60):
        played = ended(Silence(load), Tokens(180), model="deepseek-coder")
        assert (played.outcome, played.tokens, played.at) == ("finished", 180, load + 180)


def test_three_calls_in_a_row_each_have_limits_of_their_own() -> None:
    assert [ended(Tokens(400)).outcome for _ in range(3)] == ["finished"] * 3


@pytest.mark.real
def test_a_process_that_dies_is_an_error_at_once() -> None:
    with pytest.raises(hangtight.BackendError) as caught:
        list(hangtight.child([sys.executable, "-c", "import sys; sys.exit('no such model')"], idle=None))
    assert caught.value.returncode == 1
    assert "no such model" in caught.value.stderr


@pytest.mark.real
def test_the_output_of_a_process_is_read_as_it_comes() -> None:
    script = "import sys\nfor word in ('one', 'two'):\n    print(word, flush=True)\n    sys.stdin.readline()"
    with hangtight.child([sys.executable, "-c", script], stdin=subprocess.PIPE, idle=20) as output:
        assert next(output).startswith("one"), "the second word waits for an answer that never comes"


def outside(folder: Path, limits: str, child: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a fresh folder, around the lab's model process."""
    words = [*HANGTIGHT, "run", *limits.split(), "--", *HANGTIGHT, "lab", "child", *child.split()]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.real
def test_from_outside_a_process_that_loads_longer_than_idle_survives(tmp_path: Path) -> None:
    """Scaled: the load outlasts `idle`, as 60 s outlast 45 s. The test below takes the real minute."""
    done = outside(tmp_path, "--idle 0.9 --total 30", "--load 1.2 --tokens 200 --rate 400")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) >= 200


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_from_outside_a_process_that_takes_60_s_to_load_survives_on_the_defaults(tmp_path: Path) -> None:
    done = outside(tmp_path, "", "--load 60 --tokens 200 --rate 50")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) >= 200


@pytest.mark.real
def test_from_outside_a_process_that_hangs_is_ended_with_124_and_its_text_kept(tmp_path: Path) -> None:
    done = outside(tmp_path, "--idle 0.5", "--tokens 200 --rate 400 --mute-after 10")
    assert done.returncode == 124
    assert len(done.stdout.split()) >= 10
    assert "stuck - no output for 0.5s" in done.stderr
