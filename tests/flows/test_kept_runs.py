"""What is kept of a run counts: its flow, what its steps have put out, its end; not what is asked for or lies in files
later."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hangtight.errors import HangtightError, SettingsError
from hangtight.flows import Engine, Flow
from hangtight.flows.definition.making import tool
from hangtight.flows.durable import names, tables
from hangtight.flows.durable.databases import opened
from hangtight.flows.durable.leases import Leases
from hangtight.flows.durable.store import Durable
from hangtight.flows.engine import Result
from tests.flows.databases import postgres, url
from tests.flows.lives import BEAT, LOST

__all__ = ["postgres", "url"]
TWO = Flow("f", [tool("a", "echo one ${input.idea}"), tool("b", "cat nowhere", after=["a"])])


def done(url: str, folder: Path, flow: Flow, **more: Any) -> Result:
    async def main() -> Result:
        async with Engine(folder, store=Durable(url, beat=BEAT, lost=LOST)) as engine:
            return await engine.arun(flow, run_id="r1", **{"idea": "cats", **more})

    return asyncio.run(main())


def test_a_run_goes_on_with_the_flow_that_it_began_with(url: str, tmp_path: Path) -> None:
    assert done(url, tmp_path, TWO).outcome == "failed"
    (tmp_path / "nowhere").write_text("found")
    edited = Flow("f", [tool("a", "echo other"), tool("c", "echo new", after=["a"])])
    again = done(url, tmp_path, Flow("f", [*edited.steps.values(), tool("d", "echo ${input.idea}")]))
    assert (again.outcome, dict(again.outputs)) == ("finished", {"a": "one cats\n", "b": "found"})
    assert not (tmp_path / "c.txt").exists()


@pytest.mark.parametrize(
    ("flow", "more"), [(Flow("g", list(TWO.steps.values())), {}), (TWO, {"idea": "dogs"})], ids=["flow", "inputs"]
)
def test_another_flow_or_other_inputs_under_a_known_id_are_refused(
    url: str, tmp_path: Path, flow: Flow, more: Mapping[str, Any]
) -> None:
    done(url, tmp_path, TWO)
    with pytest.raises(SettingsError, match="run_id"):
        done(url, tmp_path, flow, **more)


def test_what_a_finished_run_has_put_out_is_told_from_the_record(url: str, tmp_path: Path) -> None:
    (tmp_path / "nowhere").write_text("found")
    first = done(url, tmp_path, TWO)
    (tmp_path / "a.txt").write_text("edited since")
    (tmp_path / "b.txt").unlink()
    assert done(url, tmp_path, TWO).outputs == first.outputs == {"a": "one cats\n", "b": "found"}


def test_a_file_that_a_life_before_did_not_come_to_write_is_written_from_the_record(url: str, tmp_path: Path) -> None:
    done(url, tmp_path, TWO)
    (tmp_path / "nowhere").write_text("found")
    (tmp_path / "a.txt").unlink()
    done(url, tmp_path, TWO)
    assert (tmp_path / "a.txt").read_text() == "one cats\n"


def test_a_file_that_was_changed_since_its_step_ended_is_left_alone(url: str, tmp_path: Path) -> None:
    done(url, tmp_path, TWO)
    (tmp_path / "nowhere").write_text("found")
    (tmp_path / "a.txt").write_text("by hand")
    done(url, tmp_path, TWO)
    assert (tmp_path / "a.txt").read_text() == "by hand"


def test_tables_of_a_newer_version_are_refused_in_words(url: str, tmp_path: Path) -> None:
    done(url, tmp_path, TWO)
    engine = opened(url)
    with engine.begin() as connection:
        connection.execute(update(tables.version).values(tables=tables.TABLES + 1))
    engine.dispose()

    async def listed() -> object:
        store = Durable(url)
        try:
            return await store.list_runs()
        finally:
            await store.close()

    with pytest.raises(HangtightError, match="newer hangtight"):
        done(url, tmp_path, TWO)
    with pytest.raises(HangtightError, match="newer hangtight"):
        asyncio.run(listed())


def test_tables_from_before_there_were_versions_are_made_up_for(url: str, tmp_path: Path) -> None:
    done(url, tmp_path, TWO)
    (tmp_path / "nowhere").write_text("found")
    engine = opened(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE durable_version")
        connection.exec_driver_sql("ALTER TABLE durable_workers DROP COLUMN seen")
    engine.dispose()
    assert done(url, tmp_path, TWO).finished


def test_who_has_not_been_seen_for_a_while_does_not_live(url: str) -> None:
    engine = opened(url)
    leases = Leases(engine, "elsewhere")
    leases.prepare()
    leases.renew()
    assert leases.living(5.0) == {"elsewhere"}
    with engine.begin() as connection:
        connection.execute(update(tables.workers).values(seen=tables.workers.c.seen - 6.0))
    assert leases.living(5.0) == frozenset()
    leases.renew()
    assert leases.living(5.0) == {"elsewhere"}
    engine.dispose()


@pytest.mark.real
@pytest.mark.skipif(not names.new_name().count("-"), reason="there is no /proc here")
def test_a_name_tells_on_this_machine_alone_that_its_process_is_gone() -> None:
    mine = names.new_name()
    assert not names.is_gone(mine)
    place, process, began, rest = mine.split("-")
    assert process == str(os.getpid())
    assert names.is_gone(f"{place}-{process}-{int(began) - 1}-{rest}"), "the number is another process's by now"
    assert not names.is_gone(f"0{place[1:]}x-{process}-1-{rest}"), "another machine"
    assert not names.is_gone("0123456789abcdef"), "one that tells nothing"
    child = subprocess.Popen([sys.executable, "-c", ""])
    theirs = f"{place}-{child.pid}-{began}-{rest}"
    child.wait()
    assert names.is_gone(theirs)
