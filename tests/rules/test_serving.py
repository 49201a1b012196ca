"""What the files say to the gateway, as the gateway asks for it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from hangtight.rules.keys import PREFIX
from hangtight.rules.loading import check
from hangtight.rules.serving import FORMS, MANY, CircuitSettings, Gateway, Serving
from hangtight.rules.settings import MOST_REMEMBERED, NOTHING, Settings
from tests.rules.kit import Place, values

SECRET = "s3cr3t"


def read(place: Place, text: str) -> Settings:
    place.write("hangtight.yaml", text)
    return place.load()


# -- models -----------------------------------------------------------------------------------------------------------


def test_a_model_of_which_nobody_says_anything_is_served_as_usual() -> None:
    assert NOTHING.serving("m") == Serving("m", upstream_name="m")
    assert NOTHING.canonical("m") == "m"
    assert NOTHING.served() == ()
    assert NOTHING.gateway == Gateway()


def test_what_is_said_under_the_name_goes_before_what_a_pattern_says_key_by_key(place: Place) -> None:
    settings = read(
        place,
        "models:\n"
        " 'q*': {proxy: 'http://h:1', concurrencyLimit: 4, queue: 5, key: of-all, timeouts: {connect: 9}}\n"
        " q3: {queue: false, concurrencyLimit: 0, key: null, timeouts: {keepalive: 3}}\n",
    )
    assert settings.serving("q2") == Serving("q2", "http://h:1", "q2", key="of-all", slots=4, places=5, connect=9)
    assert settings.serving("q3") == Serving("q3", "http://h:1", "q3", connect=9)


def test_an_alias_is_served_as_the_model_that_is_meant(place: Place) -> None:
    settings = read(place, "models: {big: {proxy: 'http://h:1', aliases: [gpt, chat, gpt], useModelName: real}}")
    assert settings.canonical("gpt") == settings.canonical("chat") == settings.canonical("big") == "big"
    assert settings.canonical("other") == "other"
    assert settings.serving("chat") == settings.serving("big")
    assert settings.serving("big").aliases == ("gpt", "chat")
    assert settings.serving("big").upstream_name == "real"


def test_served_are_the_models_that_have_a_server_and_a_name_of_their_own(place: Place) -> None:
    settings = read(
        place,
        "models: {a: {proxy: 'http://h:1'}, b: {limits: {idle: 3}}, 'c*': {proxy: 'http://h:2'}, c1: {unlisted: true}}",
    )
    assert settings.served() == ("a", "c1")


@pytest.mark.parametrize(("text", "places"), [("true", MANY), ("false", 0), ("0", 0), ("7", 7), ("null", 3)])
def test_a_queue_is_a_number_or_yes_or_no_and_that_of_the_file_where_nothing_is_said(
    place: Place, text: str, places: int
) -> None:
    settings = read(place, f"queue: 3\nmodels: {{m: {{queue: {text}}}}}")
    assert settings.serving("m").places == places
    assert settings.serving("other").places == 3


def test_the_silence_of_a_proxy_is_known_to_be_said(place: Place) -> None:
    assert (NOTHING.serving("m").proxy_silence, NOTHING.serving("m").proxy_is_said) == (50, False)
    settings = read(place, "proxy_silence: 2\nmodels: {m: {proxy_silence: null}, n: {proxy_silence: 9}}")
    told = [(each.proxy_silence, each.proxy_is_said) for each in map(settings.serving, "mno")]
    assert told == [(None, True), (9, True), (2, True)]
    assert read(place, "models: {m: {proxy_silence: 9}}").serving("o").proxy_is_said is False


def test_names_made_up_by_clients_do_not_fill_the_memory() -> None:
    settings = Settings()
    for number in range(MOST_REMEMBERED * 2):
        settings.serving(str(number))
    assert len(settings._servings) <= MOST_REMEMBERED


def test_who_waits_for_a_slot_has_a_limit_like_any_other(place: Place) -> None:
    settings = read(place, "limits: {queue: 30}\nmodes: {own: {queue: 20}}\nmodels: {m: {limits: {queue: 10}}}")
    assert values(settings)["queue"].value == 10
    assert values(settings, model="other")["queue"].value == 30
    assert values(settings, mode="own")["queue"].value == 20


# -- clients ----------------------------------------------------------------------------------------------------------


def test_the_form_of_a_heartbeat_goes_by_the_very_path_and_then_by_the_first_pattern(place: Place) -> None:
    gateway = read(place, "routes: {/v1/*: empty-delta, /v1/messages: ping, '/*': 'off'}").gateway
    paths = ["/v1/messages", "/v1/chat/completions", "/api/chat"]
    assert [gateway.form(path) for path in paths] == ["ping", "empty-delta", "off"]
    assert Gateway().form("/v1/messages") is None


@pytest.mark.parametrize("form", FORMS)
def test_each_form_may_be_written_for_a_route_and_for_a_model(place: Place, form: str) -> None:
    settings = read(place, f"routes: {{/a: {form}}}\nmodels: {{m: {{heartbeat_form: {form}}}}}")
    assert settings.gateway.form("/a") == settings.serving("m").form == form


@pytest.mark.parametrize(("word", "may"), [("raise", True), ("cut", False), ("null", None)])
def test_headers_may_raise_a_limit_where_the_file_says_so(place: Place, word: str, may: bool | None) -> None:
    assert read(place, f"headers: {word}").gateway.may_raise is may


def test_hosts_are_kept_as_the_gate_compares_them(place: Place) -> None:
    settings = read(place, "gateway: {hosts: [Models.Example.org, '[::1]', 'fe80::A', '*.example.org']}")
    assert settings.gateway.hosts == ("models.example.org", "::1", "fe80::a", "*.example.org")


def test_a_maximum_that_is_null_is_none(place: Place) -> None:
    assert read(place, "most: {total: 1800, idle: null}").gateway.most == {"total": 1800}


@pytest.mark.parametrize(
    ("text", "circuit"),
    [
        ("false", None),
        ("true", CircuitSettings()),
        ("null", CircuitSettings()),
        ("{in_a_row: 3, first: 1}", CircuitSettings(in_a_row=3, first=1)),
    ],
)
def test_a_circuit_may_be_switched_off_or_changed(place: Place, text: str, circuit: CircuitSettings | None) -> None:
    assert read(place, f"circuit: {text}").gateway.circuit == circuit


def test_a_circuit_cannot_be_open_longer_than_at_most(place: Place) -> None:
    place.write("hangtight.yaml", "circuit: {first: 301}")
    (problem,) = place.problems()
    assert (problem.line, problem.key) == (1, "circuit")


def test_the_rules_of_a_project_say_nothing_about_the_gateway(place: Place) -> None:
    place.write(".qwencoderules", "apiKeys: [a]\nqueue: 3\nmodels: {m: {key: a, aliases: [b], limits: {idle: 7}}}")
    settings = place.load()
    assert settings.gateway == Gateway()
    assert (settings.serving("m"), settings.canonical("b")) == (Serving("m", upstream_name="m"), "b")
    assert [remark.split()[1] for remark in settings.remarks] == [
        "apiKeys",
        "queue",
        "models.m.key",
        "models.m.aliases",
    ]
    assert values(settings)["idle"].value == 7


def test_each_setting_of_the_gateway_knows_its_line(place: Place) -> None:
    settings = read(place, "queue: 3\napiKeys: [a]\nmodels:\n m:\n  aliases: [b]\n  key: a\n")
    assert settings.places == {
        "queue": "hangtight.yaml:1",
        "apiKeys": "hangtight.yaml:2",
        "models.m.aliases": "hangtight.yaml:5",
        "models.m.key": "hangtight.yaml:6",
    }


# -- aliases that clash -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("a: {aliases: [x]}\n b: {aliases: [y, x]}", 3, "models.b.aliases"),
        ("a: {aliases: [b]}\n b: {limits: {idle: 3}}", 2, "models.a.aliases"),
        ("a: {aliases: [a]}", 2, "models.a.aliases"),
        ("'a*': {aliases: [x]}", 2, "models.a*.aliases"),
        ("a:\n   aliases:\n   - x\n   - b\n b:", 5, "models.a.aliases"),
    ],
)
def test_an_alias_that_does_not_tell_a_model_is_refused_with_its_line(
    place: Place, text: str, line: int, key: str
) -> None:
    place.write("hangtight.yaml", f"models:\n {text}\n")
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key) == ("hangtight.yaml", line, key)


def test_all_that_is_wrong_is_told_at_once(place: Place) -> None:
    text = (
        "apiKeys: ['${env.GONE}']\nqueue: -1\nmodels:\n a: {aliases: [b]}\n b: {concurrencyLimit: -1}\n c: {key: ''}\n"
    )
    place.write("hangtight.yaml", text)
    assert [problem.line for problem in place.problems()] == [1, 2, 4, 5, 6]


# -- keys and headers -------------------------------------------------------------------------------------------------

WITH_SECRETS = """\
apiKeys: ["${env.ONE}", two]
models:
  m:
    key: Bearer-${env.ONE}
    headers: {X-Team: "team ${env.TEAM}"}
"""


def test_variables_are_filled_into_keys_and_headers(place: Place) -> None:
    place.environment |= {"ONE": SECRET, "TEAM": "red"}
    settings = read(place, WITH_SECRETS)
    assert settings.gateway.keys == (SECRET, "two")
    assert settings.serving("m").key == f"Bearer-{SECRET}"
    assert settings.serving("m").headers == (("X-Team", "team red"),)


def test_variables_may_stand_in_the_dotenv_below_those_of_the_process(place: Place) -> None:
    place.write(".env", f"ONE={SECRET}\nTEAM='blue'\n")
    place.environment["TEAM"] = "red"
    settings = read(place, WITH_SECRETS)
    assert settings.gateway.keys == (SECRET, "two")
    assert settings.serving("m").headers == (("X-Team", "team red"),)


@pytest.mark.parametrize("how", ["unset", "empty"])
def test_a_variable_that_is_not_set_is_told_with_the_line_that_names_it(place: Place, how: str) -> None:
    place.environment |= {"TEAM": "red"} | ({"ONE": ""} if how == "empty" else {})
    place.write("hangtight.yaml", WITH_SECRETS)
    problems = place.problems()
    assert [(problem.line, problem.key, problem.found) for problem in problems] == [
        (1, "apiKeys", "${env.ONE}"),
        (4, "models.m.key", "${env.ONE}"),
    ]
    assert all("ONE" in problem.wanted for problem in problems)


@pytest.mark.parametrize("written", ["${LATEST}", "${env.}", "${env.A", "${env.A-B}", "${}", "a${PORT}b", "${"])
def test_another_macro_is_refused_and_never_taken_for_a_key(place: Place, written: str) -> None:
    place.write("hangtight.yaml", f"\napiKeys: ['{written}']")
    (problem,) = place.problems()
    assert (problem.line, problem.key) == (2, "apiKeys")
    assert "${env.NAME}" in problem.wanted


def test_a_value_with_braces_is_not_filled_in_again(place: Place) -> None:
    place.environment |= {"ONE": "${env.TEAM}", "TEAM": "red"}
    assert read(place, WITH_SECRETS).gateway.keys == ("${env.TEAM}", "two")


def test_a_file_is_checked_where_its_secrets_are_not(place: Place) -> None:
    place.write("hangtight.yaml", WITH_SECRETS)
    settings = check(Path("hangtight.yaml"), folder=place.folder, home=place.home)
    assert settings.remarks == ()


@pytest.mark.parametrize("ending", ["\n", "\r\nHost: other", " ", "\0", "é"])
def test_what_would_break_a_header_is_no_key_wherever_it_comes_from(place: Place, ending: str) -> None:
    place.environment |= {"ONE": SECRET + ending, "TEAM": "red"}
    place.write("hangtight.yaml", WITH_SECRETS)
    assert [problem.key for problem in place.problems()] == ["apiKeys", "models.m.key"]
    assert SECRET not in str(place.problems())


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "X A", "X:A", ""])
def test_a_header_about_the_connection_itself_is_refused(place: Place, name: str) -> None:
    place.write("hangtight.yaml", f"models: {{m: {{headers: {{'{name}': {SECRET}}}}}}}")
    (problem,) = place.problems()
    assert problem.key == f"models.m.headers.{name}"
    assert SECRET not in str(problem)


def test_keys_are_in_no_text_of_the_settings(place: Place) -> None:
    place.environment |= {"ONE": SECRET, "TEAM": SECRET}
    settings = read(place, f"{WITH_SECRETS}  n: {{key: {SECRET}, headers: {{A: {SECRET}}}}}")
    shown = f"{settings!r} {settings} {settings.serving('m')!r} {settings.gateway!r} {settings.models['n']!r}"
    assert SECRET not in shown
    assert SECRET not in f"{settings.places} {settings.remarks}"
    assert pickle.loads(pickle.dumps(settings)).gateway.keys == settings.gateway.keys


@pytest.mark.parametrize(
    "text",
    [
        f"apiKeys: {SECRET}",
        f"apiKeys: [a, [{SECRET}]]",
        f"apiKeys: ['{SECRET} x']",
        f"models: {{m: {{key: '{SECRET} x'}}}}",
        f"models: {{m: {{key: [{SECRET}]}}}}",
        f"models: {{m: {{headers: {SECRET}}}}}",
        f"models: {{m: {{headers: {{A: [{SECRET}]}}}}}}",
        f"models: {{m: {{headers: ['A: {SECRET}']}}}}",
        f"apiKeys: ['{SECRET}-${{env.{PREFIX}GONE}}']",
    ],
)
def test_a_key_that_cannot_be_used_is_refused_without_being_shown(place: Place, text: str) -> None:
    place.write("hangtight.yaml", text)
    (problem,) = place.problems()
    assert SECRET not in f"{problem} {problem!r}"
