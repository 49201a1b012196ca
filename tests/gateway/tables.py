"""The tables of `docs/gateway-clients.md`: from what is expected, and from what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hangtight.dialects.dialect import dialect_for
from hangtight.dialects.speaking import Told, broken, refused
from tests.clients.kit import ANTHROPIC, APIS, OLLAMA, OPENAI, SDKS
from tests.gateway.clients import PATHS, ROWS, Cell, Ending, Found, Kind, Row, expected_of

OTHERS = tuple(api for api in APIS if api not in SDKS)
SHOWN = (OPENAI, "responses", ANTHROPIC, OLLAMA)
WORDS = """\
mistral-7b stuck - no output for 45s (312 tokens in 78.3s so far)
idle = 45 comes from default
to wait longer:  limits: {idle: 90} in hangtight.yaml      why: hangtight log 7f3a21bc"""
TOLD = Told.of(504, "idle", WORDS, limit="idle", source="default", elapsed=78.312, model="mistral-7b", tokens=312)


class Said(NamedTuple):
    """What stands in one cell: what the caller gets, and how often the server was asked for it."""

    told: str
    asked: int

    def __str__(self) -> str:
        times = {0: ", nobody asked", 1: "", 2: ", asked twice"}
        return self.told + times.get(self.asked, f", asked {self.asked} times")


class Tables(NamedTuple):
    """What each client gets: the libraries, what is different in their other APIs, curl; and the bytes of an end."""

    sdks: str
    others: str
    curl: str
    bytes: str


def expected() -> Tables:
    return tables(
        lambda cell: Said(expected_of(cell), cell.asked_by_sdk),
        lambda cell: Said(seen(cell.ending), cell.asked_by_curl),
    )


def found_by(found: Found) -> Tables:
    def by_sdk(cell: Cell) -> Said:
        got = found.sdks[cell]
        return Said(got.told, got.counts.asked)

    def by_curl(cell: Cell) -> Said:
        got = found.curls[cell]
        if got.code:
            raise RuntimeError(f"{cell.model('curl')}: curl ended with {got.code}")
        return Said(seen(got.ending()), got.counts.asked)

    return tables(by_sdk, by_curl)


def seen(ending: Ending) -> str:
    """An ending in the eyes of who reads the bytes."""
    match ending.kind:
        case Kind.WHOLE | Kind.ONE_PIECE:
            return "200"
        case Kind.REFUSED:
            return f"{ending.status} `{ending.code}`"
        case Kind.PASSED:
            return str(ending.status)
        case Kind.BROKEN:
            return f"200, at the end `{ending.code}`"
        case Kind.EVENT:
            return "200, at the end the server's error"
        case Kind.GARBLED:
            return "200, in it the broken event"


def tables(by_sdk: Callable[[Cell], Said], by_curl: Callable[[Cell], Said]) -> Tables:
    def of(row: Row, api: str) -> str:
        streamed, unstreamed = (str(by_sdk(Cell(row, api, how))) for how in (True, False))
        return streamed if streamed == unstreamed else f"streamed: {streamed}; unstreamed: {unstreamed}"

    others = [
        (row.words, f"`{PATHS[api]}`", of(row, api))
        for row in ROWS
        for api in OTHERS
        if of(row, api) != of(row, APIS[api].sdk)
    ]
    return Tables(
        _table(
            ("the server", *(f"`{sdk}`" for sdk in SDKS)),
            [(row.words, *(of(row, sdk) for sdk in SDKS)) for row in ROWS],
        ),
        _table(("the server", "in", "the caller gets"), others),
        _table(
            ("the server", "`curl -N`, streamed", "`curl`, unstreamed"),
            [(row.words, *(_most(row, how, by_curl) for how in (True, False))) for row in ROWS],
        ),
        the_bytes(),
    )


def _most(row: Row, streamed: bool, by_curl: Callable[[Cell], Said]) -> str:
    """What most of the APIs answer, and which ones answer something else."""
    told = {api: str(by_curl(Cell(row, api, streamed))) for api in APIS}
    usual = max(told.values(), key=list(told.values()).count)
    different: dict[str, list[str]] = {}
    for api, said in told.items():
        if said != usual:
            different.setdefault(said, []).append(f"`{PATHS[api]}`")
    return "; ".join((usual, *(f"{', '.join(paths)}: {said}" for said, paths in different.items())))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def the_bytes() -> str:
    """What stands in an answer that a limit has ended, before its first byte and after it."""
    parts = []
    for api in SHOWN:
        dialect = dialect_for(PATHS[api])
        assert dialect is not None, "these are paths of models"
        event = broken(dialect, TOLD).decode().rstrip("\n")
        parts.append(f"`{PATHS[api]}`:\n\n```text\n{refused(dialect, TOLD).decode()}\n\n{event}\n```\n")
    return "\n".join(parts)
