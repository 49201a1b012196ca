"""Any bytes from a server, through the real clients: never a hang, never an error of nobody's, no byte changed.

The same bytes go to the bare client of each SDK and to the one on ours. HANGTIGHT_FUZZ=20 looks at twenty times as
many examples, each run at others.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import hangtight
from tests.clients.fuzzed import (
    APIS,
    BOUND,
    JSON,
    LINES,
    OF_THE_SDK,
    SSE,
    Answer,
    Api,
    Caller,
    Ending,
    Seen,
    Server,
    altered,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(0 if "HANGTIGHT_FUZZ" in os.environ else 300)]

TIMES = int(os.environ.get("HANGTIGHT_FUZZ", "1"))
FEW, SOME = 10 * TIMES, 20 * TIMES
FUZZ = settings(
    derandomize="HANGTIGHT_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

for_each_api = pytest.mark.parametrize("api", APIS.values(), ids=APIS)
for_both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with Server() as server:
        caller = Caller(server)
        yield caller
        caller.close()


# -- what servers say -----------------------------------------------------------------------------------------

WORDS = [
    "a",
    "Wort ",
    "日本",
    "😀",
    '"',
    "\\",
    "\n",
    "\r\n",
    "\u2028",
    "\x85",
    "\x1c",
    "[DONE]",
    "data: x\n\n",
    "error",
    "}",
]
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("".join)
LEAVES: list[Any] = [None, True, 0, -1, 7, 1.5, "", "x", "stop", "\ud800", [], [None], {}, {"x": 1}, 10**30]
NEWLINES = [[b"\n"], [b"\r\n"], [b"\n", b"\r\n"], [b"\r"]]
"""CR is not mixed with others: before an LF it would be half of one end, and two events would be one."""
BETWEEN = [b"", b": comment", b":", b"", b"id: 7", b"retry: 9", b"retry: x", b"x", b"data", b"event: ping", b"\xff\xfe"]
ODD_EVENTS = [
    *[b"null", b"[]", b"5", b'"x"', b"{}", b"{", b"", b"NaN", b"[DONE]", b"[DONE] ", b"\xff", b"\xef\xbb\xbf{}"],
    *[b'{"error":null}', b'{"error":"x"}', b'{"error":{"message":"no","code":500}}', b'{"error":{"code":"x"}}'],
    *[
        b'{"choices":null}',
        b'{"choices":[null]}',
        b'{"choices":[{"delta":5,"index":"x"}]}',
        b'{"choices":[],"usage":5}',
    ],
    *[b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}', b'{"type":"response.failed"}'],
    *[b'{"type":"response.completed","response":null}', b'{"type":"message_stop"}', b'{"type":"message_delta"}'],
    *[b'{"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"x"}}', b'{"type":[]}'],
    *[b'{"message":5,"done":false}', b'{"done":true}', b'{"done":"x"}', b'{"response":{}}', b"[" * 3000],
]
GARBAGE = [
    b"\xff",
    b"\xc3",
    b"\0",
    b"\r",
    b"\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"<html>",
    b"}",
    b'"',
    b"data: ",
    b"event: error\n",
]


@st.composite
def events_of(draw: st.DrawFn, api: Api) -> list[bytes]:
    """The events of one whole answer; what comes of them is up to the caller."""
    return api.stream(draw(st.lists(words, min_size=1, max_size=4)), draw(st.lists(words, max_size=1)))


@st.composite
def rendered(draw: st.DrawFn, api: Api, events: list[bytes]) -> bytes:
    """The same events in one of the many forms that mean the same."""
    newlines = draw(st.sampled_from(NEWLINES if api.kind == SSE else NEWLINES[:3]))
    start = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    if api.kind == LINES:
        blank = draw(st.booleans())
        return b"".join(event[:-1] + newlines[at % len(newlines)] * (1 + blank) for at, event in enumerate(events))
    between = draw(st.lists(st.sampled_from(BETWEEN[:6]), max_size=3))
    space, spread = draw(st.sampled_from([b"", b" "])), draw(st.booleans())
    lines: list[bytes] = []
    for at, event in enumerate(events):
        lines += [between[at % len(between)]] if between else []
        for line in event.split(b"\n")[:-1]:
            name, _, value = line.partition(b": ")
            if spread and name == b"data" and value.startswith(b"{"):
                lines += [b"data:" + space + part for part in _in_lines(value)]
            else:
                lines.append(name + b":" + space + value if line else b"")
    return start + b"".join(line + newlines[at % len(newlines)] for at, line in enumerate(lines))


def _in_lines(value: bytes) -> list[bytes]:
    try:
        return json.dumps(json.loads(value), indent=0).encode().split(b"\n")
    except ValueError:
        return [value]


@st.composite
def spoilt_events(draw: st.DrawFn, api: Api) -> list[bytes]:
    """Events that are missing, doubled, changed, or not of this API."""
    events = draw(events_of(api))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(events) - 1, 0)))
        match draw(st.sampled_from(["drop", "end", "double", "alter", "odd", "between"])):
            case "drop":
                del events[at : at + 1]
            case "end":
                del events[at:]
            case "double":
                events[at:at] = events[at : at + 1]
            case "alter" if events:
                events[at] = _altered(events[at], draw(st.integers(0, 60)), draw(st.sampled_from(LEAVES)))
            case "between" if api.kind == SSE:
                events.insert(at, draw(st.sampled_from(BETWEEN)) + b"\n")
            case _:
                named = (
                    b""
                    if api.kind == LINES
                    else draw(st.sampled_from([b"data: ", b"event: error\ndata: ", b"event: x\ndata:"]))
                )
                events.insert(at, named + draw(st.sampled_from(ODD_EVENTS)) + (b"\n" if api.kind == LINES else b"\n\n"))
    return events


def _altered(event: bytes, at: int, leaf: object) -> bytes:
    lines = [(line[:6], line[6:]) if line.startswith(b"data: ") else (b"", line) for line in event.split(b"\n")]
    return b"\n".join(name + (altered(rest, at, leaf) if rest.startswith(b"{") else rest) for name, rest in lines)


@st.composite
def spoilt(draw: st.DrawFn, body: bytes) -> bytes:
    """Bytes that were lost, added or changed, anywhere."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["truncate", "insert", "lose", "change"])):
            case "truncate":
                body = body[:at]
            case "insert":
                body = body[:at] + draw(st.sampled_from(GARBAGE) | st.binary(max_size=9)) + body[at:]
            case "lose":
                body = body[:at] + body[at + draw(st.integers(1, 30)) :]
            case _:
                body = body[:at] + draw(st.sampled_from([b"\xff", b"\0", b"\r", b"x"])) + body[at + 1 :]
    return body


@st.composite
def cut(draw: st.DrawFn, body: bytes) -> tuple[bytes, ...]:
    """The same bytes in pieces."""
    match draw(st.sampled_from(["anywhere", "whole", "single bytes"])):
        case "whole":
            return (body,)
        case "single bytes":
            return tuple(body[at : at + 1] for at in range(len(body)))
        case _:
            borders = sorted(draw(st.sets(st.integers(0, len(body)), max_size=12)))
            return tuple(body[a:b] for a, b in zip([0, *borders], [*borders, len(body)], strict=True))


@st.composite
def anything(draw: st.DrawFn, api: Api) -> bytes:
    """A body: well-formed or not, spoilt or not, or noise."""
    if draw(st.integers(0, 9)) == 9:
        return draw(st.binary(max_size=200))
    return draw(spoilt(draw(rendered(api, draw(spoilt_events(api))))))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "x-gzip": gzip.compress,
    "identity": bytes,
    "br": bytes,
}


@st.composite
def odd_answers(draw: st.DrawFn, api: Api) -> Answer:
    """Whatever a server may say, in whatever wrapping; it always ends."""
    body = draw(anything(api))
    encoding = draw(st.sampled_from(["", "", "", "", *PACKED]))
    if encoding:
        body = draw(spoilt(PACKED[encoding](body)) if draw(st.booleans()) else st.just(PACKED[encoding](body)))
    return Answer(
        draw(cut(body)),
        kind=draw(
            st.sampled_from([api.kind, api.kind, api.kind, SSE, LINES, JSON, "text/html", "", "x/y; charset=utf-16"])
        ),
        status=draw(st.sampled_from([200, 200, 200, 200, 201, 204, 400, 404, 418, 422, 429, 500, 501, 502, 503])),
        encoding=encoding,
        ending=draw(st.sampled_from([Ending.WHOLE, Ending.WHOLE, Ending.CUT])),
        raw=draw(st.integers(0, 19)) == 19,
    )


BROKEN_OFF = (httpx.HTTPError, httpx2.HTTPError)
UNAVAILABLE = 503

# -- what must hold -------------------------------------------------------------------------------------------


def is_same(answer: Answer, bare: Seen, ours: Seen) -> None:
    """The caller of ours sees what the caller of the bare client sees; for a cut stream the error that says so."""
    if answer.status == UNAVAILABLE and isinstance(bare.error, BROKEN_OFF):
        # We read its body before the SDK has the head: then the SDK gives the error a name of its own.
        assert ours.error is not None
        return
    if not ours.is_ours:
        assert ours.told == bare.told
        assert ours.items == bare.items
        return
    if answer.encoding and not isinstance(ours.error, hangtight.Truncated):
        assert isinstance(ours.error, hangtight.BackendError), ours.error
        assert ours.items == bare.items[: len(ours.items)]
        return
    assert isinstance(ours.error, hangtight.Truncated), ours.error
    # A last line without its end is a chunk for ollama; in place of it comes the error.
    assert ours.items in (bare.items, bare.items[:-1])


def is_known(api: Api, seen: Seen, *bare: Seen) -> None:
    """An error that somebody who knows hangtight and this SDK expects."""
    expected: tuple[type[BaseException], ...] = OF_THE_SDK[api.sdk]
    if any(isinstance(other.error, BROKEN_OFF) for other in bare):
        expected += BROKEN_OFF  # of several things that are wrong with the bytes another was found first
    if seen.error is not None and not isinstance(seen.error, expected) and not seen.is_ours:
        assert type(seen.error) in [type(other.error) for other in bare], repr(seen.error)


# -- streamed -------------------------------------------------------------------------------------------------


@for_both
@for_each_api
def test_a_whole_stream_passes_as_it_is_in_whatever_form_and_pieces(
    caller: Caller, api: Api, asynchronous: bool
) -> None:
    @settings(FUZZ, max_examples=FEW)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        body = data.draw(rendered(api, data.draw(events_of(api))), "body")
        answer = Answer(data.draw(cut(body), "pieces"), api.kind)
        bare = caller.call(api, answer, ours=False, asynchronous=asynchronous)
        ours = caller.call(api, answer, ours=True, asynchronous=asynchronous)
        assert ours.told == bare.told
        assert ours.items == bare.items

    holds()


@for_both
@for_each_api
def test_a_stream_that_is_cut_off_is_never_taken_for_a_whole_one(caller: Caller, api: Api, asynchronous: bool) -> None:
    @settings(FUZZ, max_examples=FEW)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        events = data.draw(events_of(api), "events")
        body = b"".join(events[: data.draw(st.integers(0, len(events)), "events that come")])
        if data.draw(st.booleans(), "in the middle of one"):
            body = body[: data.draw(st.integers(0, len(body)), "bytes that come")]
        answer = Answer(data.draw(cut(body), "pieces"), api.kind)
        bare = caller.call(api, answer, ours=False, asynchronous=asynchronous)
        ours = caller.call(api, answer, ours=True, asynchronous=asynchronous)
        is_same(answer, bare, ours)
        if any(map(api.last_words, bare.items)):
            assert not ours.is_ours, "the end was there"
        elif b"[DONE]\n\n" not in body:
            assert ours.error is not None, "nobody said that it was the end"

    holds()


@for_both
@for_each_api
def test_any_answer_gives_what_the_bare_client_makes_of_it_or_an_error_of_ours(
    caller: Caller, api: Api, asynchronous: bool
) -> None:
    @settings(FUZZ, max_examples=SOME)
    @given(odd_answers(api))
    def holds(answer: Answer) -> None:
        bare = caller.call(api, answer, ours=False, asynchronous=asynchronous)
        ours = caller.call(api, answer, ours=True, asynchronous=asynchronous)
        is_same(answer, bare, ours)

    holds()


# -- unstreamed -----------------------------------------------------------------------------------------------


@for_both
@for_each_api
def test_a_whole_answer_does_not_depend_on_the_form_and_the_pieces_of_its_stream(
    caller: Caller, api: Api, asynchronous: bool
) -> None:
    @settings(FUZZ, max_examples=FEW)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        texts = data.draw(st.lists(words, min_size=1, max_size=4), "texts")
        events = api.stream(texts, [])
        body = data.draw(rendered(api, events), "body")
        answer = Answer(data.draw(cut(body), "pieces"), api.kind)
        plain = Answer((b"".join(events),), api.kind)
        as_sent = caller.call(api, plain, ours=True, asynchronous=asynchronous, streamed=False)
        ours = caller.call(api, answer, ours=True, asynchronous=asynchronous, streamed=False)
        assert ours.error is None, ours.error
        assert ours.text == "".join(texts)
        assert ours.items == as_sent.items

    holds()


@for_both
@for_each_api
def test_what_comes_of_any_answer_put_together_does_not_depend_on_its_pieces(
    caller: Caller, api: Api, asynchronous: bool
) -> None:
    @settings(FUZZ, max_examples=SOME)
    @given(odd_answers(api))
    def holds(answer: Answer) -> None:
        at_once = Answer(
            (b"".join(answer.pieces),), answer.kind, answer.status, answer.encoding, answer.ending, answer.raw
        )
        ours = caller.call(api, answer, ours=True, asynchronous=asynchronous, streamed=False)
        whole = caller.call(api, at_once, ours=True, asynchronous=asynchronous, streamed=False)
        if answer.encoding:  # how the client complains of broken compression depends on the pieces
            assert ours.told[0] == whole.told[0]
        else:
            assert ours.told == whole.told
        assert ours.items == whole.items
        bare = [caller.call(api, answer, ours=False, asynchronous=False, streamed=kind) for kind in (False, True)]
        is_known(api, ours, *bare)

    holds()


@for_each_api
def test_a_token_that_cannot_be_read_is_not_left_out_of_a_whole_answer(caller: Caller, api: Api) -> None:
    """The bare client fails on the same stream; half an answer must not look like the whole."""
    body = b"".join(api.stream(["one ", "two ", "three "], [])).replace(b'"two "', b'"two ', 1)
    ours = caller.call(api, Answer((body,), api.kind), ours=True, asynchronous=False, streamed=False)
    assert ours.error is not None or ours.text == "one two three "


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
@for_each_api
def test_a_body_that_is_not_packed_as_it_says_is_an_error_of_the_sdk_or_of_ours(
    caller: Caller, api: Api, streamed: bool
) -> None:
    answer = Answer((b"x" * 20,), api.kind, encoding="gzip")
    bare = caller.call(api, answer, ours=False, asynchronous=False)
    ours = caller.call(api, answer, ours=True, asynchronous=False, streamed=streamed)
    assert ours.error is not None
    is_known(api, ours, bare)


@for_each_api
def test_a_stream_in_deflate_without_its_wrapping_is_read_as_the_bare_client_reads_it(caller: Caller, api: Api) -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(b"".join(api.stream(["one "], []))) + packer.flush()
    answer = Answer((body,), api.kind, encoding="deflate")
    bare = caller.call(api, answer, ours=False, asynchronous=False)
    ours = caller.call(api, answer, ours=True, asynchronous=False)
    assert (ours.told, ours.items) == (bare.told, bare.items)


# -- silence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
@for_both
@for_each_api
def test_a_server_that_falls_silent_anywhere_is_left_in_time(
    caller: Caller, api: Api, asynchronous: bool, streamed: bool
) -> None:
    @settings(FUZZ, max_examples=TIMES)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        bodies = [data.draw(anything(api), "body") for _ in range(4)]
        whole = b"".join(data.draw(events_of(api), "events"))
        bodies += [whole[: data.draw(st.integers(0, len(whole)), "bytes that come")] for _ in range(3)]
        answers = [Answer(data.draw(cut(body), "pieces"), api.kind, ending=Ending.MUTE) for body in [*bodies, whole]]
        found = caller.all_at_once(api, answers, asynchronous=asynchronous, streamed=streamed)
        bare = [caller.call(api, Answer(answer.pieces, api.kind), ours=False, asynchronous=False) for answer in answers]
        for seen, other in zip(found, bare, strict=True):
            assert seen.took < BOUND
            assert seen.error is not None or not streamed or seen.items == other.items
            assert not streamed or seen.items == other.items[: len(seen.items)]
            is_known(api, seen, other)

    holds()
