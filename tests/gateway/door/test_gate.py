"""Who gets in, case by case. Nothing here opens a socket."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.errors import SettingsError
from hangtight.gateway.door.gate import Bounds, Exposed, Gate, Intake, is_direct, is_loopback, may_listen

KEY, OTHER = "sk-right-1", "sk-right-2"
AT_HOME = Gate.of("127.0.0.1")
OUTSIDE = Gate.of("0.0.0.0")
PAGE = "https://chat.example.org"


def request(
    host: str | None = "127.0.0.1:8383", path: str = "/v1/chat/completions", *, method: str = "POST", **headers: str
) -> dict[str, Any]:
    fields = [(b"host", host.encode("latin-1"))] if host is not None else []
    fields += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": fields,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8383),
    }


def verdict(gate: Gate, scope: dict[str, Any]) -> str:
    denied = gate.denies(scope)
    return denied.code if denied else "let in"


# Host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8383",
        "127.8.9.10",
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "my.localhost:80",
        "[::1]:8383",
    ],
)
def test_on_loopback_a_request_that_names_this_machine_is_let_in(host: str) -> None:
    assert verdict(AT_HOME, request(host)) == "let in"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "notlocalhost", "10.0.0.5", "0.0.0.0:8383", "[::]:8383", "2130706433"],
)
def test_on_loopback_every_other_name_is_refused_and_the_message_says_what_to_write(host: str) -> None:
    denied = AT_HOME.denies(request(host))
    assert denied is not None
    assert (denied.status, denied.code) == (403, "unknown_host")
    assert "gateway: {hosts: [" in denied.message


@pytest.mark.parametrize("host", ["", " ", "a b", "127.0.0.1@evil", "a/b", "a,b", "[::1", "host:port", "\xff", "a:1:2"])
def test_a_host_that_is_no_name_is_a_bad_request(host: str) -> None:
    assert verdict(AT_HOME, request(host)) == "bad_host"


def test_no_host_and_two_hosts_are_bad_requests() -> None:
    assert verdict(AT_HOME, request(None)) == "bad_host"
    twice = request()
    twice["headers"].append((b"host", b"127.0.0.1"))
    assert verdict(AT_HOME, twice) == "bad_host"


def test_elsewhere_an_address_is_right_since_only_a_name_can_be_turned_round() -> None:
    assert verdict(OUTSIDE, request("192.168.1.7:8383")) == "let in"
    assert verdict(OUTSIDE, request("[fe80::1]:8383")) == "let in"
    assert verdict(OUTSIDE, request("evil.example")) == "unknown_host"
    assert verdict(Gate.of("gpu-box"), request("GPU-box:8383")) == "let in"


def test_the_settings_add_names_with_all_under_them_or_all_there_are() -> None:
    gate = Gate.of("127.0.0.1", hosts=["gpu-box", "*.example.org"])
    assert verdict(gate, request("gpu-box:8383")) == "let in"
    assert verdict(gate, request("a.b.example.org")) == "let in"
    assert verdict(gate, request("example.org")) == "unknown_host"
    assert verdict(gate, request("evilexample.org")) == "unknown_host"
    assert verdict(Gate.of("127.0.0.1", hosts=["*"]), request("evil.example")) == "let in"


def test_mounted_in_another_server_it_is_that_servers_address_that_counts() -> None:
    scope = request("testserver")
    assert verdict(Gate.of(None), scope) == "unknown_host"
    assert verdict(Gate.of(None), scope | {"server": ("testserver", 80)}) == "let in"
    assert verdict(Gate.of(None), request() | {"server": None}) == "let in"


# Origin


@pytest.mark.parametrize("origin", ["http://localhost:8383", "http://127.0.0.1:3000", "http://[::1]", PAGE])
def test_pages_of_this_machine_and_listed_pages_are_let_in(origin: str) -> None:
    assert verdict(Gate.of("127.0.0.1", origins=[PAGE + "/"]), request(origin=origin)) == "let in"


@pytest.mark.parametrize(
    "origin",
    ["null", "https://evil.example", "http://10.0.0.5", "file://", "", "http://localhost@evil.example", PAGE + ".evil"],
)
def test_pages_of_strangers_are_refused(origin: str) -> None:
    assert verdict(Gate.of("127.0.0.1", origins=[PAGE]), request(origin=origin)) == "foreign_origin"


def test_that_any_address_may_name_us_opens_the_door_to_no_page() -> None:
    everything = Gate.of("0.0.0.0", hosts=["*"])
    assert verdict(everything, request("10.0.0.5:8383", origin="http://6.6.6.6")) == "foreign_origin"
    assert verdict(everything, request("10.0.0.5:8383", origin="http://10.0.0.5:8383")) == "let in"
    assert verdict(everything, request("10.0.0.5:8383", origin="http://localhost:3000")) == "foreign_origin"


def test_a_browser_that_says_cross_site_is_refused_unless_its_page_is_listed() -> None:
    assert verdict(AT_HOME, request(path="/unload", method="GET", sec_fetch_site="cross-site")) == "cross_site"
    assert verdict(AT_HOME, request(path="/ui", method="GET", sec_fetch_site="same-origin")) == "let in"
    assert verdict(AT_HOME, request(path="/ui", method="GET", sec_fetch_site="none")) == "let in"
    assert verdict(Gate.of("::1", origins=[PAGE]), request(origin=PAGE, sec_fetch_site="cross-site")) == "let in"


def test_two_origins_are_a_bad_request() -> None:
    scope = request(origin="http://localhost")
    scope["headers"].append((b"origin", b"http://localhost"))
    assert verdict(AT_HOME, scope) == "bad_origin"


def test_a_preflight_is_answered_for_listed_pages_only() -> None:
    gate = Gate.of("127.0.0.1", origins=[PAGE], keys=[KEY])
    asking = {
        "method": "OPTIONS",
        "access_control_request_method": "POST",
        "access_control_request_headers": "x-api-key",
    }
    told = dict(gate.preflight(request(origin=PAGE, **asking)) or [])
    assert told[b"access-control-allow-origin"] == PAGE.encode()
    assert told[b"access-control-allow-headers"] == b"x-api-key"
    assert gate.preflight(request(origin="https://evil.example", **asking)) is None
    assert gate.preflight(request("evil.example", origin=PAGE, **asking)) is None
    assert gate.preflight(request(origin=PAGE, method="OPTIONS")) is None
    assert gate.preflight(request(origin=PAGE, access_control_request_method="POST")) is None


def test_a_public_page_that_is_listed_may_call_a_private_address() -> None:
    asked = request(
        origin=PAGE,
        method="OPTIONS",
        access_control_request_method="POST",
        access_control_request_private_network="true",
    )
    told = dict(Gate.of("127.0.0.1", origins=[PAGE]).preflight(asked) or [])
    assert told[b"access-control-allow-private-network"] == b"true"


def test_only_listed_pages_may_read_an_answer() -> None:
    gate = Gate.of("127.0.0.1", origins=[PAGE])
    assert (b"access-control-allow-origin", PAGE.encode()) in gate.cross_origin(request(origin=PAGE))
    assert gate.cross_origin(request(origin="http://localhost:3000")) == []
    assert gate.cross_origin(request()) == []
    assert AT_HOME.cross_origin(request(origin=PAGE)) == []


# Keys


@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {OTHER} "},
        {"x_api_key": KEY},
        {"authorization": "Bearer of-the-upstream", "x_api_key": OTHER},
    ],
)
def test_each_of_the_keys_opens_in_each_of_the_headers(shown: dict[str, str]) -> None:
    assert verdict(Gate.of("127.0.0.1", keys=[KEY, OTHER]), request(**shown)) == "let in"


@pytest.mark.parametrize(
    "shown", [{"authorization": KEY}, {"authorization": f"Basic {KEY}"}, {"x_api_key": KEY[:-1]}, {"x_api_key": ""}]
)
def test_anything_else_is_a_wrong_key_and_is_not_repeated(shown: dict[str, str]) -> None:
    denied = Gate.of("127.0.0.1", keys=[KEY]).denies(request(**shown))
    assert denied is not None
    assert (denied.status, denied.code) == (401, "wrong_key")
    assert KEY[:-1] not in denied.message


def test_without_a_key_only_health_is_told() -> None:
    gate = Gate.of("127.0.0.1", keys=[KEY])
    assert verdict(gate, request()) == "no_key"
    assert verdict(gate, request(path="/health", method="GET")) == "let in"
    assert verdict(gate, request(path="/models/ready", method="GET") | {"root_path": "/models"}) == "let in"
    assert verdict(gate, request(path="/health/../v1/models")) == "no_key"
    assert verdict(gate, request("evil.example", path="/health")) == "unknown_host"


def test_no_key_and_no_empty_key_is_ever_kept_or_shown() -> None:
    gate = Gate.of("127.0.0.1", keys=[KEY, ""])
    assert len(gate.keys) == 1
    assert KEY not in repr(gate)
    assert KEY.encode() not in gate.keys
    assert verdict(Gate.of("127.0.0.1", keys=[""]), request(x_api_key="")) == "let in"


def test_our_key_does_not_travel_upstream_and_that_of_the_upstream_does() -> None:
    headers = [(b"x-api-key", KEY.encode()), (b"Authorization", b"Bearer of-the-upstream"), (b"x-title", KEY.encode())]
    assert Gate.of("::1", keys=[KEY]).without_credentials(headers) == headers[1:]
    assert Gate.of("::1").without_credentials(headers) == headers


# Where we listen


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3", "a.localhost", "::ffff:127.0.0.1"]
)
def test_a_loopback_address_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    may_listen(host, [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu-box", "", "localhost.evil.example"])
def test_elsewhere_there_must_be_a_key_or_somebody_who_means_it(host: str) -> None:
    for keys in ([], [""]):
        with pytest.raises(SettingsError) as refused:
            may_listen(host, keys)
        assert len(str(refused.value).splitlines()) == 3
        assert isinstance(pickle.loads(pickle.dumps(refused.value)), Exposed)
    may_listen(host, [KEY])
    may_listen(host, [], insecure=True)


def test_a_client_is_direct_on_loopback_without_the_traces_of_a_proxy() -> None:
    assert is_direct(request())
    assert is_direct(request() | {"client": ("::1", 1)})
    assert not is_direct(request() | {"client": ("10.0.0.5", 1)})
    assert not is_direct(request() | {"client": None})
    assert not is_direct(request() | {"http_version": "1.0"})
    for trace in ("forwarded", "via", "x_forwarded_for", "x_real_ip"):
        assert not is_direct(request(**{trace: "1.2.3.4"}))


# Bounds


def test_what_is_too_large_is_refused_with_the_status_for_it() -> None:
    gate = Gate.of("127.0.0.1", bounds=Bounds(body=1000, head=2000, fields=10, path=100))

    def status(scope: dict[str, Any]) -> int:
        denied = gate.denies(scope)
        return denied.status if denied else 200

    assert status(request(content_length="1000")) == 200
    assert status(request(content_length="1001")) == 413
    assert status(request(content_length="9" * 5000)) == 431
    assert status(request(content_length="9" * 500)) == 400
    assert status(request(content_length="-1")) == 400
    assert status(request(path="/" + "a" * 99)) == 200
    assert status(request(path="/" + "a" * 100)) == 414
    assert status(request() | {"query_string": b"a" * 100}) == 414
    assert status(request(**{f"x{number}": "1" for number in range(9)})) == 200
    assert status(request(**{f"x{number}": "1" for number in range(10)})) == 431
    assert status(request(long="a" * 2000)) == 431


def test_a_body_is_counted_while_it_is_read_whatever_was_announced() -> None:
    intake = Intake(10)
    assert intake.take(b"12345") is None
    assert intake.take(b"67890") is None
    assert intake.whole() == b"1234567890"
    denied = intake.take(b"!")
    assert denied is not None
    assert denied.status == 413
    assert "gateway: {body: 20}" in denied.message


# Laws


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"host", b"origin", b"sec-fetch-site", b"authorization", b"x-api-key", b"content-length", b"x"]
        ),
        st.binary(max_size=40)
        | st.sampled_from([b"localhost", b"127.0.0.1:1", b"http://localhost", b"Bearer " + KEY.encode()]),
    ),
    max_size=8,
)


@given(FIELDS)
def test_whatever_the_headers_are_there_is_an_answer_and_nobody_gets_in_without_key_and_host(
    fields: list[tuple[bytes, bytes]],
) -> None:
    gate = Gate.of("127.0.0.1", keys=[KEY], origins=[PAGE])
    scope = request() | {"headers": fields}
    denied = gate.denies(scope)
    gate.preflight(scope | {"method": "OPTIONS"})
    if denied is None:
        given = dict(fields)
        assert given[b"host"].lower().startswith((b"localhost", b"127."))
        assert any(KEY.encode() in value for name, value in fields if name in (b"authorization", b"x-api-key"))
    else:
        assert 400 <= denied.status < 500
        assert KEY not in denied.message
