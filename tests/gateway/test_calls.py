"""What a request becomes on its way to a server, and under which terms it goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hangtight.core.time import Instant
from hangtight.drivers.given import Given
from hangtight.gateway.bodies import MOST_CONTAINERS
from hangtight.gateway.calls import RETRIED_FOR, RETRIES_KEPT, Policy, Retries, chosen_timeout, read_timeout
from tests.gateway.behind import (
    ANSWERED,
    CHUNKED,
    FINISHED,
    LAST,
    PATIENCE,
    Before,
    Behind,
    Serve,
    Talk,
    answer,
    before,
    behind,
    chat,
    chunk,
    piece,
    post,
)

CHAT = "/v1/chat/completions"
MODELS = """
models:
  m: {{proxy: "{url}"}}
  other: {{proxy: "{url}/v1", useModelName: "org/other:7b", aliases: [nick], key: upstream-secret,
    headers: {{X-Team: us}}}}
  first: {{proxy: "{url}", fallback: [other]}}
"""


class Desk:
    """A server that writes down what it is asked, and answers as asked for."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.refuses: set[str] = set()
        self.is_mute = False
        self.says = b""

    async def __call__(self, talk: Talk) -> None:
        while True:
            head, body = await talk.request()
            self.heads.append(head)
            self.bodies.append(body)
            if self.is_mute:
                await talk.gone()
                return
            if not body.startswith(b"{"):
                talk.say(answer(b"passed", 200, b"x-own: 1", b"connection: keep-alive"))
                continue
            asked = json.loads(body)
            if self.says:
                talk.say(self.says)
            elif asked.get("model") in self.refuses:
                talk.say(answer(b'{"error": {"message": "too busy"}}', 500))
            else:
                talk.say(ANSWERED if asked.get("stream") else answer(b"{}", 200))

    @property
    def fields(self) -> dict[str, list[str]]:
        """The headers of the last request."""
        found: dict[str, list[str]] = {}
        for line in self.heads[-1].decode("latin-1").strip().split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            found.setdefault(name, []).append(value)
        return found

    @property
    def asked(self) -> Any:
        return json.loads(self.bodies[-1])


Main = Callable[[Before, Desk], Awaitable[None]]


def run(folder: Path, main: Main, settings: str = MODELS) -> None:
    """With a gateway, and behind it a desk."""

    async def bounded() -> None:
        desk = Desk()
        serve: Serve = desk
        async with asyncio.timeout(PATIENCE), behind(serve) as server, before(folder, told(server, settings)) as ours:
            await main(ours, desk)

    asyncio.run(bounded())


def told(server: Behind, settings: str) -> str:
    return settings.format(url=server.url)


# -- what is sent ---------------------------------------------------------------------------------------------


def test_a_body_in_which_nothing_had_to_change_arrives_byte_for_byte(tmp_path: Path) -> None:
    body = (
        b'{ "model":"m",  "stream" : true, "messages":[{"role":"user","content":"\\u00e9 \xc3\xa9 1e400"}], "n":1.0 }'
    )

    async def main(ours: Before, desk: Desk) -> None:
        assert (await ours.ask(post(CHAT, body))).status == 200
        assert desk.bodies == [body]
        assert desk.fields["content-length"] == [str(len(body))]

    run(tmp_path, main)


def test_an_unstreamed_request_is_sent_as_one_for_a_stream_and_all_else_stays(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        found = await ours.chat(temperature=0.5, extra={"é": [1, None]})
        assert found.json["choices"][0]["message"]["content"] == "hello"
        assert found.headers["content-type"] == "application/json"
        sent = desk.asked
        assert sent["stream"] is True
        assert (sent["temperature"], sent["extra"], sent["model"]) == (0.5, {"é": [1, None]}, "m")

    run(tmp_path, main)


@pytest.mark.parametrize("name", ["other", "nick"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_alias_is_sent_under_the_name_that_its_server_knows(tmp_path: Path, name: str, stream: bool) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        found = await ours.chat(name, stream=stream)
        assert desk.asked["model"] == "org/other:7b"
        assert found.headers["x-hangtight-model"] == "other"
        assert desk.heads[-1].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")

    run(tmp_path, main)


def test_the_key_of_the_server_takes_the_place_of_the_clients(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        shown = {"authorization": "Bearer mine", "x-api-key": "mine", "x-team": "them"}
        await ours.chat("other", headers=shown)
        assert desk.fields["authorization"] == ["Bearer upstream-secret"]
        assert "x-api-key" not in desk.fields
        assert desk.fields["x-team"] == ["us"]
        await ours.ask(post("/v1/messages", json.dumps({"model": "other", "messages": []}).encode(), shown))
        assert desk.fields["x-api-key"] == ["upstream-secret"]
        await ours.chat("m", headers=shown)
        assert desk.fields["authorization"] == ["Bearer mine"]

    run(tmp_path, main)


def test_a_header_of_the_settings_takes_the_place_of_the_clients(tmp_path: Path) -> None:
    settings = 'models: {{m: {{proxy: "{url}", headers: {{Authorization: "Basic abc", X-Team: us}}}}}}'

    async def main(ours: Before, desk: Desk) -> None:
        await ours.chat(headers={"authorization": "Bearer mine", "x-team": "them"})
        assert desk.fields["authorization"] == ["Basic abc"]
        assert desk.fields["x-team"] == ["us"]

    run(tmp_path, main, settings)


def test_what_concerns_one_connection_alone_and_what_is_for_us_goes_no_further(tmp_path: Path) -> None:
    ours_alone = {
        "connection": "keep-alive, x-private", "x-private": "1", "keep-alive": "timeout=5", "te": "trailers",
        "proxy-authorization": "Basic x", "x-hangtight-total": "60", "x-hangtight-run": "r", "accept-encoding": "br",
    }  # fmt: skip

    async def main(ours: Before, desk: Desk) -> None:
        await ours.chat(stream=True, headers={**ours_alone, "openai-organization": "org", "user-agent": "me"})
        fields = desk.fields
        assert fields.keys() & ours_alone.keys() == {"accept-encoding"}
        assert len(fields["host"]) == 1
        assert "localhost" not in fields["host"]
        assert fields["accept-encoding"] == ["identity"]
        assert (fields["openai-organization"], fields["user-agent"]) == (["org"], ["me"])

    run(tmp_path, main)


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_is_asked_for_no_compression_and_what_is_not_ours_to_read_may_have_it(
    tmp_path: Path, stream: bool
) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        packed = {"accept-encoding": "gzip, deflate"}
        await ours.chat(stream=stream, headers=packed)
        assert desk.fields["accept-encoding"] == ["identity"]
        await ours.ask(post("/v1/rerank", json.dumps({"model": "m"}).encode(), packed))
        assert desk.fields["accept-encoding"] == ["gzip, deflate"]

    run(tmp_path, main)


def test_what_is_no_json_passes_byte_for_byte_in_both_directions(tmp_path: Path) -> None:
    sound = bytes(range(256)) * 1000
    form = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--b\r\n'
    form += b'content-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + sound + b"\r\n--b--\r\n"

    async def main(ours: Before, desk: Desk) -> None:
        kind = {"content-type": "multipart/form-data; boundary=b"}
        found = await ours.ask(post("/v1/audio/transcriptions?a=%20b", form, kind))
        assert (found.status, found.body, found.headers["x-own"]) == (200, b"passed", "1")
        assert desk.bodies == [form]
        assert desk.heads[0].startswith(b"POST /v1/audio/transcriptions?a=%20b HTTP/1.1\r\n")
        assert desk.fields["content-type"] == [kind["content-type"]]

    run(tmp_path, main)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/a%20b",
        "/v1/files/org%2Fsmall",
        "/v1/files/%C3%A9%E6%97%A5",
        "/v1/files/%ff",
        "/v1/x%20HTTP/1.1%0d%0ahost:%20evil%0d%0a%0d%0aGET%20/secret",
        "/v1/files/50%25?x=%0d%0ay:%20z",
        "/v1/files/a%3Fb%23c",
    ],
)
def test_a_path_arrives_as_it_was_written_and_becomes_no_other_request(tmp_path: Path, path: str) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        found = await ours.ask(post(path, b"x", {"content-type": "text/plain"}))
        assert found.status == 200
        assert desk.heads[0].startswith(f"POST {path} HTTP/1.1\r\nhost: ".encode())
        assert desk.bodies == [b"x"]

    run(tmp_path, main, 'models: {{m: {{proxy: "{url}"}}}}')


def test_a_number_too_great_for_us_is_still_one_in_an_answer_that_is_put_together(tmp_path: Path) -> None:
    counted = b'data: {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "cost": 1e999}}\n\n'

    async def main(ours: Before, desk: Desk) -> None:
        end = FINISHED.replace(b"data: [DONE]", counted + b"data: [DONE]")
        desk.says = CHUNKED + chunk(piece("hello")) + chunk(end) + LAST
        found = await ours.chat()
        assert found.status == 200
        assert b"Infinity" not in found.body
        assert found.json["usage"]["cost"] > 1e300

    run(tmp_path, main)


def test_a_body_of_too_many_parts_is_refused_in_its_api_and_asked_of_nobody(tmp_path: Path) -> None:
    body = b'{"model": "m", "messages": [' + b"{}," * MOST_CONTAINERS + b"{}]}"

    async def main(ours: Before, desk: Desk) -> None:
        found = await ours.ask(post(CHAT, body))
        assert (found.status, found.error["code"]) == (413, "too_many_parts")
        assert not desk.bodies

    run(tmp_path, main)


# -- another server in its place ------------------------------------------------------------------------------


def test_a_model_that_stands_in_may_have_a_name_that_is_not_latin(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.refuses = {"first"}
        for stream in (True, False):
            found = await ours.chat("first", stream=stream)
            assert (found.status, found.headers["x-hangtight-model"].encode("latin-1")) == (200, "日本".encode())
        desk.refuses = {"first", "日本"}
        assert (await ours.chat("first")).status == 500

    run(tmp_path, main, 'models: {{first: {{proxy: "{url}", fallback: [日本]}}, 日本: {{proxy: "{url}"}}}}\n')


@pytest.mark.parametrize("stream", [True, False])
def test_the_model_that_stands_in_is_asked_at_its_own_server_by_its_own_name(tmp_path: Path, stream: bool) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.refuses = {"first"}
        found = await ours.chat("first", stream=stream, headers={"authorization": "Bearer mine"})
        assert found.status == 200
        assert b"hello" in found.body
        assert found.headers["x-hangtight-model"] == "other"
        assert [json.loads(body)["model"] for body in desk.bodies] == ["first", "org/other:7b"]
        assert desk.fields["authorization"] == ["Bearer upstream-secret"]

    run(tmp_path, main)


def test_where_nobody_is_left_the_last_refusal_is_the_answer_and_an_sdk_shall_not_begin_anew(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.refuses = {"first", "org/other:7b"}
        found = await ours.chat("first")
        assert (found.status, found.error["message"]) == (500, "too busy")
        assert found.headers["x-should-retry"] == "false"
        assert len(desk.bodies) == 2

    run(tmp_path, main)


class OllamaDesk:
    """An Ollama in whose memory `resident` is. It never answers, or refuses."""

    def __init__(self, resident: str, *, refuses: bool = False) -> None:
        self.listing = json.dumps({"models": [{"name": resident, "expires_at": "later"}]}).encode()
        self.refuses = refuses
        self.looks = 0

    async def __call__(self, talk: Talk) -> None:
        head, _ = await talk.request()
        if b"/api/ps " in head:
            self.looks += 1
            talk.say(answer(self.listing))
        elif self.refuses:
            talk.say(answer(b"{}", 500))
        else:
            await talk.gone()


@pytest.mark.parametrize("asked", ["renamed", "first"])
def test_an_ollama_is_asked_for_its_own_name_of_a_model_and_it_is_asked_itself(tmp_path: Path, asked: str) -> None:
    """Its model is in memory: so `first_token` rings, and not `load`."""
    settings = (
        "limits: {{first_token: 1, load: 30, cold: null}}\n"
        'models:\n  renamed: {{proxy: "{two}", useModelName: "org/real:7b"}}\n'
        '  first: {{proxy: "{one}", fallback: [renamed]}}\n'
    )
    body = json.dumps({"model": asked, "messages": [{"role": "user", "content": "hi"}]}).encode()

    async def main() -> None:
        one, two = OllamaDesk("first", refuses=True), OllamaDesk("org/real:7b")
        async with (
            asyncio.timeout(PATIENCE),
            behind(one) as first,
            behind(two) as second,
            before(tmp_path, settings.format(one=first.url, two=second.url)) as ours,
        ):
            found = await ours.ask(post("/api/chat", body))
        assert (found.status, found.json["code"]) == (504, "first_token")
        assert two.looks

    asyncio.run(main())


# -- under which terms ----------------------------------------------------------------------------------------

LIMITED = "limits: {{first_token: 0.3, idle: 0.3, total: 30, cold: null}}\n"


async def limit_of(ours: Before, **headers: str) -> tuple[str, float, str]:
    """Which limit rang for this request, how long it was, and from where."""
    found = await ours.chat(headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert found.status == 504
    return found.error["limit"], found.error["elapsed"], found.error["source"]


def test_a_header_may_raise_a_limit_where_it_may_and_only_up_to_the_most(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        limit, elapsed, source = await limit_of(ours, X_Hangtight_First_Token="9")
        assert (limit, source) == ("first_token", "X-Hangtight-First-Token")
        assert 0.5 <= elapsed < 5

    run(tmp_path, main, LIMITED + "most: {{first_token: 0.5}}\n" + MODELS)


def test_a_header_never_raises_a_limit_where_it_may_only_cut(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        _, elapsed, source = await limit_of(ours, X_Hangtight_First_Token="9")
        assert 1 <= elapsed < 9
        assert "hangtight.yaml" in source
        _, elapsed, source = await limit_of(ours, X_Hangtight_First_Token="0.1")
        assert (elapsed < 1, source) == (True, "X-Hangtight-First-Token")

    run(tmp_path, main, LIMITED.replace("first_token: 0.3", "first_token: 1") + "headers: cut\n" + MODELS)


@pytest.mark.parametrize(
    ("more", "source"),
    [("headers: cut\n", "hangtight.yaml:1"), ("headers: raise\nmost: {{total: 0.3}}\n", "most")],
)
def test_a_mode_that_a_header_names_raises_no_more_than_a_number_would(tmp_path: Path, more: str, source: str) -> None:
    settings = "limits: {{total: 0.3, cold: null}}\nmodes: {{slow: {{total: 20, extend_to: 30}}}}\n" + more + MODELS

    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        limit, elapsed, said = await limit_of(ours, X_Hangtight_Mode="slow")
        assert limit == "total"
        assert said.endswith(source)
        assert elapsed < 5

    run(tmp_path, main, settings)


def test_a_mode_that_a_header_names_may_be_longer_where_headers_may_raise(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        _, elapsed, _ = await limit_of(ours, X_Hangtight_Mode="slow")
        assert 0.3 <= elapsed < 5

    settings = "limits: {{total: 0.1, cold: null}}\nmodes: {{slow: {{total: 1}}}}\nheaders: raise\n"
    run(tmp_path, main, settings + MODELS)


@pytest.mark.parametrize("is_named", [True, False])
def test_who_names_a_hasty_mode_opens_the_circuit_for_nobody(tmp_path: Path, is_named: bool) -> None:
    settings = "limits: {{cold: null}}\nmodes: {{hasty: {{total: 0.1}}}}\n" + MODELS

    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        for _ in range(6):
            found = await ours.chat(headers={"x-hangtight-mode": "hasty"} if is_named else None)
        assert found.status == (504 if is_named else 503)

    run(tmp_path, main, settings if is_named else "default_mode: hasty\n" + settings)


@given(
    some.sampled_from(["total", "idle", "first_token"]), some.none() | some.floats(0.001, 1e6), some.floats(0.001, 1e6)
)
def test_no_request_is_given_more_than_the_most(name: str, wanted: float | None, most: float) -> None:
    applied = Policy(True, {name: most}).applied(Given("a header", ((name, wanted),)))
    value = dict(applied.values)[name]
    assert value == (most if wanted is None else min(most, wanted))


@pytest.mark.parametrize("stream", [True, False])
def test_litellms_header_is_the_total_of_a_request(tmp_path: Path, stream: bool) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        found = await ours.chat(stream=stream, headers={"x-litellm-timeout": "0.4"})
        assert (found.status, found.error["limit"], found.error["source"]) == (504, "total", "x-litellm-timeout")

    run(tmp_path, main)


def test_the_patience_of_an_sdk_is_the_total_of_an_unstreamed_request_and_our_answer_comes_first(
    tmp_path: Path,
) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        found = await ours.chat(headers={"x-stainless-read-timeout": "0.6"})
        assert (found.status, found.error["limit"]) == (504, "total")
        assert "total = 0.57 comes from" in found.error["message"]
        assert "0.6" in found.error["source"]

    run(tmp_path, main, "circuit: false\nroutes: {{/v1/*: off}}\n" + MODELS)


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf", "1_0"])
@pytest.mark.parametrize("name", ["x-litellm-timeout", "X-Hangtight-Total"])
def test_a_time_that_cannot_be_meant_is_refused_by_its_name(tmp_path: Path, name: str, value: str) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        found = await ours.chat(headers={name: value})
        assert found.status == 400
        assert name.lower() in found.error["message"].lower()
        assert not desk.bodies

    run(tmp_path, main)


def test_what_an_sdk_says_of_its_patience_counts_only_where_somebody_chose_it() -> None:
    def chosen(value: bytes) -> float | None:
        return chosen_timeout({b"x-stainless-read-timeout": value})

    assert chosen_timeout({}) is None
    for value in (b"600", b"600.0", b"0", b"-1", b"x", b"nan", b"inf", b"1_0", b"NOT_GIVEN"):
        assert chosen(value) is None
    assert [chosen(value) for value in (b"12.5", b"601", b"900", b"1800")] == [12.5, 601, 900, 1800]
    assert read_timeout({b"x-stainless-read-timeout": b"600"}) == 600  # it leaves then, whoever chose that


# -- the retries of an SDK ------------------------------------------------------------------------------------


def at(seconds: float) -> Instant:
    return Instant(seconds)


def test_retries_of_an_sdk_share_the_deadline_of_their_first_attempt() -> None:
    retries = Retries()
    assert retries.born(1, b"0", at(10)) == at(10)
    assert retries.born(2, b"0", at(11)) == at(11)
    assert retries.born(1, b"1", at(40)) == at(10)
    assert retries.born(1, b"2", at(70)) == at(10)
    assert retries.born(2, b"1", at(71)) == at(11)


def test_who_asks_the_same_again_begins_anew_and_who_is_no_sdk_is_not_remembered() -> None:
    retries = Retries()
    retries.born(1, b"0", at(10))
    assert retries.born(1, b"0", at(40)) == at(40)
    assert retries.born(1, None, at(50)) == at(50)
    assert retries.born(1, b"1", at(60)) == at(40)
    assert retries.born(3, b"1", at(70)) == at(70)  # its first attempt was somewhere else


def test_a_call_that_has_its_answer_is_no_longer_remembered() -> None:
    retries = Retries()
    retries.forget(1, retries.born(1, b"0", at(10)))
    assert retries.born(1, b"1", at(40)) == at(40)
    retries.forget(1, at(10))  # that was another one
    assert retries.born(1, b"2", at(50)) == at(40)


def test_what_began_longer_ago_than_such_a_call_lasts_was_another_call() -> None:
    retries = Retries()
    retries.born(1, b"0", at(10))
    assert retries.born(1, b"1", at(10 + 60), 60.0) == at(10)
    assert retries.born(1, b"2", at(10 + 61), 60.0) == at(71)
    assert retries.born(1, b"3", at(71 + RETRIED_FOR)) == at(71)
    assert retries.born(1, b"4", at(72 + RETRIED_FOR)) == at(72 + RETRIED_FOR)


def test_so_many_calls_are_remembered_and_no_more() -> None:
    retries = Retries()
    for key in range(3 * RETRIES_KEPT):
        retries.born(key, b"0", at(1))
    assert len(retries._born) == RETRIES_KEPT


def test_a_retry_of_an_sdk_has_only_what_is_left_of_the_total(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        desk.is_mute = True
        request = [chat(headers={"x-stainless-retry-count": str(n), "x-hangtight-total": "0.4"}) for n in range(2)]
        first = await ours.ask(request[0])
        again = await ours.ask(request[1])
        assert (first.status, again.status, again.error["limit"]) == (504, 504, "total")
        assert len([body for body in desk.bodies if body]) == 1  # nothing was left for a second one; the rest are looks

    run(tmp_path, main, "circuit: false\n" + MODELS)


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-forwarded-for"])
def test_two_who_ask_the_same_through_one_proxy_have_a_time_each(tmp_path: Path, name: str) -> None:
    """Also where what they show is a key of ours, which goes no further."""

    async def main(ours: Before, desk: Desk) -> None:
        def asked(count: str, who: str) -> bytes:
            shown = {"authorization": "Bearer k1", name: who}
            return chat(headers={**shown, "x-stainless-retry-count": count, "x-hangtight-total": "1"})

        desk.is_mute = True
        one, other = ("Bearer k1", "Bearer k2") if name == "authorization" else ("k1", "k2")
        assert (await ours.ask(asked("0", one))).status == 504
        desk.is_mute = False
        assert (await ours.ask(asked("1", other))).status == 200
        assert (await ours.ask(asked("1", one))).status == 504

    run(tmp_path, main, "circuit: false\napiKeys: [k1, k2]\n" + MODELS)


@pytest.mark.parametrize("stream", [True, False])
def test_a_retry_of_a_later_call_in_the_same_words_has_a_time_of_its_own(tmp_path: Path, stream: bool) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        def asked(count: str) -> bytes:
            return chat(stream=stream, headers={"x-stainless-retry-count": count, "x-hangtight-total": "1"})

        assert (await ours.ask(asked("0"))).status == 200
        await asyncio.sleep(1.05)
        assert (await ours.ask(asked("1"))).status == 200

    run(tmp_path, main, "circuit: false\n" + MODELS)


def test_a_retry_long_after_the_first_try_has_a_time_of_its_own(tmp_path: Path) -> None:
    async def main(ours: Before, desk: Desk) -> None:
        def asked(count: str) -> bytes:
            return chat(headers={"x-stainless-retry-count": count, "x-hangtight-total": "1"})

        desk.is_mute = True
        assert (await ours.ask(asked("0"))).status == 504
        desk.is_mute = False
        await asyncio.sleep(1.05)
        assert (await ours.ask(asked("1"))).status == 200

    run(tmp_path, main, "circuit: false\n" + MODELS)
