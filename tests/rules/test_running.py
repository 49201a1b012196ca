"""What the files say about model servers that are run by us: their clocks, commands, groups, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hangtight.rules.finding import Origin
from hangtight.rules.loading import check
from hangtight.rules.running import OTHERS, Group, Logging, Running, changes
from hangtight.rules.schema import json_schema
from hangtight.rules.settings import NOTHING, Settings
from tests.rules.kit import Place

SECRET = "s3cr3t"
EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.yaml"
SLEEPY = "cmdSleep: sleep-it, cmdWake: wake-it"


def read(place: Place, text: str) -> Settings:
    place.write("hangtight.yaml", text)
    return place.load()


def run(place: Place, text: str, name: str = "m") -> Running:
    running = read(place, text).running(name)
    assert running is not None
    return running


def one(own: str = "", top: str = "") -> str:
    """A file with one model that is run, what its section says besides, and what stands above it."""
    return f"{top}\nmodels:\n m: {{cmd: 'serve ${{PORT}}'{', ' if own else ''}{own}}}\n"


def clocks(place: Place, own: str = "", top: str = "") -> tuple[float, float]:
    running = run(place, one(own, top))
    return running.sleep, running.wake


# -- the clocks of sleep and wake, as their own tests have them -------------------------------------------------------


def test_nothing_configured_is_60_and_60(place: Place) -> None:
    assert clocks(place) == (60, 60)


def test_global_holds_for_each_model(place: Place) -> None:
    assert clocks(place, top="cmdSleepTimeout: 120\ncmdWakeTimeout: 90") == (120, 90)


def test_a_model_has_its_own(place: Place) -> None:
    assert clocks(place, f"cmdSleepTimeout: 180, cmdWakeTimeout: 120, {SLEEPY}") == (180, 120)


def test_model_goes_before_global_goes_before_60(place: Place) -> None:
    settings = read(
        place,
        "cmdSleepTimeout: 30\nmodels:\n big: {cmd: 'a ${PORT}', cmdSleepTimeout: 90}\n small: {cmd: 'b ${PORT}'}\n",
    )
    told = [(each.sleep, each.wake) for each in settings.runs.values()]
    assert told == [(90, 60), (30, 60)]


def test_they_are_parsed_at_both_levels(place: Place) -> None:
    assert clocks(place, "cmdWakeTimeout: 0.5", top="cmdSleepTimeout: 1.5") == (1.5, 0.5)


def test_they_may_be_omitted(place: Place) -> None:
    assert read(place, one(SLEEPY)).remarks == ()


CLOCK_KEYS = ("cmdSleepTimeout", "cmdWakeTimeout", "healthCheckTimeout", "unloadTimeout", "drainTimeout")
NO_LENGTHS = ("0", "-1", "-0.5", "true", "soon", "60s", "'60'", ".nan", ".inf", "null", "[60]", "{a: 1}", "2e9")


@pytest.mark.parametrize("key", CLOCK_KEYS)
@pytest.mark.parametrize("value", NO_LENGTHS)
def test_0_and_negative_and_all_that_is_no_length_is_refused_at_both_levels(place: Place, key: str, value: str) -> None:
    place.write("hangtight.yaml", f"\n{key}: {value}\nmodels:\n m:\n  cmd: a ${{PORT}}\n  {key}: {value}\n")
    problems = place.problems()
    assert [(each.file, each.line, each.key) for each in problems] == [
        ("hangtight.yaml", 2, key),
        ("hangtight.yaml", 6, f"models.m.{key}"),
    ]


def test_the_same_order_holds_for_every_clock_of_a_process_and_each_knows_its_place(place: Place) -> None:
    top = "healthCheckTimeout: 5\nunloadTimeout: 6\nhang: 7"
    running = run(place, one("unloadTimeout: 8, drainTimeout: 9, hang: null", top))
    assert (running.start, running.stop, running.drain, running.hang) == (5, 8, 9, None)
    assert running.sources == {
        "healthCheckTimeout": "hangtight.yaml:1",
        "cmdSleepTimeout": "default",
        "cmdWakeTimeout": "default",
        "unloadTimeout": "hangtight.yaml:5",
        "drainTimeout": "hangtight.yaml:5",
        "hang": "hangtight.yaml:5",
        "ttl": "default",
    }


def test_what_is_not_said_is_as_documented(place: Place) -> None:
    running = run(place, one())
    assert running == Running(name="m", command=("serve", "5800"), proxy="http://localhost:5800")
    assert (running.start, running.sleep, running.wake, running.stop, running.drain) == (120, 60, 60, 10, 300)
    assert (running.hang, running.ttl, running.stall, running.check) == (300, None, None, "/health")
    assert (running.signal, running.kind, running.group, running.sleeps) == ("SIGTERM", "server", OTHERS, False)


def test_what_a_pattern_says_stands_between_the_model_and_the_file(place: Place) -> None:
    settings = read(
        place,
        "cmdSleepTimeout: 1\nunloadTimeout: 2\n"
        "models:\n"
        " 'q*': {cmdSleepTimeout: 3, cmdWakeTimeout: 4, ttl: 5, checkEndpoint: none}\n"
        " q1: {cmd: 'a ${PORT}', cmdWakeTimeout: 6}\n",
    )
    running = settings.running("q1")
    assert running is not None
    assert (running.sleep, running.wake, running.stop, running.ttl, running.check) == (3, 6, 2, 5, None)
    assert running.sources["cmdSleepTimeout"] == "hangtight.yaml:4"
    assert settings.run_models() == ("q1",)


@pytest.mark.parametrize(
    ("own", "top", "ttl"),
    [
        ("", "", None),
        ("", "globalTTL: 0", None),
        ("", "globalTTL: 9", 9),
        ("ttl: -1", "globalTTL: 9", 9),
        ("ttl: 0", "globalTTL: 9", None),
        ("ttl: null", "globalTTL: 9", None),
        ("ttl: 0.5", "globalTTL: 9", 0.5),
    ],
)
def test_ttl_is_the_models_own_or_that_of_all_and_0_is_never(
    place: Place, own: str, top: str, ttl: float | None
) -> None:
    assert run(place, one(own, top)).ttl == ttl


def test_a_load_that_is_watched_by_its_progress_has_a_stall_and_a_ceiling(place: Place) -> None:
    bare = run(place, one("load: 60", "healthCheckTimeout: 5"))
    assert (bare.stall, bare.start, bare.sources["healthCheckTimeout"]) == (60, 1800, "hangtight.yaml:3")
    both = run(place, one("load: {stall: 30, ceiling: 900}"))
    assert (both.stall, both.start) == (30, 900)
    assert run(place, one("load: null")).stall is None
    assert run(place, one("load: {ceiling: 900}")).stall == 300


# -- commands ---------------------------------------------------------------------------------------------------------


def test_a_command_may_stand_on_many_lines_with_comments_and_is_split_like_a_shell_does(place: Place) -> None:
    text = """\
models:
  m:
    cmd: |
      # the server, ${NOBODY} looks at this line
      serve --port ${PORT} \\
        --model '/models/a b.gguf'   --name "x # y"
        # --verbose
      --tail a\\ b '' $HOME;rm
"""
    words = ("--port", "5800", "--model", "/models/a b.gguf", "--name", "x # y", "--tail", "a b", "", "$HOME;rm")
    assert run(place, text).command == ("serve", *words)


def test_a_process_of_one_request_has_no_address_and_is_not_probed(place: Place) -> None:
    running = run(place, "models: {m: {cmd: llama-cli -m a.gguf, kind: process}}")
    assert (running.proxy, running.check, running.kind) == (None, None, "process")


@pytest.mark.parametrize(
    ("own", "line", "key"),
    [
        ("cmdSleep: a", 3, "models.m.cmdSleep"),
        ("cmdWake: a", 3, "models.m.cmdWake"),
        ("cmdStop: ''", 3, "models.m.cmdStop"),
        ("cmdStop: '# nothing'", 3, "models.m.cmdStop"),
        ("cmdStop: [a]", 3, "models.m.cmdStop"),
        ('cmdStop: "a \'b"', 3, "models.m.cmdStop"),
        ('cmdStop: "a\\0b"', 3, "models.m.cmdStop"),
        ("ttl: -2", 3, "models.m.ttl"),
        ("ttl: true", 3, "models.m.ttl"),
        ("ttl: soon", 3, "models.m.ttl"),
        ("ttl: [0]", 3, "models.m.ttl"),
        ("hang: 0", 3, "models.m.hang"),
        ("checkEndpoint: 'a b'", 3, "models.m.checkEndpoint"),
        ("checkEndpoint: 3", 3, "models.m.checkEndpoint"),
        ("checkEndpoint: /hé", 3, "models.m.checkEndpoint"),
        ("checkEndpoint: 'http://x/y'", 3, "models.m.checkEndpoint"),
        ("checkEndpoint: /a#b", 3, "models.m.checkEndpoint"),
        ("env: A=b", 3, "models.m.env"),
        ("env: [A]", 3, "models.m.env"),
        ("env: ['=b']", 3, "models.m.env"),
        ("stopSignal: SIGFOO", 3, "models.m.stopSignal"),
        ("stopSignal: 15", 3, "models.m.stopSignal"),
        ("kind: thing", 3, "models.m.kind"),
        ("kind: process, proxy: 'http://a'", 3, "models.m.proxy"),
        ("load: 0", 3, "models.m.load"),
        ("load: {ceiling: 0}", 3, "models.m.load.ceiling"),
        ("load: 3, healthCheckTimeout: 3", 3, "models.m.load"),
        ("macros: [a]", 3, "models.m.macros"),
        ("sendLoadingState: 1", 3, "models.m.sendLoadingState"),
        ("metadata: [a]", 3, "models.m.metadata"),
        ("name: ''", 3, "models.m.name"),
        ("filters: {stripParams: [a]}", 3, "models.m.filters.stripParams"),
        ("filters: {setParams: a}", 3, "models.m.filters.setParams"),
        ("filters: {setParamsByID: {a: 1}}", 3, "models.m.filters.setParamsByID"),
        ("load: {stall: 5, ceiling: 2}", 3, "models.m.load"),
        ("load: {stall: 5, ceiling: 5}", 3, "models.m.load"),
        ("load: 1800", 3, "models.m.load"),
    ],
)
def test_what_a_model_cannot_mean_is_refused_with_file_line_and_key(
    place: Place, own: str, line: int, key: str
) -> None:
    place.write("hangtight.yaml", one(own))
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key) == ("hangtight.yaml", line, key)


@pytest.mark.parametrize(
    ("top", "key"),
    [
        ("globalTTL: -1", "globalTTL"),
        ("startPort: 0", "startPort"),
        ("startPort: 65536", "startPort"),
        ("startPort: true", "startPort"),
        ("logLevel: loud", "logLevel"),
        ("logToStdout: all", "logToStdout"),
        ("hooks: {on_startup: {preload: m}}", "hooks.on_startup.preload"),
        ("hooks: {on_startup: {preload: [n]}}", "hooks.on_startup.preload"),
        ("hooks: {on_start: {}}", "hooks.on_start"),
        ("groups: {g: {members: [n]}}", "groups.g.members"),
        ("groups: {g: {members: []}}", "groups.g"),
        ("groups: {g: }", "groups.g"),
        ("groups: {g: {swap: 1, members: [m]}}", "groups.g.swap"),
        ("groups: {g: {members: [m]}, h: {members: [m]}}", "groups.h.members"),
        ("groups: {(default): {members: [m]}}", "groups.(default)"),
        ("macros: {PORT: 1}", "macros.PORT"),
        ("macros: {PID: 1}", "macros.PID"),
        ("macros: {MODEL_ID: a}", "macros.MODEL_ID"),
        ("macros: {'a b': c}", "macros.a b"),
        ("macros: {a: [b]}", "macros.a"),
        ("macros: {a: null}", "macros.a"),
    ],
)
def test_what_the_file_cannot_mean_is_refused_with_file_line_and_key(place: Place, top: str, key: str) -> None:
    place.write("hangtight.yaml", one(top=top))
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key) == ("hangtight.yaml", 1, key)


@pytest.mark.parametrize("key", ["cmd", "cmdStop", "env", "kind", "macros"])
def test_a_section_that_stands_for_many_models_runs_none(place: Place, key: str) -> None:
    value = {"env": "[A=b]", "kind": "server", "macros": "{a: b}"}.get(key, "a b")
    place.write("hangtight.yaml", f"models:\n 'q*': {{{key}: {value}}}")
    (problem,) = place.problems()
    assert (problem.line, problem.key) == (2, f"models.q*.{key}")


def test_what_does_nothing_without_a_command_is_told(place: Place) -> None:
    settings = read(place, "models: {m: {proxy: 'http://a', ttl: 3, unloadTimeout: 4}}")
    assert [remark.split()[1] for remark in settings.remarks] == ["models.m.unloadTimeout", "models.m.ttl"]
    assert settings.running("m") is None


def test_a_secret_in_a_command_or_its_environment_is_not_shown(place: Place) -> None:
    place.environment["KEY"] = SECRET
    place.write("hangtight.yaml", one(f'cmdStop: "stop \'${{env.KEY}}", env: [{SECRET}]'))
    assert [each.key for each in place.problems()] == ["models.m.cmdStop", "models.m.env"]
    assert SECRET not in str(place.problems())
    settings = read(place, one("cmdStop: 'stop ${env.KEY}', env: ['A=${env.KEY}']"))
    assert SECRET not in f"{settings!r} {settings.running('m')!r} {settings.places}"


def test_the_schema_for_editors_knows_these_keys_and_refuses_what_we_refuse() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    model = {"cmd": "a", "ttl": -1, "cmdSleepTimeout": "${T}", "load": 3, "macros": {"T": 3}}
    assert validator.is_valid({"models": {"m": model}, "globalTTL": 0, "groups": {"g": {"members": ["m"]}}})
    for bad in ({"cmdSleepTimeout": 0}, {"cmdWakeTimeout": True}, {"macros": {"PORT": 1}}, {"logLevel": "loud"}):
        assert not validator.is_valid(bad), bad


# -- groups, preload, log ---------------------------------------------------------------------------------------------


def test_groups_are_as_written_and_the_others_are_one_group(place: Place) -> None:
    models = "models: {a: {cmd: 'a ${PORT}'}, b: {cmd: 'b ${PORT}'}, c: {cmd: 'c ${PORT}'}, d: {proxy: 'http://d'}}"
    settings = read(
        place, f"groups: {{g: {{members: [b], swap: false, exclusive: false, persistent: true}}}}\n{models}"
    )
    assert dict(settings.groups) == {
        "g": Group("g", ("b",), swap=False, exclusive=False, persistent=True),
        OTHERS: Group(OTHERS, ("a", "c")),
    }
    assert [each.group for each in settings.runs.values()] == [OTHERS, "g", OTHERS]
    assert dict(read(place, "models: {d: {proxy: 'http://d'}}").groups) == {}


def test_preloaded_are_those_of_the_hook(place: Place) -> None:
    settings = read(
        place, "hooks: {on_startup: {preload: [b, b]}}\nmodels: {a: {cmd: 'a ${PORT}'}, b: {cmd: 'b ${PORT}'}}"
    )
    assert settings.preload == ("b",)
    assert [each.preload for each in settings.runs.values()] == [False, True]


def test_an_alias_is_run_as_the_model_that_is_meant(place: Place) -> None:
    settings = read(place, one("aliases: [x], filters: {setParamsByID: {'${MODEL_ID}:high': {effort: 9}, m: {}}}"))
    assert settings.running("x") == settings.running("m:high") == settings.running("m")
    assert settings.serving("m:high").set_by_id == {"m:high": {"effort": 9}, "m": {}}


def test_an_alias_made_by_a_filter_may_clash_like_any_other(place: Place) -> None:
    place.write("hangtight.yaml", "models:\n a: {filters: {setParamsByID: {x: {}}}}\n b: {aliases: [x]}")
    assert [(each.line, each.key) for each in place.problems()] == [(3, "models.b.aliases")]


def test_nobody_touches_the_parameter_that_says_who_is_meant(place: Place) -> None:
    settings = read(place, one("filters: {stripParams: 'model, a', setParams: {model: b, c: 1}}"))
    serving = settings.serving("m")
    assert (serving.strip, serving.set) == (("a",), {"c": 1})
    assert len(settings.remarks) == 2


def test_the_log_is_as_the_file_says(place: Place) -> None:
    assert NOTHING.logging == Logging("info", "proxy")
    assert read(place, "logLevel: debug\nlogToStdout: none").logging == Logging("debug", "none")


@pytest.mark.parametrize(
    ("own", "top", "told"), [("", "true", True), ("false", "true", False), ("true", "false", True)]
)
def test_the_loading_state_is_the_models_own_or_that_of_the_file(place: Place, own: str, top: str, told: bool) -> None:
    text = one(f"sendLoadingState: {own}" if own else "", f"sendLoadingState: {top}")
    assert read(place, text).serving("m").loading_state is told


# -- who may start something ------------------------------------------------------------------------------------------


def test_a_file_that_only_lay_in_the_working_folder_may_run_nothing(place: Place) -> None:
    place.write("hangtight.yaml", one())
    assert (place.load().origin, place.load().may_run) == (Origin.FOLDER, False)
    named = place.load("hangtight.yaml")
    assert (named.origin, named.may_run) == (Origin.NAMED, True)


def test_the_working_folder_cannot_name_a_file_that_may_run_something(place: Place) -> None:
    place.write("other.yaml", one())
    place.write(".env", "HANGTIGHT_CONFIG=other.yaml")
    assert (place.load().origin, place.load().may_run) == (Origin.DOTENV, False)
    place.environment["HANGTIGHT_CONFIG"] = "other.yaml"
    assert (place.load().origin, place.load().may_run) == (Origin.ENVIRONMENT, True)


def test_the_users_own_file_may_run_something_and_none_runs_nothing(place: Place) -> None:
    assert (place.load().origin, place.load().may_run) == (Origin.NOWHERE, False)
    place.environment["XDG_CONFIG_HOME"] = str(place.home / "conf")
    (place.home / "conf" / "hangtight").mkdir(parents=True)
    (place.home / "conf" / "hangtight" / "hangtight.yaml").write_text(one())
    assert (place.load().origin, place.load().may_run) == (Origin.OF_THE_USER, True)


def test_the_rules_of_a_project_never_bring_a_command(place: Place) -> None:
    path = place.write(
        ".qwencoderules", "models: {m: {cmd: evil, macros: {a: b}, ttl: 3, limits: {idle: 7}}}\nmacros: {a: b}"
    )
    for settings in (place.load(), check(path, folder=place.folder, home=place.home)):
        assert settings.run_models() == ()
        told = [remark.split()[1] for remark in settings.remarks]
        assert told == ["macros", "models.m.cmd", "models.m.macros", "models.m.ttl"]


def test_the_dotenv_of_the_working_folder_brings_nothing_into_a_command_of_the_users_own_file(place: Place) -> None:
    place.write(".env", "SERVER=evil\n")
    elsewhere = place.home / "mine.yaml"
    elsewhere.write_text(one(top="macros: {s: '${env.SERVER}'}", own="cmdStop: '${s}'"))
    assert [(each.line, each.key) for each in place.problems(str(elsewhere))] == [(1, "macros.s")]
    place.environment["SERVER"] = "good"
    running = place.load(str(elsewhere)).running("m")
    assert running is not None
    assert running.stop_command == ("good",)


def test_the_dotenv_beside_a_file_that_was_named_counts(place: Place) -> None:
    place.write(".env", "SERVER=mine\n")
    place.write("hangtight.yaml", one("cmdStop: '${env.SERVER}'"))
    running = place.load("hangtight.yaml").running("m")
    assert running is not None
    assert running.stop_command == ("mine",)
    assert [each.key for each in place.problems()] == ["models.m.cmdStop"]


# -- another reading --------------------------------------------------------------------------------------------------


def test_a_reload_touches_only_the_models_that_changed(place: Place) -> None:
    before = read(
        place, "models: {a: {cmd: 'a ${PORT}'}, b: {cmd: b, proxy: 'http://b'}, c: {cmd: c, proxy: 'http://c'}}"
    )
    after = read(
        place,
        "# a line above moves all others\nmodels:\n"
        " a: {cmd: 'a ${PORT}'}\n b: {cmd: b, proxy: 'http://b', ttl: 3}\n d: {cmd: d, proxy: 'http://d'}\n",
    )
    assert changes(before.runs, after.runs) == (("d",), ("c",), ("b",), ())
    again = read(place, "models: {a: {cmd: 'a2 ${PORT}'}, b: {cmd: b, proxy: 'http://b', env: [A=b]}}")
    assert changes(before.runs, again.runs) == ((), ("c",), ("a", "b"), ("a", "b"))
    assert changes(before.runs, before.runs) == ((), (), (), ())


# -- a whole file -----------------------------------------------------------------------------------------------------

WHOLE = """\
healthCheckTimeout: 300
unloadTimeout: 20
globalTTL: 900
logLevel: debug
logToStdout: both
logTimeFormat: rfc3339
logRequests: false
store: {path: activity.db}
metricsMaxInMemory: 500
captureBuffer: 2
ui: {activity: {session_id: x}}
performance: {disabled: true, every: 5s}
startPort: 10001
sendLoadingState: true
includeAliasesInList: true
macros:
  context: 8192
  llama: |
    /opt/llama/llama-server
    # on this machine alone
    --host 127.0.0.1 --port ${PORT} -c ${context}
  models: ${env.MODELS}/gguf
apiKeys: ["${env.GATEWAY}"]
upstream: {ignorePaths: ["^/health$"]}
profiles: {small: [llama-8b]}
selectors: {any: [llama-8b]}
hooks: {on_startup: {preload: [llama-8b]}}
peers: {attic: {proxy: "http://attic", models: [big]}}
models:
  llama-8b:
    macros: {context: 16384, temp: 0.7}
    cmd: |
      ${llama}
      -m ${models}/llama-8b.gguf
      --temp ${temp}
    cmdStop: kill -INT ${PID}
    checkEndpoint: /v1/models
    ttl: 60
    unloadTimeout: 30
    env: ["CUDA_VISIBLE_DEVICES=0", "ROOT=${models}"]
    aliases: [small]
    name: Llama 8B on ${PORT}
    description: "${MODEL_ID}, ${context} tokens"
    unlisted: false
    useModelName: llama
    metadata: {port: "${PORT}", temp: "${temp}", list: ["${context}", "at ${PORT}"]}
    concurrencyLimit: 4
    sendLoadingState: false
    filters:
      stripParams: top_p, top_k
      setParams: {temperature: "${temp}"}
      setParamsByID: {"${MODEL_ID}:hot": {temperature: 2}}
    timeouts: {connect: 5, keepalive: 0, responseHeader: 60, tlsHandshake: 3, expectContinue: 1, idleConn: 9}
    compat: {ignoreWebsockets: true}
    capabilities: {vision: true}
    healthCheckTimeout: 7
  vllm:
    cmd: vllm serve a/b --port 9000
    proxy: http://127.0.0.1:9000
    cmdSleep: curl -X POST http://127.0.0.1:9000/sleep?level=1
    cmdWake: curl -X POST http://127.0.0.1:9000/wake_up
    cmdSleepTimeout: 180
    sleepMode: enable
  docker:
    cmd: docker run --name ${MODEL_ID} -p ${PORT}:8080 image
    cmdStop: docker stop ${MODEL_ID}
    proxy: http://127.0.0.1:${PORT}
groups:
  side: {swap: false, exclusive: false, persistent: true, members: [llama-8b]}
routing: {router: {use: group}}
"""


def test_a_whole_configuration_of_llama_swap_runs_as_there(place: Place) -> None:
    place.environment |= {"MODELS": "/models", "GATEWAY": SECRET}
    settings = read(place, WHOLE)
    assert settings.run_models() == ("llama-8b", "vllm", "docker")
    llama, vllm, docker = settings.runs.values()
    server = "/opt/llama/llama-server --host 127.0.0.1 --port 10002 -c 16384 -m /models/gguf/llama-8b.gguf --temp 0.7"
    assert llama == Running(
        name="llama-8b",
        command=tuple(server.split()),
        stop_command=("kill", "-INT", "${PID}"),
        env=(("CUDA_VISIBLE_DEVICES", "0"), ("ROOT", "/models/gguf")),
        proxy="http://localhost:10002",
        asked_as="llama",
        check="/v1/models",
        start=7,
        stop=30,
        ttl=60,
        preload=True,
        group="side",
    )
    assert (docker.command[3], docker.stop_command, docker.proxy) == (
        "docker", ("docker", "stop", "docker"), "http://127.0.0.1:10001",
    )  # fmt: skip
    assert (vllm.sleep_command[-1], vllm.sleep, vllm.wake, vllm.start, vllm.ttl) == (
        "http://127.0.0.1:9000/sleep?level=1", 180, 60, 300, 900,
    )  # fmt: skip
    serving = settings.serving("small")
    assert serving.metadata == {"port": 10002, "temp": 0.7, "list": [16384, "at 10002"]}
    assert (serving.title, serving.description) == ("Llama 8B on 10002", "llama-8b, 16384 tokens")
    assert (serving.set, serving.set_by_id) == ({"temperature": 0.7}, {"llama-8b:hot": {"temperature": 2}})


def test_what_is_shown_of_a_command_has_no_variable_of_the_environment_in_it(place: Place) -> None:
    place.environment |= {"TOKEN": f"{SECRET} more"}
    told = "macros: {login: '--token ${env.TOKEN}'}\n" + "models:\n m: {cmd: 'serve ${login} --port ${PORT}'}\n"
    running = run(place, "startPort: 9000\n" + told)
    assert running.command == ("serve", "--token", SECRET, "more", "--port", "9000")
    assert running.shown == ("serve", "--token", "${env.TOKEN}", "--port", "9000")
    assert SECRET not in repr(running)


def test_no_model_gets_the_port_of_the_gateway(place: Place) -> None:
    models = "".join(f" {name}: {{cmd: 'serve ${{PORT}}'}}\n" for name in "abc")
    settings = read(place, f"startPort: 8382\nmodels:\n{models}")
    assert [each.command[1] for each in settings.runs.values()] == ["8382", "8384", "8385"]


@pytest.mark.parametrize("name", ['""', '" "', '"m\\nERROR forged"', '"m\\x1b[2J"'])
def test_a_name_that_cannot_be_printed_is_none(place: Place, name: str) -> None:
    place.write("hangtight.yaml", f"models:\n {name}: {{cmd: 'serve ${{PORT}}'}}\n")
    (problem,) = place.problems()
    assert (problem.line, problem.key) == (2, "models")
    assert "\n" not in str(problem)


def test_what_of_it_is_for_a_later_version_is_named_each_with_its_line(place: Place) -> None:
    place.environment |= {"MODELS": "/models", "GATEWAY": SECRET}
    later = (
        "logTimeFormat", "logRequests", "store", "metricsMaxInMemory", "captureBuffer", "ui", "performance", "upstream",
        "profiles", "selectors", "peers", "routing",
        "models.llama-8b.compat",
        *(f"models.llama-8b.timeouts.{key}" for key in
          ("keepalive", "responseHeader", "tlsHandshake", "expectContinue", "idleConn")),
    )  # fmt: skip
    assert [remark.split()[1] for remark in read(place, WHOLE).remarks] == list(later)


def test_it_is_valid_for_editors_too() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")
    data = json.loads(json.dumps(yaml.load(WHOLE)))
    jsonschema.Draft202012Validator(json_schema()).validate(data)


# -- the example ------------------------------------------------------------------------------------------------------


def test_the_example_of_a_configuration_is_fine_and_all_of_it_does_something() -> None:
    settings = check(EXAMPLE, folder=EXAMPLE.parent, home=EXAMPLE.parent)
    assert settings.remarks == ()
    large, middle, small = settings.runs.values()
    assert (large.name, large.sleep, large.wake, large.start) == ("gpt-oss-20b", 180, 180, 600)
    assert large.sleep_command[-1] == "http://127.0.0.1:5800/sleep?level=1"
    assert (middle.sleep, middle.wake, small.sleep, small.wake) == (60, 60, 30, 30)
    assert (small.ttl, small.preload, small.command[0]) == (None, True, "llama-server")
    assert [group.members for group in settings.groups.values()] == [("gpt-oss-20b", "qwen2.5-7b"), ("qwen3-1.7b",)]
