"""What the analyser costs: microseconds of CPU per character, and kilobytes per stream."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable

from benchmarks.intent.corpus import KINDS, some
from benchmarks.intent.loops import adversarial
from benchmarks.row import Row
from hangtight.intent.analyser import Analyser
from hangtight.intent.findings import Channel

TOKEN = 4
"""Characters: what a model sends at once."""
LOOK = 256
"""Characters: what a driver has collected when it looks."""
ROUNDS = 3
STREAMS = 40
TIMED = 250_000
SHOWN = ("standard library", "CSV of characters", "CJK, generated")
MICRO = 1e6


class Nothing:
    """Takes the pieces and does nothing: what the loop itself costs."""

    def feed(self, text: str, channel: Channel, now: float) -> None:
        """As the analyser's."""

    def close(self) -> None:
        """As the analyser's."""


def split(text: str, piece: int) -> list[str]:
    return [text[at : at + piece] for at in range(0, len(text), piece)]


def spent(make: Callable[[], Analyser | Nothing], texts: list[list[str]]) -> float:
    """Seconds of CPU; the least of some rounds, because others use the machine, too."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.process_time()
        for pieces in texts:
            reader = make()
            for piece in pieces:
                reader.feed(piece, Channel.ANSWER, 0.0)
            reader.close()
        rounds.append(time.process_time() - start)
    return min(rounds)


def cost(texts: Iterable[str], piece: int = LOOK) -> float:
    """Microseconds per character, without the loop around it."""
    cut = [split(text, piece) for text in texts]
    count = sum(map(len, (piece for pieces in cut for piece in pieces)))
    return (spent(Analyser, cut) - spent(Nothing, cut)) / max(count, 1) * MICRO


def adversaries() -> dict[str, float]:
    return {name: cost([text]) for name, text in adversarial().items()}


def rows() -> list[Row]:
    """On text that every machine has."""
    kinds = {kind.name: [text for _, text in some(kind, TIMED)] for kind in KINDS if kind.name in SHOWN}
    found = [Row(f"intent, per character of {name}", cost(texts), "us", 0.2) for name, texts in kinds.items()]
    library = cost(kinds["standard library"], TOKEN) * TOKEN
    found.append(Row("intent, per token of 4 characters that is fed alone", library, "us", 1.0))
    found.append(Row("intent, per character of the worst text", max(adversaries().values()), "us", 0.5))
    streams = [text[:30_000] for text in kinds["standard library"]]
    return [*found, Row("intent keeps, per stream", kept(streams), "KB", 16)]


def kept(texts: list[str]) -> float:
    """Kilobytes that each of some streams keeps when it has read a text; the texts are not counted."""
    count = max(STREAMS // len(texts), 1)
    cut = [split(text, LOOK) for text in texts]
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    streams = []
    for pieces in cut:
        for _ in range(count):
            stream = Analyser()
            for piece in pieces:
                stream.feed(piece, Channel.ANSWER, 0.0)
            stream.drain()
            streams.append(stream)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / len(streams) / 1024
