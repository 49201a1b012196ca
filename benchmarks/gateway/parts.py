"""Where the time of a token goes: by samples of the running gateway, and by leaving parts of it out."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.gateway.load import Load, Seen, drive
from benchmarks.gateway.measure import PACED, STREAMS, costs, fine
from benchmarks.gateway.peers import EVERYTHING_ON, Stage, Wanted
from benchmarks.gateway.processes import Peer

CODE = PACED._replace(script=PACED.script._replace(said="code"))
LOAD = Load((CODE,), STREAMS, 3)
SAMPLED = Load((CODE,), 250, 6, spread=2.0)
"""Enough CPU for a thousand samples: the kernel looks some hundred times in a second of it, and not more often."""
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("intent: the text, read along", ("hangtight/intent/", "drivers/heeding", "drivers/attention", "core/intents")),
    ("wire: bytes to what they mean", ("hangtight/dialects/", "gateway/readings", "gateway/borders", "msgspec/")),
    ("upstream: read and parse HTTP", ("gateway/upstream", "gateway/connection", "httptools/")),
    ("send: to the client", ("uvicorn/", "gateway/protocol", "gateway/outlet")),
    ("lane: session, machine, alarms", ("hangtight/core/", "hangtight/drivers/")),
    ("journal", ("hangtight/journal/", "sqlalchemy/", "sqlite3/")),
    ("metrics and traces", ("gateway/metrics", "gateway/tracing", "prometheus_client/", "opentelemetry/")),
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
WRITTEN_WITHIN = 10.0


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


def sampled(wanted: Wanted) -> tuple[list[Sample], Seen, float]:
    """The samples of a load, the load, and the share of its CPU that was spent in the kernel."""
    with TemporaryDirectory(prefix="bench-samples-") as name:
        file = Path(name) / "samples.json"
        python, *program = shlex.split(wanted.command)
        command = shlex.join([python, "-m", "benchmarks.gateway.sampled", str(file), *program])
        with Stage(wanted._replace(command=command)) as stage:
            return _samples(stage.gateway, file)


def _samples(gateway: Peer, file: Path) -> tuple[list[Sample], Seen, float]:
    drive(gateway, LOAD._replace(times=1))
    gateway.process.send_signal(signal.SIGUSR1)
    kernel, cpu = gateway.system(), gateway.cpu()
    seen = fine(drive(gateway, SAMPLED), "sampled")
    kernel, cpu = gateway.system() - kernel, gateway.cpu() - cpu
    gateway.process.send_signal(signal.SIGUSR2)
    until = time.monotonic() + WRITTEN_WITHIN
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return [Sample(*each) for each in json.loads(file.read_text())], seen, kernel / cpu


def left_out(wanted: Wanted) -> dict[str, float]:
    """Microseconds per token of gateways that do less, in turns."""
    with Stage(wanted) as stage:
        names = list(VARIANTS)
        with stage.another(VARIANTS[names[0]]) as one, stage.another(VARIANTS[names[1]]) as two:  # noqa: SIM117
            with stage.another(VARIANTS[names[2]]) as three:
                peers = [one, two, three, *([stage.nginx] if stage.nginx else [])]
                seen = costs(peers, LOAD)
        return dict(zip([*names, "nginx"], (each.cpu_per_token for each in seen), strict=False))


def shown(wanted: Wanted) -> str:
    """All of it as text."""
    samples, seen, kernel = sampled(wanted)
    whole = max(sum(sample.times for sample in samples), 1)
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for place, times in samples:
        parts[part_of(place)] += times
        functions[place[0] if place else LOOP] += times
    lines = [
        f"{seen.cpu_per_token:.1f} µs per token while sampled, {kernel:.0%} of it in the kernel; {whole} samples",
        "",
    ]
    lines += [line(name, count / whole, seen.cpu_per_token) for name, count in parts.most_common()]
    lines += ["", "by function, with what it calls in C and in the kernel:"]
    lines += [line(short(name), count / whole, seen.cpu_per_token) for name, count in functions.most_common(SHOWN)]
    lines += ["", "µs per token, not sampled:"]
    lines += [f"{name:<60} {cost:>6.1f}" for name, cost in left_out(wanted).items()]
    return "\n".join(lines)


def line(name: str, share: float, cost: float) -> str:
    return f"{name:<60} {share * cost:>6.2f} µs {share:>5.0%}"


def short(name: str) -> str:
    """The end of a path is enough to know it."""
    path, _, function = name.rpartition(":")
    return f"{'/'.join(Path(path).parts[-2:])}:{function}"
