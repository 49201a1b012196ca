"""What may stand in hangtight.yaml, and what is said about each thing that may not."""

from __future__ import annotations

import json
import re

import pytest

from hangtight.core.limits import AUTO
from hangtight.rules.schema import NOT_YET, json_schema
from hangtight.rules.schema_parts import LEAST_SAMPLES
from tests.rules.kit import Place, values

BAD_LENGTHS = ("0", "-1", "true", ".nan", ".inf", "60s", "'60'", "[60]", "{a: 1}", "9" * 400, "9" * 5000, "2020-01-01")
BAD_ADDRESSES = ("3", "localhost", "ftp://a", "http://", "http://a:x", "http://[", "http://a:0")
BAD_HOSTS = ("a", "['http://a']", "['a:80']", "['a/b']", "['*a']", "['a.*']", "['']", "[3]")
BAD_ORIGINS = ("a", "[a]", "['https://a/']", "['*']", "['https://']", "['https://a b']")
COUNTED = ("in_a_row", "least")
BAD: list[tuple[str, str]] = [
    *((f"limits: {{idle: {value}}}", "limits.idle") for value in BAD_LENGTHS),
    *((f"limits: {{cold: {value}}}", "limits.cold") for value in (*BAD_LENGTHS, "auto")),
    *((f"step_timeout: {value}", "step_timeout") for value in (*BAD_LENGTHS, "auto")),
    *((f"heartbeat: {value}", "heartbeat") for value in ("-1", "true", "off", "auto", ".nan")),
    *((f"modes: {{fast: {value}}}", "modes.fast") for value in ("0", "true", "quick", "[a]")),
    ("modes: {fast: {total: -3}}", "modes.fast.total"),
    ("modes: {fast: {models: qwen3}}", "modes.fast.models"),
    ("modes: {fast: {models: [1]}}", "modes.fast.models"),
    ("modes: [fast]", "modes"),
    ("models: qwen3", "models"),
    ("models: {a: 3}", "models.a"),
    ("models: {a: {limits: {total: no}}}", "models.a.limits.total"),
    ("models: {a: {reasons: 1}}", "models.a.reasons"),
    ("models: {a: {fallback: {b: c}}}", "models.a.fallback"),
    ("models: {a: {fallback: ['']}}", "models.a.fallback"),
    *((f"models: {{a: {{proxy: '{value}'}}}}", "models.a.proxy") for value in BAD_ADDRESSES),
    ("limits: 60", "limits"),
    ("priorities: {a: urgent}", "priorities.a"),
    ("priorities: {a: 1}", "priorities.a"),
    ("priorities: [a]", "priorities"),
    ("journal: {keep: 0}", "journal.keep"),
    ("journal: {url: 3}", "journal.url"),
    ("journal: 3", "journal"),
    ("journal: ''", "journal"),
    ("learning: {samples: 19}", "learning.samples"),
    ("learning: {samples: 100.5}", "learning.samples"),
    ("learning: {samples: true}", "learning.samples"),
    ("learning: {floors: {idle: null}}", "learning.floors.idle"),
    ("learning: {floors: {idle: 0}}", "learning.floors.idle"),
    ("default_mode: quick", "default_mode"),
    ("default_mode: 3", "default_mode"),
    ("models: {a: {proxy: 3}}", "models.a.proxy"),
    *((f"proxy_silence: {value}", "proxy_silence") for value in ("0", "-1", "true", "auto")),
    *((f"queue: {value}", "queue") for value in ("-1", "1.5", "auto", "[1]")),
    *((f"models: {{a: {{queue: {value}}}}}", "models.a.queue") for value in ("-1", "soon")),
    *(
        (f"models: {{a: {{concurrencyLimit: {value}}}}}", "models.a.concurrencyLimit")
        for value in ("-1", "true", "2.5")
    ),
    *((f"models: {{a: {{heartbeat_form: {value}}}}}", "models.a.heartbeat_form") for value in ("pong", "3", "false")),
    *((f"routes: {{/v1/messages: {value}}}", "routes./v1/messages") for value in ("pong", "null", "3")),
    *((f"routes: {{{path}: ping}}", f"routes.{path}") for path in ("v1", "/*/a", "'/a b'".strip("'"))),
    ("routes: ping", "routes"),
    ("includeAliasesInList: 1", "includeAliasesInList"),
    *((f"headers: {value}", "headers") for value in ("up", "true", "{a: b}")),
    *((f"most: {{idle: {value}}}", "most.idle") for value in ("0", "auto", "true")),
    *((f"gateway: {{hosts: {value}}}", "gateway.hosts") for value in BAD_HOSTS),
    *((f"gateway: {{origins: {value}}}", "gateway.origins") for value in BAD_ORIGINS),
    *(
        (f"gateway: {{{key}: {value}}}", f"gateway.{key}")
        for key in ("body", "headers")
        for value in ("0", "1.5", "64k")
    ),
    *((f"gateway: {{patience: {value}}}", "gateway.patience") for value in ("0", "null", "soon")),
    ("gateway: 3", "gateway"),
    *((f"circuit: {value}", "circuit") for value in ("3", "often", "[5]")),
    *((f"circuit: {{{key}: {value}}}", f"circuit.{key}") for key in COUNTED for value in ("0", "1.5", "null", "true")),
    *((f"circuit: {{share: {value}}}", "circuit.share") for value in ("0", "1.1", "true", ".nan", "null")),
    ("models: {a: {aliases: b}}", "models.a.aliases"),
    ("models: {a: {aliases: ['']}}", "models.a.aliases"),
    ("models: {a: {aliases: ['b*']}}", "models.a.aliases"),
    ("models: {a: {useModelName: ''}}", "models.a.useModelName"),
    ("models: {a: {unlisted: 1}}", "models.a.unlisted"),
    ("models: {a: {headers: 3}}", "models.a.headers"),
    ("models: {a: {timeouts: 3}}", "models.a.timeouts"),
    *((f"models: {{a: {{timeouts: {{connect: {value}}}}}}}", "models.a.timeouts.connect") for value in ("0", "null")),
]


@pytest.mark.parametrize(("text", "key"), BAD)
def test_what_cannot_be_meant_is_refused_with_file_line_and_key(place: Place, text: str, key: str) -> None:
    place.write("hangtight.yaml", f"# first\n\n{text}\n")
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key) == ("hangtight.yaml", 3, key)
    assert str(problem).startswith(f"hangtight.yaml:3: {key} = ")
    assert len(str(problem)) < 400


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("limit: {idle: 3}", "limit", "limits"),
        ("limits: {idel: 3}", "limits.idel", "idle"),
        ("limits: {firstToken: 3}", "limits.firstToken", "first_token"),
        ("limits: {first-token: 3}", "limits.first-token", "first_token"),
        ("idle: 3", "idle", "limits.idle"),
        ("models: {a: {idle: 3}}", "models.a.idle", "limits.idle"),
        ("models: {a: {fallbacks: []}}", "models.a.fallbacks", "fallback"),
        ("modes: {fast: {totl: 3}}", "modes.fast.totl", "total"),
        ("learning: {floors: {idel: 3}}", "learning.floors.idel", "idle"),
        ("journal: {kepe: 3}", "journal.kepe", "keep"),
        ("defaultMode: fast", "defaultMode", "default_mode"),
    ],
)
def test_a_key_that_is_not_known_is_told_with_the_nearest(place: Place, text: str, key: str, meant: str) -> None:
    place.write("hangtight.yaml", text)
    (problem,) = place.problems()
    assert problem.key == key
    assert problem.wanted.endswith(f"did you mean {meant}?")


def test_a_key_that_is_near_to_nothing_is_told_what_there_is(place: Place) -> None:
    place.write("hangtight.yaml", "xyzzy: 3")
    assert "limits" in place.problems()[0].wanted


def test_keys_that_cannot_be_printed_do_not_break_the_line(place: Place) -> None:
    place.write("hangtight.yaml", '"a\\nb\\x07": "c\\nd"')
    (problem,) = place.problems()
    assert str(problem).isprintable()


EMPTY = """\
limits:
modes: {fast: }
models: {a: {limits: }}
models: {a: }
modes:
models:
journal:
learning: {floors: }
priorities:
apiKeys:
most:
most: {idle: }
routes:
queue:
headers:
gateway:
gateway: {hosts: , origins: }
circuit:
models: {a: {aliases: , key: , headers: , concurrencyLimit: , queue: , heartbeat_form: , timeouts: , useModelName: }}
"""


@pytest.mark.parametrize("text", EMPTY.splitlines())
def test_a_section_with_every_line_commented_out_sets_nothing(place: Place, text: str) -> None:
    place.write("hangtight.yaml", text)
    settings = place.load()
    assert settings.remarks == ()
    assert values(settings, "fast", "a")["total"].value == 30


def test_null_is_no_limit_and_auto_is_to_be_learned(place: Place) -> None:
    place.write("hangtight.yaml", "limits: {first_token: auto, idle: auto, total: null, load: null}")
    settings = place.load()
    assert dict(settings.below[0].values) == {"first_token": AUTO, "idle": AUTO, "total": None, "load": None}
    assert values(settings)["idle"].value == 45


def test_a_mode_that_is_only_named_is_a_mode(place: Place) -> None:
    place.write("hangtight.yaml", "modes: {slow: {models: [a, b]}}\nlimits: {total: 100}")
    assert values(place.load(), "slow")["idle"].value == 15


@pytest.mark.parametrize("section", NOT_YET)
def test_keys_of_later_versions_are_allowed_and_each_is_told(place: Place, section: str) -> None:
    keys = NOT_YET[section]
    lines = [f"{key}: {{x: [1]}}" for key in keys]
    around = {"": [], "models": ["models:", " a:"], "timeouts": ["models:", " a:", "  timeouts:"]}[section]
    place.write("hangtight.yaml", "\n".join([*around, *(" " * len(around) + line for line in lines)]))
    remarks = place.load().remarks
    assert len(remarks) == len(keys)
    for number, (key, remark) in enumerate(zip(keys, remarks, strict=True), start=len(around) + 1):
        assert remark.startswith(f"hangtight.yaml:{number}: ")
        assert re.search(rf"\b{key}\b", remark)


LLAMA_SWAP = """\
healthCheckTimeout: 120
cmdSleepTimeout: 60
macros:
  "latest": /app/llama-server --port ${PORT}
models:
  "gpt-oss-20b":
    cmd: |
      ${latest}
      --model gpt.gguf
    proxy: http://127.0.0.1:${PORT}
    ttl: 300
    cmdWakeTimeout: 90
    aliases: [gpt]
  other: {cmd: other, proxy: "http://127.0.0.1:9000"}
groups:
  one: {swap: true, members: [gpt-oss-20b]}
logRequests: true
peers: {away: {proxy: "http://away"}}
"""


def test_a_configuration_of_llama_swap_is_read_and_what_it_asks_for_in_vain_is_told(place: Place) -> None:
    place.write("hangtight.yaml", LLAMA_SWAP)
    settings = place.load()
    assert [remark.split()[1] for remark in settings.remarks] == ["logRequests", "peers"]
    assert settings.canonical("gpt") == "gpt-oss-20b"
    assert settings.proxy("gpt-oss-20b") == "http://127.0.0.1:5800"
    assert settings.proxy("other") == "http://127.0.0.1:9000"


def test_the_schema_for_editors_agrees_with_what_is_accepted(place: Place) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")
    validator = jsonschema.Draft202012Validator(json_schema())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert validator.is_valid(yaml.load(LLAMA_SWAP))
    good = "limits: {idle: auto, total: null}\nmodes: {fast: 30, slow: {total: 5, models: [a]}}\njournal: off"
    assert validator.is_valid(yaml.load(good))
    unseen = (
        "default_mode",
        "models.a.proxy",
        "9",
        ".nan",
        ".inf",
        "''",
    )  # what no schema of a number or a text can say
    for text, key in BAD:
        if not any(word in text or word == key for word in unseen):
            assert not validator.is_valid(yaml.load(text)), text


def test_the_schema_has_a_description_for_every_key_and_an_example_for_every_leaf() -> None:
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, said in section["properties"].items():
            assert said.get("description") or said.get("$ref") or said.get("anyOf"), key
            assert "examples" in said or "$ref" in str(said) or said.get("x-not-yet"), key
    assert schema["$defs"]["LearningSection"]["properties"]["samples"]["minimum"] == LEAST_SAMPLES


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("limits: {idle: 1000000001}", "limits.idle"),
        ("modes: {x: 1.7e308}", "modes.x"),
        ("heartbeat: 2e9", "heartbeat"),
        ("step_timeout: 2e9", "step_timeout"),
        ("journal: {keep: 11575}", "journal.keep"),
        ("learning: {floors: {idle: 1e10}}", "learning.floors.idle"),
        ("models: {m: {limits: {load: 1e300}}}", "models.m.limits.load"),
    ],
)
def test_a_length_beyond_any_meaning_is_refused_with_its_line(place: Place, text: str, key: str) -> None:
    place.write("hangtight.yaml", f"# first\n{text}\n")
    (problem,) = place.problems()
    assert (problem.line, problem.key) == (2, key)
    assert "at most" in problem.wanted


@pytest.mark.parametrize(
    "address", ["http://x", "sqlite://", "sqlite:///", "/", ".", "..", "a/", "~", "://", "mysql://h"]
)
def test_an_address_that_can_be_no_journal_is_refused(place: Place, address: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid({"journal": address})
    for text in (f'journal: "{address}"', f'journal: {{url: "{address}"}}'):
        place.write("hangtight.yaml", text)
        (problem,) = place.problems()
        assert problem.wanted == "a path, sqlite:///PATH, postgresql://..., or off"


@pytest.mark.parametrize("word", ["off", "Off ", "none", "no", "NO", "false", "0", "'0'", "' false '"])
def test_all_words_for_no_journal_are_understood_in_a_file(place: Place, word: str) -> None:
    for text in (f"journal: {word}", f"journal: {{url: {word}}}"):
        place.write("hangtight.yaml", text)
        assert place.load().journal == "off"


@pytest.mark.parametrize("text", ["journal: null", "journal: {url: null}", "journal:"])
def test_a_journal_that_is_null_is_not_set(place: Place, text: str) -> None:
    place.write("hangtight.yaml", text)
    assert place.load().journal is None


@pytest.mark.parametrize("key", ["a", "x", "limit_of_all", "li"])
def test_a_key_that_is_like_none_has_no_hint(place: Place, key: str) -> None:
    place.write("hangtight.yaml", f"{key}: 3\nmodels: {{m: {{{key}x: 4}}}}")
    assert [problem.line for problem in place.problems()] == [1, 2]
    assert "did you mean" not in " ".join(problem.wanted for problem in place.problems())


def test_a_limit_at_the_top_is_told_where_it_belongs(place: Place) -> None:
    place.write("hangtight.yaml", "idle: 3")
    (problem,) = place.problems()
    assert problem.wanted.endswith("did you mean limits.idle?")


def test_problems_stand_in_the_order_of_the_lines(place: Place) -> None:
    place.write("hangtight.yaml", "zzz: 1\nheartbeat: -1\nlimits:\n  idle: -1\nyyy: 2\ndefault_mode: deap\n")
    place.write(".qwencoderules", "budgets: {a: -1}\nlimits: {idle: -1}")
    told = [(problem.file, problem.line) for problem in place.problems()]
    assert told == [
        (".qwencoderules", 1),
        (".qwencoderules", 2),
        *(("hangtight.yaml", line) for line in (1, 2, 4, 5, 6)),
    ]


@pytest.mark.parametrize(
    ("data", "fine"),
    [
        *(({key: None}, True) for key in ("limits", "models", "modes", "learning", "priorities", "journal")),
        ({"models": {"m": None}}, True),
        ({"models": {"m": {"limits": None}}}, True),
        ({"learning": {"floors": None}}, True),
        ({"modes": {"deep": "auto"}}, True),
        ({"modes": {"deep": None}}, True),
        ({"modes": {"deep": "soon"}}, False),
        ({"modes": {"deep": 1e10}}, False),
        ({"journal": False}, True),
        ({"journal": {"url": 0}}, True),
        ({"journal": True}, False),
        ({"journal": "~/a.db"}, True),
        ({"journal": "sqlite:////a.db"}, True),
        ({"journal": "postgresql://h/"}, True),
        ({"journal": " "}, False),
        ({"models": {"m": {"proxy": "ftp://h"}}}, False),
        ({"models": {"m": {"proxy": "HTTP://h"}}}, True),
        ({"models": {"m": {"proxy": "${macro}"}}, "macros": {"macro": "http://h"}}, True),
        ({"models": {"m": {"fallback": [" "]}}}, False),
        ({"default_mode": " "}, False),
        ({"learning": {"samples": 20.0}}, True),
        ({"queue": 20.0}, True),
        ({"queue": True}, True),
        ({"circuit": False}, True),
        ({"circuit": True}, True),
        ({"circuit": {"share": 1}}, True),
        ({"routes": {"/v1/*": "white-space", "/": "off"}}, True),
        ({"routes": {"v1": "off"}}, False),
        (
            {
                "gateway": {
                    "hosts": ["a.b", "::1", "[::1]", "127.0.0.1", "my_pc", "*.a.b", "*"],
                    "origins": ["http://a:1"],
                }
            },
            True,
        ),
        ({"gateway": {"hosts": ["a b"]}}, False),
        ({"apiKeys": ["a b"]}, False),
        ({"apiKeys": "a"}, False),
        ({"apiKeys": []}, True),
        ({"models": {"m": {"key": "${env.KEY}", "headers": {"X-A": "b ${env.C}"}}}}, True),
        ({"models": {"m": {"key": ""}}}, False),
        ({"models": {"m": {"key": "a\nb"}}}, False),
        ({"models": {"m": {"headers": {"X-A": "a\r\nHost: b"}}}}, False),
        ({"models": {"m": {"headers": {"X A": "b"}}}}, False),
        ({"models": {"m": {"headers": {"X-A": 3}}}}, False),
        ({"models": {"m": {"concurrencyLimit": 0, "queue": False, "proxy_silence": None}}}, True),
        ({"models": {"m": {"timeouts": {"connect": 3, "keepalive": 9}}}}, True),
        ({"learning": {"samples": 20.5}}, False),
        ({"learning": {"samples": 10**9}}, False),
    ],
)
def test_editors_and_the_reader_are_of_one_opinion(place: Place, data: dict[str, object], fine: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(data) == fine
    place.environment |= {"KEY": "k", "C": "c"}
    place.write("hangtight.yaml", json.dumps(data))
    assert (place.problems() == ()) == fine
