"""Sleep by requests to the model's own server, as llmsnap has it, and the look at a model after its wake."""

from __future__ import annotations

import pytest

from hangtight.rules.running import Errand
from tests.rules.kit import Place
from tests.rules.test_running import SECRET, one, read, run

BY_REQUESTS = "sleepEndpoints: [{endpoint: '/sleep?level=1'}], wakeEndpoints: [{endpoint: /wake_up}]"
ENABLED = f"sleepMode: enable, {BY_REQUESTS}"


def test_the_example_of_llmsnap_is_read_as_there(place: Place) -> None:
    running = run(
        place,
        """
sleepRequestTimeout: 20
models:
  m:
    sleepMode: enable
    cmd: vllm serve m --port ${PORT}
    sleepEndpoints:
      - endpoint: /sleep?level=2
        method: post
        timeout: 15
    wakeEndpoints:
      - endpoint: wake_up
      - endpoint: /collective_rpc
        method: POST
        body: '{"method": "reload_weights"}'
        timeout: 12
      - {endpoint: "/${MODEL_ID}/${PORT}", method: GET, body: {method: reload}}
""",
    )
    assert running.sleep_errands == (Errand("/sleep?level=2", seconds=15),)
    assert running.wake_errands == (
        Errand("/wake_up"),
        Errand("/collective_rpc", body='{"method": "reload_weights"}', seconds=12),
        Errand("/m/5800", "GET", '{"method": "reload"}'),
    )
    assert running.sleeps
    assert (running.sleep, running.wake, running.sleep_command) == (60, 60, ())


def test_the_limit_of_a_request_is_its_own_then_the_models_then_the_files(place: Place) -> None:
    top = "sleepRequestTimeout: 1\nwakeRequestTimeout: 2"
    running = run(place, one(f"{ENABLED}, wakeRequestTimeout: 3", top))
    assert (running.sleep_errands[0].seconds, running.wake_errands[0].seconds) == (1, 3)
    running = run(place, one(ENABLED))
    assert (running.sleep_errands[0].seconds, running.wake_errands[0].seconds) == (None, None)


def test_many_models_may_sleep_in_one_way_and_a_command_of_their_own_goes_before_it(place: Place) -> None:
    settings = read(
        place,
        "sleepMode: enable\nmodels:\n"
        f" 'v*': {{{BY_REQUESTS}}}\n"
        " v1: {cmd: 'a ${PORT}'}\n"
        " v2: {cmd: 'a ${PORT}', cmdSleep: a, cmdWake: b}\n"
        " v3: {cmd: 'a ${PORT}', sleepMode: disable}\n"
        " w: {cmd: 'a ${PORT}'}\n",
    )
    one, two, three, other = settings.runs.values()
    assert (one.sleep_errands, one.sleep_command) == ((Errand("/sleep?level=1"),), ())
    assert (two.sleep_errands, two.sleep_command) == ((), ("a",))
    assert [each.sleeps for each in (one, two, three, other)] == [True, True, False, False]
    assert settings.remarks == ()


def test_a_mode_that_is_off_switches_commands_off_too(place: Place) -> None:
    assert not run(place, one("sleepMode: disable, cmdSleep: a, cmdWake: b")).sleeps


def test_requests_that_nobody_switches_on_and_a_switch_for_nothing_are_told(place: Place) -> None:
    settings = read(place, one(BY_REQUESTS))
    assert [remark.split()[1] for remark in settings.remarks] == ["models.m.sleepEndpoints"]
    running = settings.running("m")
    assert running is not None
    assert not running.sleeps
    assert [each.split()[1] for each in read(place, one("sleepMode: enable")).remarks] == ["models.m.sleepMode"]
    assert read(place, one("sleepMode: enable, cmdSleep: a, cmdWake: b")).remarks == ()


@pytest.mark.parametrize(
    "bad",
    [
        "[]", "x", "[x]", "{endpoint: /a}", "[{}]", "[{endpoint: 1}]", "[{endpoint: 'a b'}]", "[{endpoint: /a, x: 1}]",
        "[{endpoint: /a, method: CONNECT}]", "[{endpoint: /a, method: 1}]", "[{endpoint: /a, body: 1}]",
        "[{endpoint: /a, body: [.nan]}]",
        *(f"[{{endpoint: /a, timeout: {value}}}]" for value in ("0", "-1", "true", "soon", ".nan", "'9'")),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_with_its_line(place: Place, bad: str) -> None:
    place.write("hangtight.yaml", f"models:\n m:\n  cmd: a ${{PORT}}\n  sleepEndpoints: {bad}\n  wakeEndpoints: {bad}")
    told = [(each.line, each.key) for each in place.problems()]
    assert told == [(4, "models.m.sleepEndpoints"), (5, "models.m.wakeEndpoints")]


def test_which_of_the_requests_is_wrong_is_told(place: Place) -> None:
    place.write("hangtight.yaml", one(f"{BY_REQUESTS.replace('/wake_up', '/wake_up}, {endpoint: /a, timeout: 0')}"))
    assert "number 2 must have a `timeout` that is a number of seconds above 0" in place.problems()[0].wanted


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ("sleepEndpoints: [{endpoint: a}]", "models.m.sleepEndpoints"),
        ("wakeEndpoints: [{endpoint: a}]", "models.m.wakeEndpoints"),
        (f"{ENABLED}, cmdSleep: a, cmdWake: b", "models.m.sleepEndpoints"),
        (f"{BY_REQUESTS}, kind: process", "models.m.sleepEndpoints"),
        ("canary: true, kind: process", "models.m.canary"),
        ("canary: 1", "models.m.canary"),
        ("sleepMode: on", "models.m.sleepMode"),
        ("sleepRequestTimeout: 0", "models.m.sleepRequestTimeout"),
        ("wakeRequestTimeout: null", "models.m.wakeRequestTimeout"),
    ],
)
def test_what_does_not_fit_together_is_refused(place: Place, own: str, key: str) -> None:
    place.write("hangtight.yaml", one(own))
    assert [(each.line, each.key) for each in place.problems()] == [(3, key)]


def test_a_secret_in_a_body_is_not_shown(place: Place) -> None:
    place.environment["KEY"] = SECRET
    body = "{endpoint: /a, body: {key: '${env.KEY}'}}"
    settings = read(place, one(f"sleepMode: enable, sleepEndpoints: [{body}], wakeEndpoints: [{body}], key: {SECRET}"))
    running = settings.running("m")
    assert running is not None
    assert SECRET in running.sleep_errands[0].body
    assert SECRET not in f"{settings.runs!r} {running!r}"
    place.write("hangtight.yaml", one(f"sleepEndpoints: [{{body: {SECRET}}}], wakeEndpoints: [{{endpoint: /a}}]"))
    assert SECRET not in str(place.problems())


def test_its_server_is_asked_by_its_own_name_with_the_key_that_it_wants(place: Place) -> None:
    running = run(place, one("useModelName: other, key: k, headers: {X-A: b}, canary: true"))
    assert (running.canary, running.asked_as) == (True, "other")
    assert running.headers == (("authorization", "Bearer k"), ("x-a", "b"))
    usual = run(place, one())
    assert (usual.canary, usual.asked_as, usual.headers) == (False, "", ())
