"""The installed command against those who mean no good, as clients, as web pages and as model servers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.gateway.kit import PATIENCE, Served, all_at
from tests.gateway.rude import (
    ANSWER,
    CHAT,
    JSON,
    LAST,
    Caller,
    Puppet,
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

pytestmark = pytest.mark.real

OUR_KEY, OTHER_KEY, UPSTREAM_KEY, WRONG_KEY = "sk-ours-5f1a", "sk-also-8c2d", "sk-upstream-77b3", "sk-wrong-19e0"
PROMPT, SAID = "the zebra crossed the velvet prompt", "seventeen purple answers sang"


silent, stuck = beginning(), beginning(chunk(delta(SAID)))


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the command says and how it ends."""
    told = {**os.environ, "HANGTIGHT_JOURNAL": str(folder / "journal.db")}
    line = [sys.executable, "-m", "hangtight", *words]
    return subprocess.run(line, check=False, cwd=folder, env=told, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture(scope="module")
def served(puppet: Puppet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = all_at(puppet.url) + "circuit: false\ngateway: {body: 50000, headers: 16384, patience: 1}\n"
    with Served(tmp_path_factory.mktemp("served"), settings) as served:
        yield served
        assert "Traceback" not in served.said


def is_well(served: Served, server: Puppet) -> bool:
    """A stranger who means well is answered all the same."""
    server.says = always(ANSWER)
    return once(served.url, asked(CHAT, saying())).status == 200


# -- who may reach it -----------------------------------------------------------------------------------------


def test_it_listens_on_this_machine_alone_unless_told_otherwise(served: Served) -> None:
    places = [each.laddr.ip for each in psutil.Process(served.process.pid).net_connections() if each.status == "LISTEN"]
    assert places == ["127.0.0.1"]


def test_elsewhere_it_does_not_start_without_a_key_or_a_word(tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text('models: {m: {proxy: "http://127.0.0.1:1"}}\n')
    (tmp_path / "keys.yaml").write_text('apiKeys: [k]\nmodels: {m: {proxy: "http://127.0.0.1:1"}}\n')
    nowhere = ["--host", "192.0.2.1", "--port", "0"]  # of nobody: who is let through cannot listen there either
    refused = command(tmp_path, "serve", "--config", "open.yaml", *nowhere)
    assert refused.returncode == 2
    assert "apiKeys" in refused.stderr
    assert "--insecure" in refused.stderr
    for words in (["keys.yaml"], ["open.yaml", "--insecure"]):
        let_through = command(tmp_path, "serve", "--config", *words, *nowhere)
        assert let_through.returncode == 1
        assert "cannot listen" in let_through.stderr


ROUTES = [
    *[("GET", path) for path in ("/health", "/ready", "/metrics", "/v1/models", "/v1/models/m", "/api/tags")],
    *[("GET", path) for path in ("/api/version", "/hangtight/generations", "/hangtight/generations/abcd1234")],
    *[("GET", path) for path in ("/hangtight/stats", "/hangtight/events", "/hangtight/nothing", "/?model=m")],
    *[("DELETE", "/hangtight/generations/abcd1234"), ("DELETE", "/any?model=m"), ("HEAD", "/metrics")],
    *[("POST", path) for path in (CHAT, "/v1/messages", "/api/chat", "/v1/embeddings", "/anything")],
    *[("OPTIONS", path) for path in (CHAT, "/metrics")],
]
REBOUND = [b"evil.example", b"evil.example:8383", b"127.0.0.1.evil.example", b"localhost.evil.example"]
FOREIGN = [b"Origin: https://evil.example", b"Origin: null", b"Origin: http://localhost.evil.example", b"Origin: x"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_the_page_of_a_stranger(served: Served, server: Puppet, method: str, path: str) -> None:
    body = json.dumps(saying()).encode() if method == "POST" else None
    strangers = [request(method, path, body=body, host=host) for host in REBOUND]
    strangers += [request(method, path, origin, body=body) for origin in (*FOREIGN, b"Sec-Fetch-Site: cross-site")]
    preflight = (FOREIGN[0], b"Access-Control-Request-Method: POST")
    strangers.append(request(method, path, *preflight, body=body))
    for data in strangers:
        answer = once(served.url, data, bodiless=method == "HEAD")
        assert answer.status == 403, data
        assert not any(name.startswith(b"access-control-") for name, _ in answer.headers)
    assert server.heard == []


@pytest.mark.parametrize("fields", [(b"Host: localhost",), (b"Host: evil.example",)])
def test_two_hosts_are_none(served: Served, server: Puppet, fields: tuple[bytes, ...]) -> None:
    assert once(served.url, asked(CHAT, saying(), *fields)).status == 400
    assert once(served.url, b"GET /health HTTP/1.1\r\n\r\n").status == 400
    assert server.heard == []


def test_a_server_does_not_say_which_pages_may_read_where_we_do(server: Puppet, tmp_path: Path) -> None:
    server.says = always(whole(b"{}", JSON, b"access-control-allow-origin: *"))
    listed = "gateway: {origins: ['https://app.example']}\n"
    with Served(tmp_path, all_at(server.url) + listed) as served:
        answer = once(served.url, request("POST", CHAT, b"Origin: https://app.example", body=b'{"model":"m"}'))
        assert answer.all(b"access-control-allow-origin") == [b"https://app.example"]


# -- keys -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(puppet: Puppet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = (
        'apiKeys: ["${env.FIRST_KEY}", "${env.SECOND_KEY}"]\ncircuit: false\nmodels:\n'
        f'  theirs: {{proxy: "{puppet.url}", key: "${{env.UPSTREAM}}", headers: {{X-Secret: "${{env.UPSTREAM}}"}}}}\n'
        f'  open: {{proxy: "{puppet.url}"}}\n  gone: {{proxy: "http://127.0.0.1:1", key: "${{env.UPSTREAM}}"}}\n'
    )
    keys = {"FIRST_KEY": OUR_KEY, "SECOND_KEY": OTHER_KEY, "UPSTREAM": UPSTREAM_KEY}
    with Served(tmp_path_factory.mktemp("locked"), settings, **keys) as served:
        yield served


def bearer(key: str) -> bytes:
    return b"Authorization: Bearer " + key.encode()


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] not in ("/health", "/ready")])
def test_without_a_key_nothing_is_told_and_nobody_asked(locked: Served, server: Puppet, method: str, path: str) -> None:
    body = json.dumps(saying("open")).encode() if method == "POST" else None
    for fields in (
        (),
        (bearer(WRONG_KEY),),
        (b"x-api-key: ",),
        (bearer(OUR_KEY[:-1]),),
        (b"Cookie: " + OUR_KEY.encode(),),
    ):
        answer = once(locked.url, request(method, path, *fields, body=body), bodiless=method == "HEAD")
        assert answer.status == 401
        assert WRONG_KEY.encode() not in answer.body
    assert server.heard == []


def test_our_keys_do_not_travel_and_those_of_servers_do(locked: Served, server: Puppet) -> None:
    for key in (OUR_KEY, OTHER_KEY):
        for field in (bearer(key), b"x-api-key: " + key.encode()):
            assert once(locked.url, asked(CHAT, saying("theirs"), field)).status == 200
            assert once(locked.url, asked(CHAT, saying("open"), field)).status == 200
    assert once(locked.url, asked(CHAT, saying("open"), b"x-api-key: " + OUR_KEY.encode(), bearer("own"))).status == 200
    assert not [heard for heard in server.heard if b"sk-ours" in heard.head or b"sk-also" in heard.head]
    theirs, without = server.heard[0:-1:2], server.heard[1:-1:2]
    upstream = UPSTREAM_KEY.encode()
    assert all(b"authorization: bearer " + upstream in heard.lines for heard in theirs)
    assert all(b"x-secret: " + upstream in heard.lines for heard in theirs)
    assert not any(b"authorization" in heard.head for heard in without)
    assert b"authorization: bearer own" in server.heard[-1].lines


def test_no_key_is_written_down_or_told_anywhere(locked: Served, server: Puppet) -> None:
    """Not in the journal, on stderr, in errors, on our pages, nor by the commands that explain the settings."""
    told: list[bytes] = []
    for says in (always(ANSWER), always(whole(b"{}", status=401)), always(b"rubbish"), always()):
        server.says = says
        for model in ("theirs", "gone", "unknown"):
            for key in (OUR_KEY, WRONG_KEY):
                answer = once(locked.url, asked(CHAT, saying(model), bearer(key)))
                told.append(repr(answer).encode())
    told.append(
        repr(once(locked.url, asked(CHAT, saying("theirs"), bearer(OUR_KEY), b"X-Hangtight-Total: x"))).encode()
    )
    pages = ("/hangtight/generations", "/hangtight/stats", "/metrics", "/health", "/ready", "/v1/models", "/api/tags")
    told += [once(locked.url, request("GET", page, bearer(OUR_KEY))).body for page in pages]
    os.environ.update(FIRST_KEY=OUR_KEY, SECOND_KEY=OTHER_KEY, UPSTREAM=UPSTREAM_KEY)
    for words in (["check", "hangtight.yaml"], ["explain", "--config", "hangtight.yaml", "--model", "theirs"]):
        done = command(locked.folder, *words)
        told.append((done.stdout + done.stderr).encode())
        assert done.stdout
    for words in (["log"], ["stats"]):
        done = command(locked.folder, *words, "--config", "hangtight.yaml")
        told.append((done.stdout + done.stderr).encode())
    told.append(locked.said.encode())
    kept = [path.read_bytes() for path in locked.folder.glob("journal*")]
    assert any(b"theirs" in each for each in kept)
    for key in (OUR_KEY, OTHER_KEY, UPSTREAM_KEY, WRONG_KEY):
        assert not [each for each in (*told, *kept) if key.encode() in each]


# -- limits ---------------------------------------------------------------------------------------------------

MOST = {"total": 50.0, "first_token": 10.0, "idle": 30.0}
FILE = {"total": 40.0, "first_token": 8.0, "idle": 8.0}
GREEDY = [
    (b"X-Hangtight-Total: 1000",),
    (b"X-Hangtight-Total: none",),
    (b"X-Hangtight-Idle: 1000",),
    (b"X-Hangtight-Idle: 29",),  # `first_token` follows it
    (b"X-Hangtight-Idle: none",),
    (b"X-Hangtight-First-Token: none",),
    (b"x-litellm-timeout: 1000",),
    (b"x-stainless-read-timeout: 1000",),
    (b"X-Hangtight-Budget: remaining=80000&run=greedy",),
    (b"X-Hangtight-Total: 10", b"X-Hangtight-Total: 1000"),
    (b"X-Hangtight-Total: 1000", b"x-litellm-timeout: 2000", b"X-Hangtight-Idle: 300", b"X-Hangtight-First-Token: 99"),
    (b"X-Hangtight-Mode: deep",),
    (b"X-Hangtight-Mode: slow",),
    (b"X-Hangtight-Mode: slow", b"X-Hangtight-Intent: on"),
    (b"X-Hangtight-Mode: deep", b"X-Hangtight-Total: 1000", b"X-Hangtight-Budget: remaining=80000&run="),
]
MODES = {"deep": {"total": 45}, "slow": {"total": 900, "first_token": 800, "idle": 700, "extend_to": 1000}}


@pytest.mark.parametrize("headers", ["raise", "cut"])
def test_no_header_raises_a_limit_above_the_most(headers: str, server: Puppet, tmp_path: Path) -> None:
    server.says = silent
    said = {"headers": headers, "limits": FILE, "most": MOST, "modes": MODES}
    settings = "".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items())
    most = MOST if headers == "raise" else FILE
    with Served(tmp_path, all_at(server.url) + settings) as served:
        for fields in GREEDY:
            limits = limits_of(served, fields)
            assert all(limits[name] <= most[name] for name in most), (fields, limits)
            assert limits["extend_to"] <= most["total"], (fields, limits)
        for value in (b"inf", b"nan", b"1e999", b"-1", b"0", b"9" * 400, b"\xff", b""):
            refused = once(served.url, asked(CHAT, saying(), b"X-Hangtight-Total: " + value))
            assert (refused.status, refused.told["error"]["code"]) == (400, "settings"), value


def test_who_comes_through_a_proxy_of_this_machine_only_cuts(server: Puppet, tmp_path: Path) -> None:
    server.says = silent
    greedy = b"X-Hangtight-Total: 1000"
    with Served(tmp_path, all_at(server.url) + f"limits: {json.dumps(FILE)}\n") as served:
        assert limits_of(served, (greedy,))["total"] == 1000.0
        for trace in (b"X-Forwarded-For: 203.0.113.9", b"Via: 1.1 somebody"):
            assert limits_of(served, (greedy, trace))["total"] == FILE["total"]


def limits_of(served: Served, fields: tuple[bytes, ...]) -> dict[str, float]:
    """Those of a request with these headers, while it runs."""
    with Caller(served.url) as caller:
        caller.say(asked(CHAT, saying(stream=True), *fields))
        assert soon(lambda: served.get("/hangtight/generations")["generations"])
        own = served.get("/hangtight/generations")["generations"][0]["id"]
        told = served.get(f"/hangtight/generations/{own}")["limits"]
        assert served.ask("DELETE", f"/hangtight/generations/{own}")[0] == 200
    return {name: told[name]["value"] for name in (*MOST, "extend_to")}


# -- privacy --------------------------------------------------------------------------------------------------

QUOTED = json.dumps({"error": {"message": f"cannot do {PROMPT}, {SAID}", "code": 500}}).encode()


INDISCREET = [
    always(streamed(), chunk(delta(SAID)), chunk(delta(None)), LAST),
    always(streamed(), chunk(delta(SAID))),
    always(whole(QUOTED, JSON, status=400)),
    always(whole(QUOTED, JSON, status=500)),
    always(streamed(), chunk(delta(SAID)), chunk(b"data: " + QUOTED + b"\n\n"), LAST),
    always(streamed(), chunk(b"data: " + QUOTED + b"\n\n"), LAST),
    always(streamed(), chunk(b"data: {" + QUOTED[3:] + b"\n\n"), chunk(delta(None)), LAST),
    always(streamed(), *[chunk(delta(SAID + ". "))] * 200),
    always(PROMPT.encode() + b"\r\n" + SAID.encode() + b"\r\n\r\n"),
    always(streamed(), chunk(delta(SAID)), SAID.encode() + b"\r\n"),
    always(b"HTTP/1.1 307 Go\r\nlocation: /" + SAID.encode() + b"\r\ncontent-length: 0\r\n\r\n"),
    stuck,
]
ASKS: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    (CHAT, lambda: {"messages": [{"role": "user", "content": PROMPT}]}),
    ("/v1/completions", lambda: {"prompt": PROMPT}),
    ("/v1/responses", lambda: {"input": PROMPT}),
    ("/v1/messages", lambda: {"max_tokens": 9, "messages": [{"role": "user", "content": PROMPT}]}),
    ("/api/chat", lambda: {"messages": [{"role": "user", "content": PROMPT}]}),
    ("/api/generate", lambda: {"prompt": PROMPT}),
    ("/v1/embeddings", lambda: {"input": PROMPT}),
]


def test_no_word_of_a_prompt_or_an_answer_is_kept_or_told_to_others(server: Puppet, tmp_path: Path) -> None:
    """However it ends, and whoever quotes it."""
    more = "circuit: false\nlimits: {total: 3, first_token: 1, idle: 0.3}\nmodes: {deep: {total: 3}}\n"
    with Served(tmp_path, all_at(server.url, fallback="[n]") + more) as served, Caller(served.url) as listening:
        listening.say(request("GET", "/hangtight/events"))
        codes = set()
        for says in INDISCREET:
            server.says = says
            for path, said in ASKS if says is not stuck else ASKS[:1]:
                for stream in (True, False):
                    codes.add(ending(served, path, {"model": "m", "stream": stream, **said()}))
        assert codes >= {200, 307, 400, 500, 502, 504}
        pages = ("/hangtight/generations", "/hangtight/stats", "/metrics", "/health", "/ready")
        told = [once(served.url, request("GET", page)).body for page in pages]
        served.process.terminate()
        heard = listening.rest()
    assert heard.count(b"event: ended") > 100
    told += [heard, served.said.encode()]
    kept = [path.read_bytes() for path in tmp_path.glob("journal*")]
    assert any(b"idle" in each for each in kept)
    assert len(told[0]) > 10_000
    for words in (PROMPT, SAID, PROMPT[:20], SAID[:20]):
        assert not [each for each in (*told, *kept) if words.encode() in each]


def ending(served: Served, path: str, said: dict[str, Any]) -> int:
    """The status of the answer; 0 where it is cut."""
    try:
        return once(served.url, asked(path, said, b"X-Hangtight-Mode: deep")).status
    except ConnectionError:
        return 0


# -- sizes and patience ---------------------------------------------------------------------------------------

LARGE = [
    (request("POST", CHAT, b"Content-Length: 50001"), 413),
    (request("POST", CHAT, b"Content-Length: 99999999999999999999"), 400),
    (request("POST", CHAT, b"Transfer-Encoding: chunked") + chunk(b"x" * 30000) * 2, 413),
    (request("GET", "/health", b"X-A: " + b"a" * 17000), 431),
    (request("GET", "/health", *[b"X-A: a"] * 101), 431),
    (request("GET", "/health", *[b"X-A: " + b"a" * 190] * 90), 431),
    (request("GET", "/" + "a" * 8193), 414),
    (request("GET", "/health?" + "a" * 8193), 414),
    (b"GET /" + b"a" * 20000, 431),
    (request("POST", "/any", b"Transfer-Encoding: chunked") + b"1;" + b"a" * 60000 + b"\r\nx\r\n" + LAST, 400),
]


@pytest.mark.parametrize(("data", "status"), LARGE, ids=range(len(LARGE)))
def test_what_is_too_large_is_refused_before_anybody_is_asked(
    served: Served, server: Puppet, data: bytes, status: int
) -> None:
    with Caller(served.url) as caller:
        try:
            caller.say(data)
            answer = caller.answer()
        except ConnectionError:
            pytest.fail("cut without a word")
    assert answer.status == status
    assert answer[b"x-should-retry"] == b"false"
    assert server.heard == []
    assert is_well(served, server)


@pytest.mark.parametrize(
    "start", [b"GET /health HTTP/1.1\r\nHost: loc", request("POST", CHAT, b"Content-Length: 900") + b"{"]
)
def test_who_stops_in_the_middle_is_sent_away(served: Served, server: Puppet, start: bytes) -> None:
    with Caller(served.url) as caller:
        assert caller.say(start).answer().status == 408
    assert server.heard == []


def test_a_byte_now_and_then_does_not_keep_a_head_open(served: Served, server: Puppet) -> None:
    with Caller(served.url) as caller:
        caller.say(b"GET /health HTTP/1.1\r\nX-A: ")

        def is_over() -> bool:
            try:
                caller.say(b"a")
            except ConnectionError:
                return True
            return False

        assert soon(is_over)
    assert is_well(served, server)


# -- only to configured servers -------------------------------------------------------------------------------

WRITTEN = [
    ("http://{evil}/v1/x", "/v1/x"),
    ("//{evil}/v1/x", "//{evil}/v1/x"),
    ("/@{evil}/x", "/@{evil}/x"),
    ("/v1/a%2Fb%3Fc%23d%25", "/v1/a%2Fb%3Fc%23d%25"),
    (
        "/v1/x%20HTTP/1.1%0d%0aHost:%20{evil}%0d%0a%0d%0aGET%20/",
        "/v1/x%20HTTP/1.1%0d%0aHost:%20{evil}%0d%0a%0d%0aGET%20/",
    ),
    ("/v1/%E2%82%AC", "/v1/%E2%82%AC"),
    ("/v1/%ff%00", "/v1/%ff%00"),
    ("/v1/${{env.HOME}}", "/v1/${{env.HOME}}"),
    ("/v1/x?url=http://{evil}/%0d%0a", "/v1/x?url=http://{evil}/%0d%0a"),
]


@pytest.mark.parametrize(("target", "wanted"), WRITTEN, ids=range(len(WRITTEN)))
def test_a_path_arrives_at_its_own_server_as_it_was_written(
    served: Served, server: Puppet, target: str, wanted: str
) -> None:
    with Puppet(always(ANSWER)) as evil:
        place = evil.url.removeprefix("http://")
        data = request("POST", target.format(evil=place), body=b'{"model":"m"}', host=place.encode())
        assert once(served.url, data).status == 200
        assert evil.heard == []
    (heard,) = server.heard
    assert heard.first == f"POST {wanted.format(evil=place)} HTTP/1.1".encode()
    assert b"host: " + server.url.removeprefix("http://").encode() in heard.lines
    assert heard.head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    "path", ["/v1/../admin", "/v1/%2e%2e/admin", "/..", "/v1/.%2E/%2e./x", "/v1/..%2fadmin", "/v1\\..\\admin", "*"]
)
def test_no_path_leads_upwards(served: Served, server: Puppet, path: str) -> None:
    answer = once(served.url, request("OPTIONS" if path == "*" else "POST", path, body=b'{"model":"m"}'))
    assert answer.status == 400
    assert server.heard == []


@pytest.mark.parametrize("name", ["a\r\nset-cookie: x=1", "a\0", "a\ud800", "a\x7f", "\u2028", "a" * 513, "a" * 40000])
@pytest.mark.parametrize("stream", [True, False])
def test_a_name_that_could_not_stand_in_a_header_is_no_model(
    served: Served, server: Puppet, name: str, stream: bool
) -> None:
    answer = once(served.url, asked(CHAT, saying(name, stream=stream)))
    assert (answer.status, answer.told["error"]["code"]) == (400, "bad_model")
    assert b"set-cookie" not in answer
    assert server.heard == []


def test_nothing_is_filled_in_where_a_client_writes_it(served: Served, server: Puppet) -> None:
    name = "${env.HOME} ${PORT} {url} %s %(asctime)s"
    answer = once(served.url, asked(CHAT, saying(name, stream=True), b"X-A: ${env.HOME}"))
    assert (answer.status, answer[b"x-hangtight-model"]) == (200, name.encode())
    assert json.loads(server.heard[0].body)["model"] == name
    assert b"x-a: ${env.home}" in server.heard[0].lines


def test_where_models_are_named_no_other_name_is_asked_for(server: Puppet, tmp_path: Path) -> None:
    with Served(tmp_path, f'models: {{m: {{proxy: "{server.url}"}}, n: {{proxy: "{server.url}"}}}}\n') as served:
        for name in ("o", "*", "m*", "M", "m ", "m/..", server.url, f"{server.url}/m", "${env.HOME}"):
            assert once(served.url, asked(CHAT, saying(name))).status == 404
        wrongs: list[Any] = [[], {}, 5, None, True, ["m"]]
        for wrong in wrongs:
            assert once(served.url, asked(CHAT, {**saying(), "model": wrong})).status == 400
    assert server.heard == []


def test_a_redirect_is_handed_on_and_not_followed(served: Served, server: Puppet) -> None:
    with Puppet(always(ANSWER)) as evil:
        for status in (301, 302, 303, 307, 308):
            place = f"{evil.url}/x".encode()
            server.says = always(whole(b"", b"location: " + place, status=status))
            for stream in (True, False):
                answer = once(served.url, asked(CHAT, saying(stream=stream)))
                assert (answer.status, answer[b"location"]) == (status, place)
        assert evil.heard == []


# -- headers of a hop, and strange ones -----------------------------------------------------------------------

OF_A_HOP = (b"keep-alive: 3", b"proxy-connection: x", b"te: trailers", b"trailer: x-a", b"proxy-authorization: x")


def test_what_is_meant_for_us_alone_goes_no_further(served: Served, server: Puppet) -> None:
    """In neither direction."""
    named = (b"connection: close, X-Foo", b"Connection: x-bar", b"x-foo: 1", b"x-bar: 2")
    server.says = always(whole(b"{}", JSON, *OF_A_HOP, *named, b"upgrade: h2c", b"x-kept: 3"))
    answer = once(served.url, asked(CHAT, saying(stream=True), *OF_A_HOP, *named, b"x-kept: 4"))
    (heard,) = server.heard
    for field in (*OF_A_HOP, *named[2:]):
        assert field not in heard.lines
        assert field.startswith(b"proxy-auth") or field.partition(b":")[0] not in answer
    assert b"x-kept: 4" in heard.lines
    assert answer.all(b"x-kept") == [b"3"]
    assert not any(line.startswith(b"connection: ") and b"x-" in line for line in heard.lines)


def test_a_server_does_not_speak_in_our_name(served: Served, server: Puppet) -> None:
    server.says = always(whole(b"{}", JSON, b"x-hangtight-id: evil", b"x-hangtight-via: evil", b"date: never"))
    answer = once(served.url, asked(CHAT, saying(stream=True)))
    assert len(answer[b"x-hangtight-id"]) == 12
    assert b"x-hangtight-via" not in answer
    assert answer.all(b"date") != [b"never"]
    assert len(answer.all(b"date")) == 1


STRANGE = [
    (b"x-a: \xff\xfe\x80 \xc3\xa9", 200),
    (b"x-a: a\tb", 200),
    (b"x-a:", 200),
    (b"x!#$%&'*+.^_`|~: a", 200),
    (b"set-cookie: a=" + b"a" * 30000, 200),
    (b"x-a: a\0b", 502),
    (b"x-a: a\x01b", 502),
    (b"x-a: a\x7fb", 502),
    (b"x-a: a\rb", 502),
    (b"x-a: a\nset-cookie: b", 502),
    (b"x a: b", 502),
    (b"x{a}: b", 502),
    (b"x-a: b\r\n set-cookie: c", 502),
    (b"content-length: 2", 502),
    (b"transfer-encoding: chunked", 502),
]


@pytest.mark.parametrize(("field", "status"), STRANGE, ids=range(len(STRANGE)))
def test_strange_bytes_in_the_head_of_a_server_break_nothing(
    served: Served, server: Puppet, field: bytes, status: int
) -> None:
    server.says = always(whole(b"{}", JSON, field))
    for stream in (True, False):
        answer = once(served.url, asked(CHAT, saying(stream=stream)))
        assert answer.status == status
        if status == 200:
            name, _, value = field.partition(b":")
            assert answer.all(name) == [value.strip()]
        else:
            assert b"set-cookie" not in answer
    assert is_well(served, server)


@pytest.mark.parametrize("status", [200, 201, 204, 205, 206, 299, 304, 400, 418, 451, 499, 500, 511, 599])
def test_any_status_of_a_server_passes(served: Served, server: Puppet, status: int) -> None:
    server.says = always(whole(b"{}", JSON, status=status))
    with Caller(served.url) as caller:
        for path in (CHAT, "/v1/embeddings"):
            answer = caller.say(asked(path, saying(stream=True))).answer()
            assert (answer.status, answer.body) == (status, b"" if status in (204, 304) else b"{}")
    assert is_well(served, server)


@pytest.mark.parametrize("status", [b"000", b"099", b"101", b"600", b"999", b"1000", b"20", b"abc", b"-20"])
def test_a_status_that_is_none_is_an_error_in_the_dialect(served: Served, server: Puppet, status: bytes) -> None:
    server.says = always(b"HTTP/1.1 %b Said\r\ncontent-length: 2\r\n\r\n{}" % status)
    answer = once(served.url, asked("/v1/messages", saying(max_tokens=1)))
    assert (answer.status, answer.told["type"]) == (502, "error")
    assert is_well(served, server)


# -- in circles -----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_gateway_that_is_its_own_server_says_so(tmp_path: Path) -> None:
    port = free_port()
    with Served(tmp_path, all_at(f"http://127.0.0.1:{port}") + "circuit: false\n", "--port", str(port)) as served:
        for path, said in ASKS:
            assert once(served.url, asked(path, {"model": "m", **said()})).status == 508


def test_two_gateways_that_lead_to_each_other_say_so(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        Served(tmp_path / "one", all_at(f"http://127.0.0.1:{ports[1]}"), "--port", str(ports[0])) as served,
        Served(tmp_path / "two", all_at(f"http://127.0.0.1:{ports[0]}"), "--port", str(ports[1])),
    ):
        assert once(served.url, asked(CHAT, saying(stream=True))).status == 508


# -- many -----------------------------------------------------------------------------------------------------


def test_made_up_names_fill_neither_the_numbers_nor_the_memory(server: Puppet, tmp_path: Path) -> None:
    with Served(tmp_path, f'models: {{m: {{proxy: "{server.url}"}}}}\n') as served, Caller(served.url) as caller:

        def ask_for(names: range) -> None:
            for number in names:
                made_up = f"made-up-{number}"
                data = asked(CHAT, saying(made_up), b"X-Hangtight-Run: " + made_up.encode(), b"X-Hangtight-Step: x")
                assert caller.say(data).answer().status == 404

        def held() -> tuple[int, int]:
            return len(once(served.url, request("GET", "/metrics")).body), psutil.Process(
                served.process.pid
            ).memory_info().rss

        ask_for(range(200))
        before = held()
        ask_for(range(200, 1200))
        after = held()
        assert b"made-up" not in once(served.url, request("GET", "/metrics")).body
        assert after[0] < before[0] + 200
        assert after[1] < before[1] + 3_000_000


def test_names_under_a_pattern_are_counted_up_to_a_bound(served: Served, server: Puppet) -> None:
    for number in range(260):
        assert once(served.url, asked("/v1/x", {"model": f"made-up-{number}"})).status == 200
    page = once(served.url, request("GET", "/metrics")).body
    names = {line.partition(b'model="')[2].partition(b'"')[0] for line in page.splitlines() if b'model="' in line}
    assert b"other" in names
    assert len(names) <= 201
