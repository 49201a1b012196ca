"""The installed command under input that nobody would send on purpose, from both sides.

Whatever comes, each client gets an answer in its dialect or a closed connection, within a bound; the gateway says
nothing of it on stderr, holds no more than before, and answers the next one.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at
from tests.gateway.rude import (
    ANSWER,
    CHAT,
    JSON,
    LAST,
    Answer,
    Caller,
    Heard,
    Puppet,
    Says,
    always,
    asked,
    beginning,
    chunk,
    delta,
    once,
    request,
    saying,
    streamed,
    whole,
)
from tests.journal.kit import soon

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]  # hundreds of requests each

BOUND = 30.0  # seconds in which anything must have an end; the limits below are far shorter
LIMITS = "circuit: false\nlimits: {first_token: 20, idle: 20, total: 20}\ngateway: {patience: 2, body: 5000000}\n"
SHORT = (b"X-Hangtight-First-Token: 1", b"X-Hangtight-Idle: 0.5", b"X-Hangtight-Total: 3")
"""For a server that never ends. With one that answers at once no limit may ring, however busy the machine is."""
AT_ONCE = 50
MORE_MEMORY = 350_000_000  # bytes: some events of 16 MiB are read at once, and each is held more than once
OUR_LINES = ("hangtight serves at ", "dashboard: ")
DIALECTS: list[tuple[str, Callable[[Any], dict[str, Any]]]] = [
    (CHAT, lambda said: {"messages": said}),
    ("/v1/completions", lambda said: {"prompt": said}),
    ("/v1/responses", lambda said: {"input": said}),
    ("/v1/messages", lambda said: {"max_tokens": 9, "messages": said}),
    ("/api/chat", lambda said: {"messages": said}),
    ("/api/generate", lambda said: {"prompt": said}),
    ("/v1/embeddings", lambda said: {"input": said}),
]
TEXTS: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    (CHAT, lambda text: {"messages": [{"role": "user", "content": text}]}),
    ("/v1/completions", lambda text: {"prompt": text}),
    ("/v1/responses", lambda text: {"input": text}),
    ("/v1/messages", lambda text: {"max_tokens": 99, "messages": [{"role": "user", "content": text}]}),
    ("/api/chat", lambda text: {"messages": [{"role": "user", "content": text}]}),
    ("/api/generate", lambda text: {"prompt": text}),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Puppet]:
    with Puppet(always(ANSWER)) as puppet:
        yield puppet


@pytest.fixture(scope="module")
def served(server: Puppet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("fuzzed"), all_at(server.url) + LIMITS) as served:
        yield served


@pytest.fixture(autouse=True)
def unharmed(served: Served, server: Puppet) -> Iterator[None]:
    """After each of them: a healthy request is answered, nothing is left open, and nobody was surprised."""
    process = psutil.Process(served.process.pid)
    once(served.url, asked(CHAT, saying()))
    descriptors, memory = process.num_fds(), process.memory_info().rss
    yield
    server.says = always(ANSWER)
    assert once(served.url, asked(CHAT, saying())).status == 200
    assert soon(lambda: process.num_fds() <= descriptors + 3), process.net_connections()
    assert soon(lambda: not served.get("/hangtight/generations")["generations"])
    assert process.memory_info().rss < memory + MORE_MEMORY
    said, served.lines = served.said, []
    assert [line for line in said.splitlines() if not line.startswith(OUR_LINES)] == [], said


def heard(served: Served, data: bytes) -> Answer | None:
    """The first answer; None where the connection is closed without one. Fails where neither comes."""
    with Caller(served.url, BOUND) as caller:
        try:
            return caller.say(data).answer()
        except ConnectionError:
            return None


def is_in_its_dialect(path: str, answer: Answer) -> bool:
    """An error as clients of this path can read it."""
    told = answer.told
    if path.startswith("/v1/messages"):
        return told["type"] == "error" and isinstance(told["error"]["message"], str)
    if path.startswith("/api/"):
        return isinstance(told["error"], str)
    return isinstance(told["error"]["message"], str)


def all_of(served: Served, requests: list[bytes]) -> list[Answer | None]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda data: heard(served, data), requests))


# -- clients: bytes -------------------------------------------------------------------------------------------


def mutated(dice: random.Random, data: bytes) -> bytes:
    """With some bytes lost, doubled, turned, or put there."""
    found = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(found) + 1)
        match dice.randrange(6):
            case 0:
                del found[at : at + dice.randint(1, 20)]
            case 1:
                found[at:at] = dice.randbytes(dice.randint(1, 8))
            case 2:
                found[at:at] = dice.choice([b"\r\n", b"\n", b"\r\n\r\n", b"\0", b"%00", b":", b" ", b"\x80", b"\t"])
            case 3:
                found[at:at] = found[max(0, at - dice.randint(1, 60)) : at]
            case 4 if at < len(found):
                found[at] ^= 1 << dice.randrange(8)
            case _:
                del found[at:]
    return bytes(found)


def a_request(dice: random.Random) -> bytes:
    path, said = dice.choice(DIALECTS)
    body = {"model": "m", "stream": dice.random() < 0.5, **said([{"role": "user", "content": "hi"}])}
    fields = dice.sample(
        [b"X-Hangtight-Total: 2", b"X-Hangtight-Run: r", b"Connection: x-a", b"X-A: b", b"Expect: 100-continue"], 2
    )
    if dice.random() < 0.7:
        return asked(path, body, *fields)
    data = json.dumps(body).encode()
    half = len(data) // 2
    return (
        request("POST", path, b"Transfer-Encoding: chunked", *fields) + chunk(data[:half]) + chunk(data[half:]) + LAST
    )


def test_mutated_requests_are_answered_or_the_connection_is_closed(served: Served) -> None:
    dice = random.Random(1)
    found = all_of(served, [mutated(dice, a_request(dice)) for _ in range(400)])
    assert {answer.status for answer in found if answer is not None} >= {200, 400}
    for answer in found:
        assert answer is None or answer.status < 500 or is_in_its_dialect("", answer)
        assert answer is None or answer.status < 400 or b"Internal Server Error" not in answer.body


def test_rubbish_is_answered_with_400_or_the_connection_is_closed(served: Served) -> None:
    dice = random.Random(2)
    rubbish = [dice.randbytes(dice.choice([1, 10, 300, 70_000])) for _ in range(60)]
    rubbish += [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(200), b"\r\n" * 50_000, b"\0" * 9000]
    for answer in all_of(served, rubbish):
        assert answer is None or 400 <= answer.status < 500


def test_clients_that_leave_anywhere_leave_nothing_behind(served: Served, server: Puppet) -> None:
    server.says = beginning(chunk(delta("a")))
    dice = random.Random(3)
    for _ in range(150):
        data = a_request(dice)
        with Caller(served.url, BOUND) as caller:
            caller.say(data[: dice.choice([dice.randrange(len(data)), len(data)])])
            if dice.random() < 0.3:
                caller.hang_up()
    assert soon(lambda: server.talking == 0)


# -- clients: what stands in a body ---------------------------------------------------------------------------

DEEP = 100_000
STRANGE: list[bytes] = [
    *[b"", b"{", b"[]", b"null", b"5", b'"m"', b"{}", b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP],
    *[b'{"model":"m","messages":' + b"[" * depth + b"]" * depth + b"}" for depth in (300, 900, 960, 990, 1000, DEEP)],
    *[
        b'{"model":"m","prompt":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        for depth in (300, 900, 960, 990, 2000)
    ],
    *[b'{"model":"m","messages":[{"role":"user","content":%b}]}' % (b"[" * 970 + b"]" * 970)],
    *[b'{"model":"m","messages":[],"max_tokens":%b}' % (b"9" * digits) for digits in (20, 400, 5000)],
    *[
        b'{"model":"m","messages":[],"n":%b}' % number
        for number in (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1e-999")
    ],
    b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}],"x":"\\udfff"}',
    b'{"model":"m","messages":[{"role":"user","content":"\\u0000\\u2028"}]}',
    b'{"model":"m","messages":"\xff\xfe\x80"}',
    b'\xef\xbb\xbf{"model":"m","messages":[]}',
    '{"model":"m","messages":[]}'.encode("utf-16"),
    b'{"model":"m","model":"n","messages":[]}',
    b'{"model":"m","messages":[]}{"model":"n"}',
    b'{"model":"m","messages":[],"' + b"a" * 100_000 + b'":1}',
    b'{"model":"m","messages":[' + b'{"role":"user"},' * 20_000 + b"{}]}",
    gzip.compress(b'{"model":"m","messages":[]}'),
]
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "m",
    [],
    {},
    [[]],
    [{}],
    [None],
    {"a": []},
    [{"role": 5, "content": {}}],
]
WRONG += [[{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}], [{"content": [{"type": []}]}]]
WRONG += [
    [{"role": "tool", "content": None, "tool_calls": [{"function": 5}]}],
    [{"role": "assistant", "tool_calls": 5}],
]
FIELDS = ("model", "stream", "messages", "prompt", "input", "tools", "max_tokens", "stream_options", "options", "think")


def test_no_body_is_too_strange_for_an_answer_in_its_dialect(served: Served) -> None:
    paths = [path for path, _ in DIALECTS]
    for path in paths:
        found = all_of(
            served, [request("POST", path, b"Content-Type: application/json", body=each) for each in STRANGE]
        )
        for body, answer in zip(STRANGE, found, strict=True):
            assert answer is not None, (path, body[:80])
            assert answer.status in (200, 400, 413), (path, body[:80], answer)
            assert answer.status == 200 or is_in_its_dialect(path, answer), (path, body[:80], answer)


def test_wrong_types_anywhere_are_answered_in_the_dialect(served: Served) -> None:
    dice = random.Random(4)
    for path, said in DIALECTS:
        bodies = [{"model": "m", **said(wrong)} for wrong in WRONG]
        right = {"model": "m", **said([{"role": "user", "content": "hi"}])}
        bodies += [{**right, field: wrong} for field in FIELDS for wrong in dice.sample(WRONG, 6)]
        found = all_of(served, [asked(path, body) for body in bodies])
        for body, answer in zip(bodies, found, strict=True):
            assert answer is not None, (path, body)
            assert answer.status in (200, 400, 404, 502), (path, body, answer)
            assert answer.status == 200 or is_in_its_dialect(path, answer), (path, body, answer)


MULTIPART = b"Content-Type: multipart/form-data; boundary=b"


def test_forms_that_are_none_are_read_in_no_time(served: Served) -> None:
    start = b'--b\r\nContent-Disposition: form-data; name="model"\r\n'
    forms = [
        start + b"\r\nm\r\n--b--",
        start,
        start * 2000,
        start + b"a: b\r\n" * 100_000,
        start + b"\r\n" + b"m" * 900_000,
    ]
    forms += [b'name="model"\r\n' * 50_000, b"\r\n" * 400_000, b"\0" * 900_000, start + b"\r\nm\0\r\n\r\n--b--"]
    for answer in all_of(served, [request("POST", "/v1/audio", MULTIPART, body=form) for form in forms]):
        assert answer is not None
        assert answer.status in (200, 400, 404)


def test_strange_headers_of_ours_are_answered_in_the_dialect(served: Served) -> None:
    names = [b"Total", b"Idle", b"First-Token", b"Mode", b"Intent", b"Run", b"Step", b"Budget", b"Priority", b"Via"]
    values = [
        b"",
        b"x",
        b"-1",
        b"1e999",
        b"nan",
        b"\xff\xfe",
        b"a" * 9000,
        b"1, 2",
        b"remaining=&run=",
        b"%00",
        b"=" * 99,
    ]
    fields = [b"X-Hangtight-" + name + b": " + value for name in names for value in values]
    fields += [
        name + b": " + value for name in (b"x-litellm-timeout", b"traceparent", b"tracestate") for value in values
    ]
    fields += [b"x-stainless-" + name + b": " + value for name in (b"read-timeout", b"retry-count") for value in values]
    for field, answer in zip(
        fields, all_of(served, [asked("/v1/messages", saying(), each) for each in fields]), strict=True
    ):
        assert answer is not None, field
        assert answer.status in (200, 400, 508), (field, answer)
        assert answer.status == 200 or is_in_its_dialect("/v1/messages", answer)


# -- servers: streams that are not quite right ----------------------------------------------------------------


TURNED = 2  # the frame of which bytes are turned, too


class Case(NamedTuple):
    """What a server says to one request."""

    path: str
    stream: bool
    body: bytes
    pieces: list[bytes]
    is_exact: bool
    """The body is what arrives, if all does. Where bytes of the frames were turned it is another."""


@pytest.fixture(scope="module")
def spoken() -> dict[str, bytes]:
    """A healthy stream of each API."""
    with Lab() as lab:
        told = {"model": "m,tokens=12", "stream": True}
        return {path: once(lab.url, asked(path, {**told, **said("hi")})).body for path, said in TEXTS}


def cut(dice: random.Random, data: bytes) -> list[bytes]:
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randint(0, 12)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if end > start]


def framed(dice: random.Random, path: str, body: bytes, frame: int) -> list[bytes]:
    """With a head, in chunks, with a length, right or wrong, or until the end of the connection."""
    kind = b"application/x-ndjson" if path.startswith("/api/") else b"text/event-stream"
    match frame:
        case 0:
            wire = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n\r\n" % kind + body
        case 1:
            length = max(0, len(body) + dice.choice([0, 0, 1, -1, 1000]))
            wire = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, length) + body
        case 2:
            wire = streamed(kind) + mutated(dice, b"".join(map(chunk, cut(dice, body))) + LAST)
        case _:
            wire = streamed(kind) + b"".join(map(chunk, cut(dice, body))) + dice.choice([LAST, LAST, LAST, b""])
    return cut(dice, wire)


def cases(spoken: dict[str, bytes], dice: random.Random, count: int) -> list[Case]:
    found = []
    for _ in range(count):
        path = dice.choice(list(spoken))
        body = spoken[path] if dice.random() < 0.3 else mutated(dice, spoken[path])
        if dice.random() < 0.2:
            lines = body.splitlines(keepends=True)
            dice.shuffle(lines)
            body = b"".join(lines)
        frame = dice.randrange(6)
        found.append(Case(path, dice.random() < 0.6, body, framed(dice, path, body, frame), frame != TURNED))
    return found


def by_number(scripts: list[Says]) -> Says:
    """To each request what stands under the number that it names as its model."""

    async def says(heard: Heard) -> AsyncIterator[bytes]:
        if heard.head.startswith(b"GET"):
            yield whole(b"", status=404)
            return
        number = int(json.loads(heard.body)["model"])
        async for piece in scripts[number](heard):
            yield piece
            await asyncio.sleep(0)

    return says


def test_streams_that_are_broken_anywhere_arrive_as_they_are_or_end_with_an_error(
    served: Served, server: Puppet, spoken: dict[str, bytes]
) -> None:
    told = cases(spoken, random.Random(5), 350)
    server.says = by_number([always(*case.pieces) for case in told])
    said = dict(TEXTS)
    requests = [
        asked(case.path, {"model": str(number), "stream": case.stream, **said[case.path]("hi")})
        for number, case in enumerate(told)
    ]
    found = all_of(served, requests)
    whole_ones = 0
    for case, answer in zip(told, found, strict=True):
        assert answer is not None or b"HTTP" not in case.pieces[0], case
        if answer is None:
            continue
        if answer.status != 200:
            assert is_in_its_dialect(case.path, answer), (case, answer)
        elif case.stream and is_a_stream(answer):
            rest = behind(answer.body, case.body)
            assert not rest or b'"error"' in rest or not case.is_exact, (case, answer)
            whole_ones += not rest
        else:
            assert isinstance(answer.told, dict), (case, answer)
    assert whole_ones > 50


def behind(body: bytes, said: bytes) -> bytes:
    """What follows the last line that the server said, too."""
    pairs = zip(body, said, strict=False)
    same = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(body), len(said)))
    return body[same:] and body[body.rfind(b"\n", 0, same) + 1 :]


def is_a_stream(answer: Answer) -> bool:
    return b"event-stream" in answer[b"content-type"] or b"ndjson" in answer[b"content-type"]


# -- servers: HTTP that is none -------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
BOMB = gzip.compress(b"\0" * 50_000_000)


def without_end(piece: bytes, *before: bytes, pause: float = 0.0) -> Says:
    """These, and then this again and again."""

    async def says(_: Heard) -> AsyncIterator[bytes]:
        for each in before:
            yield each
        while True:
            yield piece
            await asyncio.sleep(pause)

    return says


QUICK: list[Says] = [
    *[always(data) for data in (b"", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n", b"\0" * 999)],
    *[always(HEAD[:place]) for place in range(9, len(HEAD), 7)],
    always(HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", chunk(delta("a")), LAST),
    always(HEAD + b"content-length: -5\r\n\r\n", delta("a")),
    always(HEAD + b"content-length: 99999999999999999999999\r\n\r\n", delta("a")),
    always(HEAD + b"transfer-encoding: gzip\r\n\r\n", delta("a")),
    always(streamed(), chunk(delta("a")), b"zz\r\n\r\n"),
    always(streamed(), chunk(delta("a")), b"f" * 17 + b"\r\nx\r\n"),
    always(streamed(), chunk(delta("a")), b"5\r\nabcdefgh\r\n"),
    always(streamed(), b"5;" + b"x" * 300_000 + b"\r\nhello\r\n", LAST),
    always(streamed(), chunk(delta("a")), b"0\r\n", b"x: y\r\n" * 50_000, b"\r\n"),
    always(HEAD, b"set-cookie: a=b\r\n" * 100_000, b"\r\n"),
    always(HEAD, b"x: " + b"a" * 2_000_000, b"\r\n\r\n"),
    always(*[b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" * 1000] * 20, ANSWER),
    always(ANSWER + ANSWER + b"more"),
    *[
        always(streamed(b"text/event-stream", b"content-encoding: " + how), chunk(BOMB), LAST)
        for how in (b"gzip", b"deflate")
    ],
    always(whole(BOMB, JSON, b"content-encoding: gzip")),
    always(streamed(b"text/event-stream", b"content-encoding: gzip"), chunk(delta("a")), LAST),
    always(
        streamed(), chunk(b"data: \0\0\n\n" * 100), chunk(b"data: \xff\xfe\n\n"), chunk(delta("a") + delta(None)), LAST
    ),
    always(streamed(), chunk(b"data: " + b"[" * DEEP + b"\n\n"), chunk(delta(None)), LAST),
    *[
        always(
            streamed(),
            chunk(b'data: {"id":%b,"choices":[]}\n\n' % (b"[" * deep + b"]" * deep)),
            chunk(delta(None)),
            LAST,
        )
        for deep in (300, 900, 960, 980)
    ],
    *[
        always(streamed(), chunk(b'data: {"choices":%b,"usage":%b}\n\n' % (wrong, wrong)), chunk(delta(None)), LAST)
        for wrong in (
            b"5",
            b"null",
            b"[5]",
            b'{"a":1}',
            b'[{"index":-1}]',
            b'[{"index":1e400}]',
            b'[{"delta":5}]',
            b"[[]]",
        )
    ],
    *[
        always(
            streamed(),
            chunk(b"data: %b\n\n" % json.dumps({"choices": [{"index": index, "delta": piece}]}).encode()),
            LAST,
        )
        for index in (0, 10**12)
        for piece in (
            {"content": 5},
            {"content": "\ud800"},
            {"tool_calls": [{"index": 10**12, "function": {"arguments": "x"}}]},
        )
    ],
    *[
        always(whole(body, JSON))
        for body in (b"", b"[]", b"null", b"{", b"[" * DEEP, b'{"error":5}', b'{"choices":[]}')
    ],
]
LARGE: list[Says] = [
    always(streamed(), chunk(b"data: "), *[chunk(b"x" * 1_000_000)] * 20, LAST),
    always(streamed(), chunk(b": "), *[chunk(b"x" * 1_000_000)] * 20, LAST),
    always(streamed(), *[chunk(b"data: " + b"x" * 999_000 + b"\n")] * 20, LAST),
    always(streamed(), chunk(delta("a" * 14_000_000)), chunk(delta(None)), LAST),
    always(whole(b"x" * 40_000_000, JSON, status=500)),
]
ENDLESS: list[Says] = [
    without_end(b"", pause=1.0),
    without_end(b"x: y\r\n", HEAD, pause=0.02),
    without_end(b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.02),
    without_end(chunk(b": ping\n\n"), streamed(), pause=0.02),
    without_end(chunk(b"x"), streamed(), chunk(delta("a")), pause=0.02),
    without_end(chunk(b"\n"), streamed(b"text/plain"), pause=0.02),
    without_end(chunk(delta("a word, ")), streamed()),
    without_end(chunk(delta("a word, " * 1000)), streamed(), pause=0.01),
    without_end(chunk(delta(None)), streamed(), pause=0.1),
    without_end(b"", streamed(), chunk(delta("a") + delta(None)), pause=1.0),
    without_end(b"x", b"HTTP/1.1 503 Busy\r\n\r\n", pause=0.02),
]
MAY_BE_CUT = [ENDLESS[5]]


@pytest.mark.parametrize("scripts", [QUICK, LARGE, ENDLESS], ids=["quick", "large", "endless"])
def test_whatever_a_server_says_its_clients_get_an_answer_or_an_error_in_time(
    served: Served, server: Puppet, scripts: list[Says]
) -> None:
    server.says = by_number(scripts)
    kinds: list[tuple[str, dict[str, Any]]] = [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "stream": False}),
        ("/v1/messages", {"messages": [], "stream": True}),
        ("/anything", {}),
    ]
    for path, said in kinds if scripts is QUICK else kinds[:2]:
        requests = [asked(path, {"model": str(number), **said}, *SHORT) for number in range(len(scripts))]
        for number, answer in enumerate(all_of(served, requests)):
            if answer is None:  # only what is no stream may be cut: half of it cannot say anything
                assert path == "/anything" or scripts[number] in MAY_BE_CUT, (path, said, number)
            elif answer.status not in (200, 500, 503):
                assert is_in_its_dialect(path, answer), (number, answer)
    assert soon(lambda: server.talking == 0)


def test_a_client_that_does_not_read_makes_its_server_wait(served: Served, server: Puppet) -> None:
    server.says = without_end(chunk(delta("a word, " * 1000)), streamed())
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    slow = [Caller(served.url, BOUND).say(asked(CHAT, saying(stream=True), *SHORT)) for _ in range(4)]
    most = 0

    def is_over() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return server.talking == 0

    assert soon(is_over)  # the limit `total` is not excused
    for each in slow:
        each.__exit__()
    assert most < before + 40_000_000


def test_an_answer_without_end_does_not_fill_the_memory(server: Puppet, tmp_path: Path) -> None:
    server.says = without_end(chunk(delta("a word, " * 100_000)), streamed())
    with Served(tmp_path, all_at(server.url) + LIMITS) as gateway:
        process = psutil.Process(gateway.process.pid)
        before = process.memory_info().rss
        assert once(gateway.url, asked(CHAT, saying(), *SHORT)).status in (502, 504)
        assert process.memory_info().rss < before + MORE_MEMORY
