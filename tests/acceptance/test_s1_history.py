"""S1, what they had left to do: the duration of a call from history, and metrics of timeouts to tune from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import hangtight
from hangtight.core.pace import Observation
from hangtight.drivers.standing import STANDING
from tests.acceptance.kit import project, read
from tests.acceptance.test_s1 import FOREVER, HEAVY, LIGHT, TALKS, client, played, text_of, timed, warm
from tests.scripted_api import ScriptedApi, Step

ENOUGH = 120


def teach(model: str, seconds: float, count: int = ENOUGH) -> None:
    """So many calls of this model that took about so long."""
    STANDING.paces.fill(
        Observation(model, "", 0, 2.0, 0.5, seconds * (0.9 + 0.2 * each / count), 40, "finished", "")
        for each in range(count)
    )


@pytest.fixture(autouse=True)
def _a_process_of_its_own() -> None:
    STANDING.reset()


def test_each_generation_and_what_became_of_it_is_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        api = ScriptedApi({LIGHT: ["a", 2.0, "b", 7.0, "c"], HEAVY: [FOREVER]})
        with hangtight.budget(100, name="agent") as task, task.step("plan"):
            await text_of(client(api, mode="deep"), LIGHT)
            await timed(text_of(client(api, first_token=20, idle=10), HEAVY))

    with project(tmp_path, monkeypatch):
        played(main)
        hung, done = read().calls(run="agent")
        assert (done.model, done.mode, done.step, done.outcome, done.tokens) == (LIGHT, "deep", "plan", "finished", 3)
        assert (done.first_token, done.longest_gap, done.elapsed) == (0, 7, 9)
        assert (done.budget_left, hung.budget_left) == (100, 91)
        assert (hung.outcome, hung.broken_limit, hung.waited) == ("timeout", "first_token", 20)
        assert hung.source == "the client"
        told = read().find(hung.id)
        assert told is not None
        kinds = [decision.kind for decision in told.decisions]
        assert kinds == ["heartbeat", "rang", "cancel sent", "cancel confirmed"]
        assert hung.limits["first_token"] == {"value": 20, "source": "the client"}


def test_timeouts_are_counted_by_kind_model_mode_and_step_and_the_receipt_says_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        api = ScriptedApi({LIGHT: ["a", 40.0, "b"], HEAVY: ["a", FOREVER]})
        for _ in range(3):
            await text_of(client(api), LIGHT)
        await timed(text_of(client(api), HEAVY))

    with project(tmp_path, monkeypatch):
        played(main)
        by_model = {stat.key: stat for stat in read().stats(by="model")}
        assert by_model[HEAVY].timeouts == {"idle": 1}
        assert by_model[LIGHT].outcomes == {"finished": 3}
        gaps = by_model[LIGHT].longest_gap
        assert gaps is not None
        assert gaps.p50 == pytest.approx(40, rel=0.05)
        receipt = read().receipt()
        assert (receipt.answers, receipt.would_have_died, receipt.hangs, receipt.hang_seconds) == (3, 3, 1, 45)


def test_limits_that_are_auto_are_learned_and_say_from_how_many_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> hangtight.GenerationTimeout:
        api = ScriptedApi({LIGHT: TALKS})
        await warm(client(api))
        for _ in range(ENOUGH):
            api.scripts = {LIGHT: ["a", 4.0, "b"]}
            await text_of(client(api), LIGHT)
        await asyncio.to_thread(read)
        api.scripts = {LIGHT: ["a", FOREVER]}
        _, late = await timed(text_of(client(api), LIGHT))
        return late

    with project(tmp_path, monkeypatch, hangtight_yaml="limits: {idle: auto}"):
        late = played(main)
    assert late.limit == "idle"
    assert 4 <= late.waited < 8
    assert "auto at hangtight.yaml:1" in late.source
    assert f"{ENOUGH} calls" in late.source


def test_before_enough_was_seen_auto_is_the_next_place_that_says_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml="limits: {idle: 50}\nmodels: {m: {limits: {idle: auto}}}"):
        terms = hangtight.watch(["a"], model="m")._terms
        assert terms.resolved(None, False, "m").values["idle"].source == "hangtight.yaml:1"
        teach("m", 10)
        assert terms.resolved(None, False, "m").limits.idle == 3, "never under its floor"


def test_the_time_of_a_lighter_model_that_fits_is_kept_free_before_the_heavy_one_starts() -> None:
    async def main() -> ScriptedApi:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS})
        teach(LIGHT, 40)
        assert await text_of(client(api, total=100, first_token=90, fallback=[LIGHT])) == "def process(): ..."
        return api

    (heavy, _), (light, at) = played(main).asked
    assert (heavy, light) == (HEAVY, LIGHT)
    assert at == pytest.approx(100 - 44, abs=2), "and not 90, when it could not have finished any more"


def test_a_heavy_model_that_has_begun_to_talk_is_not_cut_for_it() -> None:
    async def main() -> str:
        pairs: list[Step] = [4.0, "b"]
        talks: list[Step] = ["a", *(pairs * 22)]
        api = ScriptedApi({HEAVY: talks, LIGHT: TALKS})
        teach(LIGHT, 40)
        return await text_of(client(api, total=100, first_token=90, fallback=[LIGHT]))

    assert played(main).count("b") == 22


def test_a_model_that_would_not_finish_in_what_is_left_is_passed_over() -> None:
    async def main() -> tuple[ScriptedApi, str]:
        api = ScriptedApi({HEAVY: [FOREVER], "middle": TALKS, LIGHT: TALKS})
        teach("middle", 200)
        teach(LIGHT, 10)
        return api, await text_of(client(api, total=100, first_token=60, fallback=["middle", LIGHT]))

    api, text = played(main)
    assert text == "def process(): ..."
    assert [model for model, _ in api.asked] == [HEAVY, LIGHT]


def test_a_call_that_even_the_fastest_of_its_kind_could_not_finish_is_not_begun_in_a_budget() -> None:
    async def main() -> ScriptedApi:
        api = ScriptedApi({HEAVY: TALKS})
        teach(HEAVY, 60)
        with hangtight.budget(100):
            await text_of(client(api))
            await asyncio.sleep(60)
            with pytest.raises(hangtight.BudgetSpent) as spent:
                await text_of(client(api))
            assert spent.value.needed > 50
        return api

    assert len(played(main).asked) == 1
