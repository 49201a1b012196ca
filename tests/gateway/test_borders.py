"""Only whole events are handed on, however they are cut, and nothing of them is lost or changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hangtight.dialects.sse import Event, NDJSONDecoder, SSEDecoder
from hangtight.gateway.borders import Borders
from tests.gateway.behind import cuttings

PLACES = some.lists(some.integers(0, 10_000), max_size=30)
NEWLINES = ["\n", "\r\n", "\r"]
EVENTS = ["data: a", "event: x\ndata: a\ndata: b", ": ping", "data:", "retry: 7", "data: é日"]


@some.composite
def streams(draw: some.DrawFn) -> bytes:
    """Events with one kind of line break, as servers write them; the last may be without its end."""
    newline = draw(some.sampled_from(NEWLINES))
    events = draw(some.lists(some.sampled_from(EVENTS), max_size=8))
    text = "".join(f"{event}\n\n" for event in events) + draw(some.sampled_from(["", "data: half", "data: half\n"]))
    return text.replace("\n", newline).encode()


def passed(wire: bytes, places: list[int], *, lines: bool = False) -> tuple[list[bytes], bytes]:
    borders = Borders(lines=lines)
    return [borders.whole(piece) for piece in cuttings(wire, places)], borders.rest()


def events(data: bytes) -> list[Event]:
    return [item for item in SSEDecoder().feed(data) if isinstance(item, Event)]


@given(some.binary(max_size=200) | some.text("\r\n:ad ", max_size=60).map(str.encode), PLACES, some.booleans())
def test_all_bytes_come_out_in_order_and_nothing_else(wire: bytes, places: list[int], lines: bool) -> None:
    pieces, rest = passed(wire, places, lines=lines)
    assert b"".join(pieces) + rest == wire


@given(streams(), PLACES)
def test_what_is_handed_on_ends_with_an_event_and_what_is_kept_back_holds_none(wire: bytes, places: list[int]) -> None:
    pieces, rest = passed(wire, places)
    assert [event for piece in pieces for event in events(piece)] == events(wire)
    assert events(rest) == []


@given(streams(), PLACES, some.integers(0, 40))
def test_a_sign_between_what_is_handed_on_changes_no_event(wire: bytes, places: list[int], at: int) -> None:
    pieces, rest = passed(wire, places)
    at = min(at, len(pieces))
    signed = b"".join([*pieces[:at], b": still waiting\n\n", *pieces[at:], rest])
    assert events(signed) == events(wire)


@given(some.lists(some.sampled_from([b'{"a": 1}', b"{}", b""]), max_size=8), some.booleans(), PLACES, some.booleans())
def test_lines_are_handed_on_whole(said: list[bytes], crlf: bool, places: list[int], half: bool) -> None:
    newline = b"\r\n" if crlf else b"\n"
    wire = b"".join(line + newline for line in said) + (b'{"ha' if half else b"")
    pieces, rest = passed(wire, places, lines=True)
    assert all(piece.endswith(b"\n") for piece in pieces if piece)
    assert rest == (b'{"ha' if half else b"")
    decoded = [item for piece in pieces for item in NDJSONDecoder().feed(piece)]
    assert decoded == NDJSONDecoder().feed(wire[: len(wire) - len(rest)])


@pytest.mark.parametrize("newline", NEWLINES)
def test_a_border_that_comes_byte_by_byte_is_found(newline: str) -> None:
    wire = f"data: a{newline}{newline}data: b{newline}{newline}".encode()
    pieces, rest = passed(wire, [*range(len(wire))])
    assert [piece for piece in pieces if piece] == [wire[: len(wire) // 2], wire[len(wire) // 2 :]]
    assert rest == b""


class Counting(bytearray):
    """Counts how many bytes were searched."""

    searched = 0

    def rfind(self, *what: object) -> int:
        start = what[1] if len(what) > 1 else 0
        assert isinstance(start, int)
        Counting.searched += len(self) - start
        return super().rfind(*what)  # type: ignore[arg-type]


@pytest.mark.parametrize("lines", [True, False])
def test_an_event_without_end_is_searched_once_and_not_once_for_each_piece_of_it(lines: bool) -> None:
    borders, Counting.searched = Borders(lines=lines), 0
    borders._tail = Counting()
    for _ in range(1000):
        assert borders.whole(b"x" * 100) == b""
    assert Counting.searched < 4 * 1000 * (100 + 4)
    assert borders.holds
    assert len(borders.rest()) == 100_000
    assert not borders.holds
