"""Where the time of a token or a request goes: by samples of the running gateway, and by leaving parts of it out."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.gateway.load import Load, Seen, drive
from benchmarks.gateway.measure import CLIENTS, PACED, STREAMS, costs, fine
from benchmarks.gateway.peers import EVERYTHING_ON, Stage, Wanted
from benchmarks.gateway.processes import Peer
from benchmarks.gateway.said import EMBEDDINGS, Ask, Script

CODE = PACED._replace(script=PACED.script._replace(said="code"))
WHOLE = CODE._replace(streamed=False)
REFUSED = Ask(Script(refuses=1), streamed=False)
SAMPLED = {
    "token": Load((CODE,), 250, 6, spread=2.0),
    "underneath": Load((WHOLE._replace(script=WHOLE.script._replace(gap=0.0)),), CLIENTS, 250),
    "plain": Load((REFUSED._replace(path=EMBEDDINGS),), CLIENTS, 1000),
    "refused": Load((REFUSED,), CLIENTS, 600),
}
"""Enough CPU for a thousand samples or so: the kernel looks some hundred times in a second of it, not more often."""
LOAD = Load((CODE,), STREAMS, 3)
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("intent: the text, read along", ("hangtight/intent/", "drivers/heeding", "drivers/attention", "core/intents")),
    ("wire: bytes to what they mean", ("hangtight/dialects/", "gateway/readings", "gateway/borders", "msgspec/")),
    ("upstream: read and parse HTTP", ("gateway/upstream/", "httptools/")),
    ("send: to the client", ("uvicorn/", "gateway/door/", "gateway/outlet")),
    ("lane: session, machine, alarms", ("hangtight/core/", "hangtight/drivers/")),
    ("journal", ("hangtight/journal/", "sqlalchemy/", "sqlite3/")),
    ("metrics and traces", ("gateway/telling/", "prometheus_client/", "opentelemetry/")),
    ("rules", ("hangtight/rules/",)),
    ("gateway: all else of it", ("hangtight/gateway/",)),
)
"""The first of these that a file belongs to. What is in none belongs to whoever called it."""
LOOP = "the loop itself"
VARIANTS = {
    "everything on": EVERYTHING_ON,
    "without intent": f"intent: false\n{EVERYTHING_ON}",
    "without a journal": EVERYTHING_ON.replace("{folder}/journal.db", '"off"'),
}
SHOWN = 25
WRITTEN_WITHIN, LOOKED_EACH = 10.0, 0.05


class Sample(NamedTuple):
    """Functions, the innermost first, and how often we were there."""

    place: list[str]
    times: int


def part_of(place: list[str]) -> str:
    for each in place:
        for name, files in PARTS:
            if any(file in each for file in files):
                return name
    return LOOP


def sampled(wanted: Wanted, load: Load) -> tuple[list[Sample], Seen, float]:
    """The samples of a load, the load, and the share of its CPU that was spent in the kernel."""
    with TemporaryDirectory(prefix="bench-samples-") as name:
        file = Path(name) / "samples.json"
        python, *program = shlex.split(wanted.command)
        command = shlex.join([python, "-m", "benchmarks.gateway.sampled", str(file), *program])
        with Stage(wanted._replace(command=command)) as stage:
            return _samples(stage.gateway, load, file)


def _samples(gateway: Peer, load: Load, file: Path) -> tuple[list[Sample], Seen, float]:
    drive(gateway, load._replace(times=1))
    gateway.process.send_signal(signal.SIGUSR1)
    kernel, cpu = gateway.system(), gateway.cpu()
    seen = fine(drive(gateway, load), "sampled")
    kernel, cpu = gateway.system() - kernel, gateway.cpu() - cpu
    gateway.process.send_signal(signal.SIGUSR2)
    until = time.monotonic() + WRITTEN_WITHIN
    while not file.exists() and time.monotonic() < until:
        time.sleep(LOOKED_EACH)
    return [Sample(*each) for each in json.loads(file.read_text())], seen, kernel / cpu


def left_out(wanted: Wanted) -> dict[str, float]:
    """Microseconds per token of gateways that do less, in turns."""
    with Stage(wanted) as stage, ExitStack() as others:
        peers = {name: others.enter_context(stage.another(settings)) for name, settings in VARIANTS.items()}
        if stage.nginx:
            peers["nginx"] = stage.nginx
        seen = costs(list(peers.values()), LOAD)
        return {name: each.cpu_per_token for name, each in zip(peers, seen, strict=True)}


def shown(wanted: Wanted, name: str) -> str:
    """All of it as text."""
    samples, seen, kernel = sampled(wanted, SAMPLED[name])
    whole = max(sum(sample.times for sample in samples), 1)
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for place, times in samples:
        parts[part_of(place)] += times
        functions[place[0] if place else LOOP] += times
    per_token = name == "token"
    cost, unit = (seen.cpu_per_token, "token") if per_token else (seen.cpu_per_request * 1e3, "request")
    lines = [f"{cost:.1f} µs per {unit} while sampled, {kernel:.0%} of it in the kernel; {whole} samples", ""]
    lines += [line(part, count / whole, cost) for part, count in parts.most_common()]
    lines += ["", "by function, with what it calls in C and in the kernel:"]
    lines += [line(short(place), count / whole, cost) for place, count in functions.most_common(SHOWN)]
    if per_token:
        lines += ["", "µs per token, not sampled:"]
        lines += [f"{variant:<60} {spent:>6.1f}" for variant, spent in left_out(wanted).items()]
    return "\n".join(lines)


def line(name: str, share: float, cost: float) -> str:
    return f"{name:<60} {share * cost:>7.2f} µs {share:>5.0%}"


def short(name: str) -> str:
    """The end of a path is enough to know it."""
    path, _, function = name.rpartition(":")
    return f"{'/'.join(Path(path).parts[-2:])}:{function}"
