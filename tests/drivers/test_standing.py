"""Settings that are no limits take effect end to end; and what a library touches and loads before it is asked to."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.core.pace import Observation
from hangtight.drivers.standing import STANDING
from hangtight.journal.reading import Reading
from hangtight.rules.settings import DAY
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from hangtight.testing.scripted import Hang, ScriptedModel, Thoughts, Tokens
from tests.acceptance.kit import WRITTEN, project, read
from tests.acceptance.test_s1 import FOREVER, HEAVY, LIGHT, TALKS, client, played, text_of
from tests.scripted_api import ScriptedApi

SOON = 20.0
FAST = "tokens=3,rate=400"


@pytest.fixture(autouse=True)
def _a_process_of_its_own() -> Any:
    STANDING.reset()
    yield
    STANDING.reset()


def until(holds: Callable[[], bool]) -> bool:
    """Files that changed are looked for once a second."""
    deadline = time.monotonic() + SOON
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def late(*steps: Any, model: str = "m", **limits: Any) -> hangtight.GenerationTimeout:
    async def main() -> hangtight.GenerationTimeout:
        with pytest.raises(hangtight.GenerationTimeout) as caught:
            async for _ in hangtight.watch(ScriptedModel(*steps), model=model, **limits):
                pass
        return caught.value

    return jumping(main())


def beats(seconds: float) -> list[float]:
    async def main() -> list[float]:
        told: list[float] = []
        source = ScriptedModel(Tokens(int(seconds)))
        async for _ in hangtight.watch(source, model="m", on_heartbeat=lambda beat: told.append(beat.elapsed)):
            pass
        return told

    return jumping(main())


def teach(model: str, gap: float, count: int) -> None:
    STANDING.paces.fill([Observation(model, "", 0, gap, gap, 4 * gap, 10, "finished", "")] * count)


# -- each setting, at the other end ---------------------------------------------------------------------------


def test_journal_url_says_where_and_off_says_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HANGTIGHT_JOURNAL")
    (tmp_path / "hangtight.yaml").write_text("journal: {url: kept/own.db}")
    hangtight.configure("hangtight.yaml")
    list(hangtight.watch(["a"], model="m"))
    assert [row.model for row in read().calls()] == ["m"]
    assert (tmp_path / "kept" / "own.db").exists()
    recorder = STANDING.recorder()
    assert recorder is not None
    recorder.close(WRITTEN)
    (tmp_path / "hangtight.yaml").write_text("journal: 'off'")
    hangtight.configure("hangtight.yaml")
    assert STANDING.recorder() is None
    list(hangtight.watch(["a"]))


def test_journal_keep_is_the_recorders_also_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml="journal: {keep: 30}"):
        recorder = STANDING.recorder()
        assert recorder is not None
        assert recorder.keep == 30 * DAY
        (tmp_path / "hangtight.yaml").write_text("journal: {keep: 7}\n# longer than before")
        assert until(lambda: STANDING.recorder() is recorder and recorder.keep == 7 * DAY)
        (tmp_path / "hangtight.yaml").write_text("journal: {keep: null}\n# and once more, longer than before")
        assert until(lambda: STANDING.recorder() is recorder and recorder.keep is None)


def test_learning_samples_is_how_many_calls_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml="limits: {idle: auto}\nlearning: {samples: 30}"):
        teach("m", 8, 29)
        assert late(Tokens(1), Hang()).waited == 45
        teach("m", 8, 1)
        assert late(Tokens(1), Hang()).waited < 20


@pytest.mark.parametrize(("limit", "steps"), [("first_token", []), ("idle", [Tokens(1)]), ("total", [Tokens(1000)])])
def test_no_learned_limit_is_under_its_floor(
    limit: str, steps: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"limits: {{{limit}: auto, cold: null}}\nlearning: {{floors: {{{limit}: 33}}}}"
    with project(tmp_path, monkeypatch, hangtight_yaml=text):
        teach("m", 0.5, 150)
        broken = late(*steps, Hang())
        assert (broken.limit, broken.waited) == (limit, 33)


def test_reasons_lets_thinking_count_before_the_first_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml="models: {m: {reasons: true, limits: {thinking: 200}}}"):
        assert late(Hang(), model="m").waited == 200
        assert late(Hang(), model="m").limit == "thinking"
        assert late(Hang(), model="other", cold=None).waited == 45
        assert late(Thoughts(2), Hang(), model="m").waited == 200


def test_heartbeat_and_step_timeout_and_default_mode_hold_for_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "heartbeat: 10\nstep_timeout: 70\ndefault_mode: slow\nmodes: {slow: {total: 200}}\n"
    with project(tmp_path, monkeypatch, hangtight_yaml=text):
        assert beats(25) == [10, 20]
        assert late(Tokens(1000, every=2.0)).waited == 200

        async def main() -> float:
            with hangtight.budget(1000) as task, task.step("a"), pytest.raises(hangtight.TotalTimeout) as caught:
                async for _ in hangtight.watch(ScriptedModel(Tokens(1000))):
                    pass
            return float(caught.value.waited)

        assert jumping(main()) == 70


def test_a_models_own_heartbeat_and_limits_stand_above_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "heartbeat: 10\nlimits: {idle: 20}\nmodels: {'m*': {heartbeat: 20, limits: {idle: 30}}}"
    with project(tmp_path, monkeypatch, hangtight_yaml=text):
        assert beats(25) == [20]
        assert late(Tokens(1), Hang(), model="mistral").waited == 30
        assert late(Tokens(1), Hang(), model="other").waited == 20


def test_priorities_say_who_has_the_larger_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "priorities: {c: critical}"
    with project(tmp_path, monkeypatch, hangtight_yaml=text), hangtight.budget(120, steps=list("abc")) as task:
        assert [round(task.allotted(step)) for step in "abc"] == [36, 36, 48]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (f"models: {{{HEAVY}: {{fallback: ['{LIGHT}']}}}}", None),
        (f"modes: {{deep: {{models: [{HEAVY}, '{LIGHT}']}}}}", "deep"),
    ],
)
def test_the_settings_name_who_stands_in_and_a_call_may_say_another(
    text: str, mode: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[str]:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS, "own": TALKS})
        assert await text_of(client(api, mode=mode, first_token=20))
        assert await text_of(client(api, mode=mode, first_token=20, fallback=["own"]))
        return [model for model, _ in api.asked]

    with project(tmp_path, monkeypatch, hangtight_yaml=text):
        assert played(main) == [HEAVY, LIGHT, HEAVY, "own"]


def test_a_file_that_changes_holds_for_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml="limits: {idle: 20}"):
        assert late(Tokens(1), Hang()).waited == 20
        (tmp_path / "hangtight.yaml").write_text("limits: {idle: 25}  # longer")
        assert until(lambda: late(Tokens(1), Hang()).waited == 25)
        (tmp_path / "hangtight.yaml").write_text("limits: {idle: [  # broken, and longer than before")
        assert until(lambda: STANDING.settings() is not None and STANDING.trouble is not None)
        assert late(Tokens(1), Hang()).waited == 25


@pytest.mark.real
def test_a_models_proxy_is_the_server_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab() as lab, project(tmp_path, monkeypatch, hangtight_yaml=f"models: {{'*': {{proxy: '{lab.url}'}}}}"):
        assert hangtight.generate("x", model=FAST)
        assert lab.counts(FAST).asked == 1


@pytest.mark.real
def test_the_first_model_of_a_mode_is_asked_by_a_question_that_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab() as lab, project(tmp_path, monkeypatch, hangtight_yaml=f"modes: {{fast: {{models: ['{FAST}']}}}}"):
        assert hangtight.generate("x", mode="fast", url=lab.url)
        assert lab.counts(FAST).asked == 1


# -- processes that only import ------------------------------------------------------------------------------


def process(script: str, folder: Path, *, drop: tuple[str, ...] = (), **variables: str) -> str:
    """What a Python of its own prints that knows only these variables of ours."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("HANGTIGHT_") and name not in drop}
    source = Path(hangtight.__file__).parents[1]
    env |= {"PYTHONPATH": str(source), "PYTHONUTF8": "1", "XDG_DATA_HOME": str(folder / "data"), **variables}
    env = {name: value for name, value in env.items() if name not in drop}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ASK = """
import hangtight, sys
print(hangtight.generate("x", model="tokens=3,rate=400", url=sys.argv[1] if len(sys.argv) > 1 else {url!r}))
"""


@pytest.mark.real
def test_two_variables_give_a_program_that_only_imports_its_settings_and_its_journal(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("limits: {idle: 21}\nmodels: {'tokens*': {heartbeat: 5}}")
    journal = tmp_path / "own.db"
    with Lab() as lab:
        script = ASK.format(url=lab.url)
        answer = process(script, tmp_path, HANGTIGHT_CONFIG=str(tmp_path / "own.yaml"), HANGTIGHT_JOURNAL=str(journal))
    assert answer.strip()
    (row,) = Reading(str(journal)).calls()
    assert (row.outcome, row.tokens) == ("finished", 3)
    assert row.limits["idle"]["value"] == 21
    assert "own.yaml:1" in row.limits["idle"]["source"]


@pytest.mark.real
def test_without_these_variables_no_file_of_ours_is_read_or_written(tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text("limits: {idle: 0.001}")
    (tmp_path / ".qwencoderules").write_text("not: [a, rule")
    (tmp_path / ".env").write_text("HANGTIGHT_IDLE=0.001")
    with Lab() as lab:
        watching = """
import sys
seen = []
def hook(event, args):
    if event == "open" and isinstance(args[0], str) and not args[0].endswith((".py", ".pyc")):
        seen.append(args[0])
    elif event in ("os.mkdir", "sqlite3.connect", "os.rename", "os.remove"):
        seen.append(f"{event} {args[0]}")
sys.addaudithook(hook)
"""
        script = watching + ASK.format(url=lab.url) + "print(sum(folder in each for each in seen), seen)"
        script = script.replace("folder in each", f"{str(tmp_path)!r} in each or 'hangtight.yaml' in each")
        told = process(script, tmp_path, HOME=str(tmp_path)).splitlines()[-1]
    assert told.startswith("0 "), told
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".qwencoderules", "hangtight.yaml"]


@pytest.mark.real
def test_importing_and_watching_load_no_reader_of_settings_and_no_journal(tmp_path: Path) -> None:
    script = """
import hangtight, json, sys
with hangtight.budget(9, steps=["a"]) as task, task.step("a"):
    assert list(hangtight.watch(["x"])) == ["x"]
heavy = ("pydantic", "ruamel", "sqlalchemy", "alembic", "sqlite3", "hangtight.rules.loading", "hangtight.rules.schema")
print(json.dumps([name for name in sys.modules if name.startswith(heavy)]))
"""
    assert json.loads(process(script, tmp_path)) == []


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_user_without_a_home_and_without_a_name_can_watch_and_configure(tmp_path: Path) -> None:
    script = """
import pwd
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
import hangtight
hangtight.configure(journal="off")
print(list(hangtight.watch(["a"])))
"""
    assert process(script, tmp_path, drop=("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")).strip() == "['a']"


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_working_folder_that_was_deleted_hurts_nobody(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"""
import os
import hangtight
os.rmdir({str(gone)!r})
assert list(hangtight.watch(["a"])) == ["a"]
hangtight.configure(journal={str(tmp_path / "j.db")!r})
assert list(hangtight.watch(["b"], model="m")) == ["b"]
"""
    process(script, gone, HANGTIGHT_IDLE="20")
    (row,) = Reading(str(tmp_path / "j.db")).calls()
    assert (row.model, row.limits["idle"]["value"]) == ("m", 20)


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_both_keep_the_journal_and_each_ends_what_it_began(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    script = f"""
import os, warnings
import hangtight
from hangtight.drivers.standing import STANDING
warnings.simplefilter("ignore")
hangtight.configure(journal={str(journal)!r})
open_here = iter(hangtight.watch(["a", "b"], model="open over the fork"))
next(open_here)
pid = os.fork()
if pid == 0:
    del open_here
    list(hangtight.watch(["x"], model="child"))
    os._exit(0 if STANDING.recorder().flush(20) else 1)
assert os.waitpid(pid, 0)[1] == 0
list(open_here)
list(hangtight.watch(["x", "y"], model="parent"))
assert STANDING.recorder().flush(20)
"""
    process(script, tmp_path)
    found = {row.model: (row.outcome, row.tokens) for row in Reading(str(journal)).calls()}
    assert found == {
        "open over the fork": ("finished", 2),
        "child": ("finished", 1),
        "parent": ("finished", 2),
    }


def test_the_environment_that_changes_is_not_read_for_each_token() -> None:
    """It is asked for again once a second at most; a loop of a virtual clock does not make it older."""

    async def main() -> None:
        for _ in range(50):
            await asyncio.sleep(100)
            assert STANDING.settings() is not None

    jumping(main())
