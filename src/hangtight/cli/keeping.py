"""Where runs of workflows are kept, as the commands meet it: a file, a database, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from shlex import quote
from typing import TYPE_CHECKING

from hangtight.cli.process import FAILED
from hangtight.cli.settings import USAGE, fail
from hangtight.drivers.standing import data_folder
from hangtight.errors import HangtightError, SettingsError
from hangtight.journal.address import file_is_there, file_of, shown_address
from hangtight.rules.errors import SettingsErrors

if TYPE_CHECKING:
    from pathlib import Path

    from hangtight.flows.durable.run_record import Known
    from hangtight.flows.durable.store import Durable

MEMORY = "memory"
MOST = 1000
"""Runs among which one is looked for by the beginning of its id."""
LACKS = "runs are kept by dbos, which is not installed\nto get it:  pip install 'hangtight[flows]'"


def place_of_runs(url: str | None) -> str:
    return str(data_folder() / "flows.db") if url is None else url


def workspaces() -> Path:
    """Where each run of the gateway is given a folder of its own."""
    return (data_folder() / "runs").absolute()


def is_there() -> bool:
    """There are runs in the usual place, and what reads them."""
    path = file_of(place_of_runs(None))
    return path is not None and file_is_there(path) and find_spec("dbos") is not None


def that_place(url: str | None) -> str:
    """What a line to type needs besides, to find the same runs; dots for an address that may hold a password."""
    if url is None:
        return ""
    return f" --url {quote(url)}" if shown_address(url) == url else " --url ..."


def store_at(url: str | None, *, or_none: bool = False, at_once: int | None = None) -> Durable | None:
    """Who keeps runs there; None for memory. What is missing ends the command."""
    if url is not None and not url.strip():
        fail(f"--url needs a path, postgresql://..., or {MEMORY}", USAGE)
    if url == MEMORY:
        if or_none:
            return None
        fail(f"--url {MEMORY} keeps no runs: name the database that has them", USAGE)
    if find_spec("dbos") is None:
        fail(LACKS + (f"\nto keep none:  --url {MEMORY}" if or_none else ""), USAGE)
    from hangtight.flows.durable.store import Durable

    return Durable(place_of_runs(url), at_once=at_once)


@contextmanager
def troubles() -> Iterator[None]:
    """What is wrong with a flow or its settings ends the command with 2, what is wrong with the database with 1."""
    from sqlalchemy.exc import SQLAlchemyError

    from hangtight.journal.store import in_short

    try:
        yield
    except SettingsErrors as errors:
        fail(f"the flow cannot be used\n{errors}", USAGE)
    except SettingsError as error:
        fail(str(error), USAGE)
    except HangtightError as error:
        fail(str(error), FAILED)
    except (SQLAlchemyError, OSError) as problem:
        fail(f"the runs cannot be kept or read there: {in_short(problem)}", FAILED)


async def found(store: Durable, prefix: str) -> Known:
    """The run whose id begins so. That there is none, or several, ends the command."""
    known = await store.show(prefix)
    if known is not None:
        return known
    alike = [each for each in await store.list_runs(MOST) if prefix and each.spec.id.startswith(prefix)]
    if not alike:
        fail(f"nothing is known of run {prefix!r} there\nto see those that are:  hangtight flow ls", FAILED)
    if len(alike) > 1:
        fail(f"{prefix!r} may be any of {', '.join(each.spec.id for each in alike[:20])}", USAGE)
    return alike[0]
