"""What a connection makes of the bytes of a server, whole or in pieces, in order or not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import settings as searching
from hypothesis import strategies as some

from hangtight.drivers.http11 import HEAD_LIMIT
from hangtight.gateway.upstream.connection import ENOUGH
from tests.gateway.behind import CHUNKED, LAST, Heard, Line, answer, chunk, cuttings, dechunked, heard

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: 1\r\n\r\nhello world"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nhello world"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
PLACES = some.lists(some.integers(0, 10_000), max_size=40)


def told(wire: bytes, places: list[int], *, bodiless: bool = False, closes: bool = False) -> Heard:
    """What a reader gets when the server says this, in these pieces."""

    async def main() -> Heard:
        line = Line()
        incoming = line.ask(bodiless=bodiless)
        line.say(cuttings(wire, places))
        if closes and not line.cable.closed:
            line.close()
        return heard(incoming, line)

    return asyncio.run(main())


# -- any cutting ----------------------------------------------------------------------------------------------

WHOLE = {
    "a length": (LENGTH, b"hello world", True),
    "chunks": (CHUNKED + chunk(b"hello ") + chunk(b"world") + LAST, b"hello world", True),
    "chunks with an extension": (CHUNKED + b'00B;a=b;c="d"\r\nhello world\r\n' + LAST, b"hello world", True),
    "chunks and trailers": (CHUNKED + chunk(b"hello world") + b"0\r\nX-Sum: 7\r\n\r\n", b"hello world", True),
    "informational answers before": (EARLY + LENGTH, b"hello world", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", b"", True),
    "a length of nothing": (answer(b""), b"", True),
    "the end of the connection": (answer(b"hello world", 200, b"connection: close"), b"hello world", False),
    "HTTP/1.0": (LENGTH.replace(b"1.1", b"1.0", 1), b"hello world", False),
    "more than was announced": (LENGTH + b" and more", b"hello world", False),
    "a second answer right behind": (LENGTH + answer(b"another's secret"), b"hello world", False),
    "a second answer behind chunks": (CHUNKED + chunk(b"hello world") + LAST + LENGTH, b"hello world", False),
}


@pytest.mark.parametrize("name", WHOLE)
@searching(max_examples=30)
@given(PLACES)
@example([])
@example([*range(400)])
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(name: str, places: list[int]) -> None:
    wire, body, kept = WHOLE[name]
    found = told(wire, places)
    assert (found.body, found.error) == (body, "")
    assert found.headers == told(wire, []).headers
    assert found.kept is kept


@searching(max_examples=30)
@given(PLACES)
def test_an_answer_without_a_length_ends_with_its_connection(places: list[int]) -> None:
    assert told(UNTIL_CLOSE, places).error == "more"
    found = told(UNTIL_CLOSE, places, closes=True)
    assert (found.status, found.body, found.error, found.kept) == (200, b"hello world", "", False)


@searching(max_examples=30)
@given(PLACES, some.integers(0, len(CHUNKED)))
def test_an_answer_that_is_cut_is_never_taken_for_a_whole_one(places: list[int], left: int) -> None:
    whole = CHUNKED + chunk(b"hello ") + chunk(b"world") + LAST
    end = len(whole) - 1 - left
    found = told(whole[:end], places, closes=True)
    assert found.error == ("BrokenBody" if end >= len(CHUNKED) else "BrokenHead")
    assert b"hello world".startswith(found.body)


@searching(max_examples=30)
@given(PLACES)
@example([])
def test_the_answer_to_a_question_for_a_head_has_no_body_whatever_it_says(places: list[int]) -> None:
    for wire in (LENGTH, LENGTH[: -len(b"hello world")], CHUNKED, CHUNKED + chunk(b"hello") + LAST):
        found = told(wire, places, bodiless=True)
        assert (found.status, found.body, found.error, found.kept) == (200, b"", "", False)


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"garbage\r\n\r\n", "BrokenHead"),
        (b"\x16\x03\x01\x02\x00", "BrokenHead"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "BrokenHead"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc", "BrokenHead"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "BrokenHead"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + LENGTH, "BrokenHead"),
        (CHUNKED + b"hello\r\n", "BrokenBody"),
        (CHUNKED + b"5\r\nhello and more\r\n", "BrokenBody"),
        (CHUNKED + b"fffffffffffffffff\r\nhello\r\n", "BrokenBody"),
        (CHUNKED + b"-5\r\nhello\r\n", "BrokenBody"),
    ],
)
@searching(max_examples=15)
@given(PLACES)
def test_what_is_no_answer_is_an_error_that_says_where(wire: bytes, error: str, places: list[int]) -> None:
    found = told(wire, places)
    assert (found.error, found.kept) == (error, False)


@searching(max_examples=200)
@given(
    some.lists(some.sampled_from([LENGTH, CHUNKED, chunk(b"x"), LAST, b"\r\n", b"HTTP/1.1 ", b"\0", b"5\r\n"])), PLACES
)
def test_no_bytes_at_all_break_more_than_their_own_exchange(wires: list[bytes], places: list[int]) -> None:
    found = told(b"".join(wires), places, closes=True)
    assert found.error in ("", "BrokenHead", "BrokenBody")


# -- bounds ---------------------------------------------------------------------------------------------------

ENDLESS = {
    "head": (b"HTTP/1.1 200 OK\r\n", b"x-a: %b\r\n" % (b"a" * 1000)),
    "line of a head": (b"HTTP/1.1 200 OK\r\nx-a: ", b"a" * 1000),
    "row of informational answers": (b"", EARLY * 20),
    "extension of a chunk": (CHUNKED + b"5;", b"a" * 1000),
    "row of trailers": (CHUNKED + chunk(b"hello") + b"0\r\n", b"x-a: %b\r\n" % (b"a" * 1000)),
    "trailer": (CHUNKED + chunk(b"hello") + b"0\r\nx-a: ", b"a" * 1000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_there_is_a_bound_for_an_endless(kind: str) -> None:
    async def main() -> tuple[int, Heard]:
        line, (first, more), said = Line(), ENDLESS[kind], 0
        incoming = line.ask()
        line.say([first])
        while not line.cable.closed and said < 10 * HEAD_LIMIT:
            line.say([more])
            said += len(more)
        return said, heard(incoming, line)

    said, found = asyncio.run(main())
    assert said <= HEAD_LIMIT + 5000
    assert found.error == ("BrokenBody" if found.status else "BrokenHead")


def test_a_long_body_in_small_chunks_is_not_taken_for_a_head_without_end() -> None:
    wire = CHUNKED + chunk(b"x") * 40_000 + LAST
    assert told(wire, [*range(0, len(wire), 7)]).body == b"x" * 40_000


def test_who_does_not_read_makes_the_server_wait_and_who_reads_on_lets_it_go_on() -> None:
    async def main() -> None:
        line = Line()
        incoming = line.ask()
        line.say([CHUNKED])
        said = 0
        while line.cable.reads:
            line.say([chunk(b"x" * 8000)])
            said += 8000
        assert said <= ENOUGH + 8000
        got = await anext(incoming)
        assert line.cable.reads
        assert len(got) == said
        line.say([LAST])
        assert line.kept == [line.connection]

    asyncio.run(main())


def test_a_connection_is_not_given_back_with_its_reading_paused() -> None:
    async def main() -> None:
        line = Line()
        incoming = line.ask()
        line.say([CHUNKED, chunk(b"x" * (ENOUGH + 1)) + LAST])
        assert incoming.over
        assert line.cable.reads
        assert line.kept == [line.connection]
        assert len(await anext(incoming)) == ENOUGH + 1
        with pytest.raises(StopAsyncIteration):
            await anext(incoming)

    asyncio.run(main())


# -- one exchange after the other -----------------------------------------------------------------------------


def test_a_connection_answers_one_question_after_the_other() -> None:
    async def main() -> None:
        line = Line()
        for number in range(3):
            incoming = line.ask()
            line.say(cuttings(answer(b"%d" % number, 200, b"x-n: %d" % number), [9, 40]))
            found = heard(incoming, line)
            assert (found.body, found.headers[-1]) == (b"%d" % number, (b"x-n", b"%d" % number))
        assert line.connection.served == 3

    asyncio.run(main())


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\r\n", b"x"])
def test_who_speaks_unasked_is_never_asked_again(unasked: bytes) -> None:
    async def main() -> None:
        line = Line()
        line.ask()
        line.say([answer(b"")])
        assert line.kept
        line.say([unasked])
        assert line.cable.closed
        assert not line.connection.is_open

    asyncio.run(main())


def test_who_wants_no_more_closes_the_connection_at_once() -> None:
    async def main() -> None:
        line = Line()
        incoming = line.ask()
        line.say([CHUNKED, chunk(b"hello")])
        await incoming.aclose()
        assert line.cable.closed
        line.connection.data_received(chunk(b"late"))  # uvloop may still have it in hand
        line.close()
        assert incoming.over

    asyncio.run(main())


def test_an_answer_that_came_before_the_question_was_sent_whole_ends_the_connection() -> None:
    async def main() -> None:
        line = Line()
        incoming = line.connection.begin()
        line.connection.write(b"the first part")
        line.say([answer(b"too long", 413)])
        assert heard(incoming, line).body == b"too long"
        assert line.cable.closed
        assert not line.kept

    asyncio.run(main())


# -- the quick way --------------------------------------------------------------------------------------------


@some.composite
def bodies(draw: some.DrawFn) -> tuple[bytes, bytes]:
    """A body, and chunks of it in the ways in which servers write them."""
    body, wire = b"", b""
    for data in draw(some.lists(some.binary(min_size=1, max_size=30), max_size=12)):
        size = draw(some.sampled_from([b"%x", b"%X", b"00%x", b"%x;a=b"])) % len(data)
        body, wire = body + data, wire + b"%b\r\n%b\r\n" % (size, data)
    return body, wire


@searching(max_examples=200)
@given(bodies(), PLACES, some.booleans())
def test_chunks_taken_as_they_are_carry_the_same_bytes_as_those_that_are_parsed(
    made: tuple[bytes, bytes], places: list[int], at_borders: bool
) -> None:
    body, wire = made
    taken: list[bytes] = []

    def quick(data: bytes) -> bool:
        """As a reader of the gateway does: a chunk alone, of a plain size."""
        head = data.find(b"\r\n")
        size = len(data) - head - 4
        if head < 1 or size < 1 or data[:head] != b"%x" % size or not data.endswith(b"\r\n"):
            return False
        taken.append(dechunked(data))
        return True

    async def main() -> tuple[list[bytes], Heard]:
        line = Line()
        incoming = line.ask()
        line.say([CHUNKED])
        incoming.hand_to(taken.append, lambda: None)
        incoming.quick = quick
        pieces = cuttings(wire, places)
        if at_borders:
            pieces = [piece for each in pieces for piece in cuttings(each, [each.find(b"\r\n", 4) + 2])]
        line.say([*pieces, LAST])
        return taken, heard(incoming, line)

    pieces, found = asyncio.run(main())
    assert b"".join(pieces) == body
    assert (found.error, found.kept) == ("", True)


def test_nothing_is_offered_past_the_parser_but_at_a_border_of_chunks() -> None:
    offered: list[bytes] = []

    def refuse(data: bytes) -> bool:
        offered.append(data)
        return False

    async def main() -> None:
        line = Line()
        incoming = line.ask()
        incoming.quick = refuse
        whole = chunk(b"hello")
        line.say([CHUNKED, whole, whole, whole[:3], whole[3:], whole + whole[:1], whole[1:], whole[:-1], b"\n", LAST])
        assert heard(incoming, line).body == b"hello" * 6

    asyncio.run(main())
    whole = chunk(b"hello")
    assert offered == [whole, whole[:3], whole + whole[:1], whole[:-1]]  # a line break in two pieces is not enough
