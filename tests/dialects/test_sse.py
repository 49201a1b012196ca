import itertools
import re
import time
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hangtight.dialects.sse import Contact, Event, EventTooLarge, Item, NDJSONDecoder, SSEDecoder

Decoder = SSEDecoder | NDJSONDecoder
TOO_LARGE = Contact("too large")  # stands for the error, so that what came before it can be compared too


def decoded(decoder: Decoder, pieces: Iterable[bytes]) -> list[Item]:
    items: list[Item] = []
    try:
        for piece in pieces:
            items += decoder.feed(piece)
        items += decoder.close()
    except EventTooLarge:
        items.append(TOO_LARGE)
    return items


def sse(*pieces: bytes) -> list[Item]:
    return decoded(SSEDecoder(), pieces)


def ndjson(*pieces: bytes) -> list[Item]:
    return decoded(NDJSONDecoder(), pieces)


def standard_events(stream: bytes) -> list[Event]:
    """The events as the HTML standard words it: decode all, split into lines, go through them. Incomplete ones last."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)
    events, data, kind, last_id = [], "", "", ""
    for number, line in enumerate(lines, 1):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                data += value + "\n"
            case "event":
                kind = value
            case "id" if "\0" not in value:
                last_id = value
        ended = number == len(lines)
        if not line or ended:
            if data:
                events.append(Event(data.removesuffix("\n"), kind or "message", last_id, complete=not ended))
            data = kind = ""
    return events


def standard_lines(stream: bytes) -> list[Event]:
    *lines, last = stream.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    events = [Event(line.removesuffix("\r")) for line in lines]
    events.append(Event(last.removesuffix("\r"), complete=False))
    return [event for event in events if event.data.encode("utf-8", "replace").strip()]


WORDS = [b"data", b"data: ", b"event: ", b"id: ", b"id", b"retry: 1", b"other: ", b":", b": ", b" ", b"x", b"\0", b"\t"]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r"]
LETTERS = [
    b"\xef\xbb\xbf",
    b"\xe2\x82",
    b"\xac",
    "ü€😀".encode(),
    b"\xff",
    b"\xf0\x9f",
    b"\xc0\x80",
    "\u2028\x85\x0b\x1c".encode(),
]
streams = st.lists(st.sampled_from(WORDS + ENDS * 2 + LETTERS) | st.binary(max_size=3), max_size=40).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream = draw(streams)
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12))), len(stream)]
    return stream, [stream[a:b] for a, b in itertools.pairwise(cuts)]


@settings(deadline=None)
@given(cut_streams())
@example((b"data: a\r\n\r\n", [b"data: a\r", b"", b"\n\r", b"\n"]))
@example((b"\xef\xbb\xbfdata: a\n\n", [b"\xef", b"\xbb", b"\xbfdata: a\n\n"]))
def test_any_cutting_gives_the_events_of_the_standard(cut: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = cut
    assert sse(*pieces) == sse(stream)
    assert [item for item in sse(*pieces) if isinstance(item, Event)] == standard_events(stream)


@settings(deadline=None)
@given(cut_streams())
def test_any_cutting_gives_the_same_lines_of_json(cut: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = cut
    assert ndjson(*pieces) == ndjson(stream)
    assert [item for item in ndjson(*pieces) if isinstance(item, Event)] == standard_lines(stream)


@settings(deadline=None)
@given(cut_streams(), st.integers(1, 12))
def test_any_cutting_meets_the_limit_at_the_same_place(cut: tuple[bytes, list[bytes]], limit: int) -> None:
    stream, pieces = cut
    for kind in (SSEDecoder, NDJSONDecoder):
        assert decoded(kind(limit=limit), pieces) == decoded(kind(limit=limit), [stream])


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_handed_out_with_the_first_byte_that_completes_it(end: bytes) -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a" + end + end[:1]) == [Event("a")]
    assert decoder.feed(end[1:] + b"data: b" + end + end) == [Event("b")]
    assert decoder.close() == []


def test_data_of_many_lines_is_joined_and_loses_one_space_only() -> None:
    assert sse(b"data:a\ndata:  b\ndata\ndata: \n\n") == [Event("a\n b\n\n")]


def test_a_type_holds_for_one_event_and_an_id_until_the_next() -> None:
    stream = b"event: delta\nid: 7\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\nevent:\ndata: d\n\n"
    assert sse(stream) == [Event("a", "delta", "7"), Event("b", id="7"), Event("c", id="7"), Event("d")]


def test_empty_data_is_an_event_and_no_data_is_contact() -> None:
    assert sse(b"data\n\n", b"event: ping\n\n", b"id: 1\n\n", b"\n") == [Event(""), Contact(), Contact(), Contact()]


def test_each_comment_is_heard_at_once_and_does_not_end_the_event_around_it() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b": ping\n") == [Contact("ping")]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: a\n:\n") == [Contact()]
    assert decoder.feed(b"data: b\n\n") == [Event("a\nb")]


@pytest.mark.parametrize(
    ("value", "retry"),
    [(b"3000", 3000), (b"0", 0), (b"-1", None), (b"1.5", None), (b"", None), ("٣".encode(), None), (b"9" * 5000, None)],
)
def test_retry_is_digits_or_nothing(value: bytes, retry: int | None) -> None:
    decoder = SSEDecoder()
    decoder.feed(b"retry: " + value + b"\n\n")
    assert decoder.retry == retry


@pytest.mark.parametrize("stream", [b"data: a\ndata: b", b"data: a\ndata: b\n", b"data: a\rdata: b\r\n"])
def test_an_event_at_the_end_without_its_blank_line_is_told_apart(stream: bytes) -> None:
    assert sse(stream) == [Event("a\nb", complete=False)]


def test_what_ends_without_any_data_is_no_event() -> None:
    assert sse(b"event: x\nid: 1\n: bye") == [Contact("bye")]
    assert sse(b"\xef\xbb\xbf") == []
    assert sse() == []


def test_characters_that_are_cut_or_broken_never_raise() -> None:
    assert sse(b"data: \xe2", b"\x82", b"\xac\n\n") == [Event("€")]
    assert sse(b"data: a\xff\xe2\x82\ndata: \xac\n\n") == [Event("a\ufffd\ufffd\n\ufffd")]


def test_a_byte_order_mark_is_dropped_at_the_start_and_nowhere_else() -> None:
    mark = b"\xef\xbb\xbf"
    assert sse(mark + b"data: a\n\n" + mark + b"data: b\n\n") == [Event("a"), Contact()]
    assert ndjson(mark + b"{}\n" + mark + b"1\n") == [Event("{}"), Event("\ufeff1")]


def test_json_comes_by_lines_blank_ones_are_contact_and_a_bare_cr_is_no_end() -> None:
    assert ndjson(b'{"a":1}\r\n\n', b' \t\r\n{"b"\r:2}', b'\n{"c":3}') == [
        Event('{"a":1}'),
        Contact(),
        Contact(),
        Event('{"b"\r:2}'),
        Event('{"c":3}', complete=False),
    ]


@pytest.mark.parametrize("kind", [SSEDecoder, NDJSONDecoder])
def test_an_event_over_the_limit_raises_after_what_came_before_it_and_for_good(kind: type[Decoder]) -> None:
    decoder = kind(limit=100)
    small, large = (b"data: a\n\n", b"data: " + b"x" * 200) if kind is SSEDecoder else (b"a\n", b"x" * 200)
    assert decoder.feed(small + large) == [Event("a")]
    with pytest.raises(EventTooLarge):
        decoder.feed(small)
    with pytest.raises(EventTooLarge):
        decoder.close()


def test_the_limit_counts_all_lines_of_one_event_and_starts_anew_with_the_next() -> None:
    decoder = SSEDecoder(limit=19)
    for _ in range(100):
        assert decoder.feed(b"data: 1234\ndata: 123\n\n") == [Event("1234\n123")]
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: 1234\ndata: 1234\n\n")


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        SSEDecoder(limit=0)


def cpu_seconds(kind: type[Decoder], piece: bytes, times: int) -> float:
    best = float("inf")
    for _ in range(3):
        decoder, start = kind(), time.thread_time()
        for _ in range(times):
            decoder.feed(piece)
        decoder.close()
        best = min(best, time.thread_time() - start)
    return best


@pytest.mark.parametrize("kind", [SSEDecoder, NDJSONDecoder])
@pytest.mark.parametrize(("piece", "times"), [(b"x", 8 * 1024), (b"x" * 1024, 256), (b"data: x\n", 4 * 1024)])
def test_thirty_two_times_the_bytes_take_about_thirty_two_times_as_long(
    kind: type[Decoder], piece: bytes, times: int
) -> None:
    ratio = cpu_seconds(kind, piece, 32 * times) / cpu_seconds(kind, piece, times)
    assert ratio < 300, "linear is 32, quadratic is 1024 less what is linear in it"
