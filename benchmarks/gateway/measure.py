"""The figures of the gateway, each by a name that `python -m benchmarks.gateway NAME` takes.

What is compared is measured in turns within the same minute: the machine is shared, so ratios count. CPU is the
kernel's accounting of the processes, which stays put where the wall clock does not.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

from benchmarks.gateway import many
from benchmarks.gateway.load import Load, Seen, drive, share, told
from benchmarks.gateway.peers import KEY, Stage
from benchmarks.gateway.probe import added_by
from benchmarks.gateway.processes import Peer
from benchmarks.gateway.said import EMBEDDINGS, Ask, Script
from benchmarks.row import Row

NO_GOAL = math.inf
PACED = Ask(Script(tokens=100, gap=0.02))
STREAMS = 100
EACH = 2
"""Streams that each client asks for in a round, one after the other."""
ROUNDS = 3
TIMES_NGINX, LITELLM_PERCENT = 2.5, 5.0
REQUEST, TOKEN = 0.25, 0.012
"""Milliseconds of CPU that a request, and a token of its stream underneath, may cost."""
CLIENTS = 8
"""At once, where a request is what is measured: enough to keep one process busy, and not more."""
REQUESTS = 150
"""That each of them makes."""
MOST_STREAMS = 300
"""For half load: with more, two cores are full of the model server and of the clients, and we would time those."""
RESTED, FOR = 2.0, 10.0
"""Seconds before it counts as at rest, and for which it is watched then."""
RSS_AT_REST, CPU_AT_REST = 80.0, 0.5
READY_WITHIN, STARTS = 1.5, 3


def fine(seen: Seen, what: str) -> Seen:
    """A figure over wrong answers is none."""
    if not seen.fine:
        bad = seen.lost + seen.wrong
        raise RuntimeError(f"{what}: {len(seen.lost)} lost, {len(seen.wrong)} wrong, such as {bad[0]}")
    return seen


def costs(peers: list[Peer], load: Load, rounds: int = ROUNDS) -> list[Seen]:
    """The same load for each of them, in turns; of each the round with the median CPU."""
    each: list[list[Seen]] = [[] for _ in peers]
    for peer in peers:
        drive(peer, load._replace(times=1))  # connections are opened, modules loaded
    for _ in range(rounds):
        for peer, seen in zip(peers, each, strict=True):
            seen.append(fine(drive(peer, load), peer.name))
    return [sorted(seen, key=lambda one: one.cpu)[len(seen) // 2] for seen in each]


def token(stage: Stage) -> list[Row]:
    """CPU per token beside nginx."""
    load = Load((PACED,), STREAMS, EACH)
    peers = [stage.gateway, *([stage.nginx] if stage.nginx else [])]
    seen = costs(peers, load)
    ours = seen[0].cpu_per_token
    rows = [Row("gateway, CPU per token, 100 paced streams", ours, "µs", NO_GOAL)]
    if len(seen) > 1:
        theirs = seen[1].cpu_per_token
        rows.append(Row("nginx, the same", theirs, "µs", NO_GOAL))
        rows.append(Row("gateway over nginx, per token", ours / theirs, "x", TIMES_NGINX))
    return rows + _beside_litellm(stage, ours)


def _beside_litellm(stage: Stage, ours: float) -> list[Row]:
    if stage.litellm is None:
        return []
    asked = PACED._replace(headers=(("Authorization", f"Bearer {KEY}"),))
    theirs = costs([stage.litellm], Load((asked,), STREAMS, 1), 1)[0].cpu_per_token
    return [
        Row("LiteLLM, CPU per token, the same streams", theirs, "µs", NO_GOAL),
        Row("gateway over LiteLLM, per token", ours / theirs * 100, "%", LITELLM_PERCENT),
    ]


def code(stage: Stage) -> list[Row]:
    """The same where the model writes code, in tokens of 4 characters, and nobody begins with anybody else."""
    asked = PACED._replace(script=PACED.script._replace(said="code"))
    peers = [stage.gateway, *([stage.nginx] if stage.nginx else [])]
    seen = costs(peers, Load((asked,), STREAMS, EACH, spread=2.0))
    rows = [Row("gateway, CPU per token of code, begun at different times", seen[0].cpu_per_token, "µs", NO_GOAL)]
    if len(seen) > 1:
        rows.append(Row("nginx, the same", seen[1].cpu_per_token, "µs", NO_GOAL))
        ratio = seen[0].cpu_per_token / seen[1].cpu_per_token
        rows.append(Row("gateway over nginx, per token of code", ratio, "x", NO_GOAL))
    return rows


def plain(stage: Stage) -> list[Row]:
    """Unstreamed requests that are passed through as they are."""
    whole = Ask(Script(refuses=1), streamed=False)
    kinds = {"passed through": whole._replace(path=EMBEDDINGS), "stream refused": whole}
    rows = []
    for what, asked in kinds.items():
        load = Load((asked,), CLIENTS, REQUESTS)
        cost = costs([stage.gateway], load)[0].cpu_per_request
        rows.append(Row(f"gateway, CPU of an unstreamed request, {what}", cost, "ms", REQUEST))
    if stage.nginx:
        load = Load((kinds["passed through"],), CLIENTS, REQUESTS)
        cost = costs([stage.nginx], load)[0].cpu_per_request
        rows.append(Row("nginx, the same, passed through", cost, "ms", NO_GOAL))
    return rows


def underneath(stage: Stage) -> list[Row]:
    """Unstreamed requests that are streamed upstream and put together again."""
    kinds = {"its tokens at once": (0.0, CLIENTS, 25), "its tokens paced": (0.02, STREAMS, EACH)}
    rows = []
    for what, (gap, clients, times) in kinds.items():
        asked = Ask(Script(tokens=100, gap=gap), streamed=False)
        cost = costs([stage.gateway], Load((asked,), clients, times))[0].cpu_per_request
        goal = REQUEST + TOKEN * asked.script.tokens
        rows.append(Row(f"gateway, CPU of one streamed underneath, {what}", cost, "ms", goal))
    return rows


def first(stage: Stage) -> list[Row]:
    """What the gateway adds to the time until the first token, while it is half busy."""
    per_token = costs([stage.gateway], Load((PACED,), STREAMS, 1), 1)[0].cpu_per_token
    streams = min(int(0.5 * PACED.script.gap / (per_token / 1e6)), MOST_STREAMS)
    load, direct, ours = added_by(stage.gateway, stage.upstream, PACED, streams)
    fine(load, "half load")
    busy = load.cpu / load.seconds * 100
    p50, p99 = share(ours, 0.5) - share(direct, 0.5), share(ours, 0.99) - share(direct, 0.99)
    return [
        Row(f"gateway, of a core at half load, {streams} streams", busy, "%", NO_GOAL),
        Row("the model server alone, first token then, p50", share(direct, 0.5), "ms", NO_GOAL),
        Row("the model server alone, first token then, p99", share(direct, 0.99), "ms", NO_GOAL),
        Row("gateway, added to the first token at half load, p50", p50, "ms", 1.0),
        Row("gateway, added to the first token at half load, p99", p99, "ms", 5.0),
    ]


def rest(stage: Stage) -> list[Row]:
    """With nothing to do, after it had something: what is loaded late is loaded."""
    with stage.another() as peer:
        asks = (PACED, PACED._replace(streamed=False), Ask(Script(), streamed=False, path=EMBEDDINGS))
        fine(drive(peer, Load(asks, 6, 1)), peer.name)
        time.sleep(RESTED)
        before = peer.cpu()
        time.sleep(FOR)
        used = (peer.cpu() - before) / FOR * 100
        return [
            Row("gateway, memory at rest", peer.rss(), "MB", RSS_AT_REST),
            Row("gateway, of a core at rest", used, "%", CPU_AT_REST),
        ]


def ready(stage: Stage) -> list[Row]:
    """From its start to the first 200 of /health."""
    took = []
    for _ in range(STARTS):
        with stage.another() as peer:
            took.append(time.monotonic() - peer.begun)
    return [Row("gateway, ready after its start", statistics.median(took), "s", READY_WITHIN)]


ROWS: dict[str, Callable[[Stage], list[Row]]] = {
    "token": token,
    "code": code,
    "plain": plain,
    "underneath": underneath,
    "first": first,
    "many": many.rows,
    "rest": rest,
    "ready": ready,
}
SHORT = ("token", "plain", "underneath", "ready")
"""What `make bench` has time for."""


def measured(name: str, stage: Stage) -> list[Row]:
    """A row that cannot be had is missed, and the others are still measured."""
    told(f"{name} ...")
    try:
        return ROWS[name](stage)
    except RuntimeError as error:
        told(f"{name}: {error}")
        return [Row(f"gateway, {name}: not measured", math.nan, "", 0)]
