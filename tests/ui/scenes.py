"""A busy moment, as the pictures of the docs show it: every phase, an alarm that is near, a deadline that has moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.ui.standin import Members, Scene, iso, row

MOVED_AT = 2.2  # seconds after the beginning: the deadline of one of them moves
Phases = tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Actor:
    """One in flight: how old it is when the picture begins, its phases by their beginnings, its alarm."""

    id: str
    model: str
    age: float
    phases: Phases
    limit: str
    rings_in: float
    """Once this phase has begun, less its silence."""
    more: Mapping[str, Any]

    def row(self, since: float) -> Members | None:
        elapsed = self.age + since
        if elapsed < 0:
            return None
        began, phase = [each for each in self.phases if each[0] <= elapsed][-1]
        in_it = elapsed - began
        speaks = phase in ("streaming", "thinking")
        tokens = int(28 * sum(min(elapsed, end) - start for start, end in self._spoken() if start < elapsed))
        silence = in_it if phase in ("silent", "waiting", "loading", "queued") else 0.2
        rings_in = max(0.0, self.rings_in - (0.0 if speaks and self.limit != "total" else in_it))
        told = {"tokens": tokens, "silence": silence, "limit": self.limit, "rings_in": rings_in, **self.more}
        return row(self.id, self.model, "streaming" if phase == "silent" else phase, elapsed, **told)

    def _spoken(self) -> Iterator[tuple[float, float]]:
        ends = [*(start for start, _ in self.phases[1:]), 1e9]
        for (start, phase), end in zip(self.phases, ends, strict=True):
            if phase in ("streaming", "thinking"):
                yield start, end


ACTORS = (
    Actor("7f3a21c09b44", "qwen3-coder", 55.0, ((0, "loading"), (11, "waiting"), (15, "thinking"), (27, "streaming")),
          "total", 32.0, {"doing": "coding", "run": "refactor", "total": 60.0}),
    Actor("a01b77e0d2f3", "gpt-oss-20b", 104.0,
          ((0, "queued"), (9, "waiting"), (14, "streaming"), (51, "silent"), (66, "streaming"), (76, "silent")),
          "idle", 45.0, {"mode": None, "in_contact": True}),
    Actor("c4d10fae9920", "deepseek-r1:32b", 47.0, ((0, "waiting"), (6, "thinking")),
          "thinking", 300.0, {"run": "nightly-docs", "step": "plan", "total": 600.0}),
    Actor("5d20c7719ae1", "claude-sonnet", 21.0, ((0, "waiting"), (1.5, "streaming")), "idle", 45.0, {"mode": None}),
    Actor("1be97c3f5a60", "mistral-small", 7.0, ((0, "queued"), (2, "waiting")), "first_token", 30.0, {"mode": "fast"}),
    Actor("92ac55d1e7b8", "llama-3.3-70b", 18.0, ((0, "queued"), (6, "loading")), "load", 300.0, {"mode": None}),
    Actor("e8f0024ab6c1", "gpt-oss-20b", 3.0, ((0, "queued"),), "queue", 300.0, {"position": 1, "mode": None}),
)  # fmt: skip


def moment(since: float) -> list[Members]:
    """Those in flight. The deadline of the first has moved, after a while."""
    told = [found for found in (actor.row(since) for actor in ACTORS) if found is not None]
    if since > MOVED_AT and told:
        told[0] |= {"total": 84.0, "rings_in": told[0]["rings_in"] + 24.0}
    return told


def ended(name: str, model: str, outcome: str, elapsed: float, ago: float, **more: Any) -> Members:
    return {
        "id": name, "model": model, "asked": model, "outcome": outcome, "elapsed": elapsed, "ended": iso(ago),
        "tokens": int(elapsed * 24), "limit": None, "waited": None, "source": "", "error": "", "run": "", "step": "",
        "mode": None, "streams": True, "attempts": [], "extended": 0.0, "at_server": None, **more,
    }  # fmt: skip


FINISHED = [
    ended("b1", "qwen3-coder", "finished", 181.0, 20, extended=61.0),
    ended("b2", "gpt-oss-20b", "timeout", 78.2, 64, tokens=312, limit="idle", waited=45.0, source="hangtight.yaml:3"),
    ended("b3", "qwen3:1.7b", "finished", 4.2, 90),
    ended("b4", "deepseek-r1:32b", "looping", 52.0, 140, tokens=1204),
    ended("b5", "mistral-small", "left", 9.1, 200),
    ended("b6", "qwen3-coder", "finished", 96.0, 260),
]
EXPLAINED = """\
idle         45   hangtight.yaml:3
                  over 15 (mode deep), 45 (default)
first_token  60   hangtight.yaml:3, and 60 s more where the model may have to load
total       120   mode deep
extend_to   240   follows total=120 (mode deep)
intent: on (mode deep), extends total 120 -> 240
"""
LOG: list[Members] = [
    {"after": 0.0, "kind": "armed", "words": "armed: first_token 60, idle 45, total 120 (mode deep)"},
    {"after": 8.4, "kind": "first", "words": "first token"},
    {"after": 15.0, "kind": "heartbeat", "words": "heartbeat: streaming, 160 tokens, idle rings in 45 s"},
    {"after": 63.6, "kind": "extended", "words": "extended: deadline 63.6 s -> 132 s, coding"},
]
FLEET = [
    {"model": "gpt-oss-20b", "phase": "ready", "for": 840.0, "rings_in": None, "requests": 1, "waiting": 1, "why": ""},
    {
        "model": "llama-3.3-70b",
        "phase": "waking",
        "for": 12.0,
        "rings_in": 48.0,
        "requests": 0,
        "waiting": 1,
        "why": "",
    },
    {"model": "qwen3-4b", "phase": "asleep", "for": 5400.0, "rings_in": None, "requests": 0, "waiting": 0, "why": ""},
]
OTHER: Members = {
    "last_progress": iso(),
    "last_end": None,
    "running": 1,
    "waiting": 0,
    "circuit": "closed",
    "still_running_at_server": 0,
}
STEPS = [
    {"step": "analyze", "began": iso(90), "elapsed": 24.1, "timeout": 300.0, "outcome": "finished", "tokens": 410,
     "allotted": 90.0, "share": 0.3},
    {"step": "plan", "began": iso(66), "elapsed": None, "timeout": 300.0, "outcome": None, "tokens": 960,
     "allotted": 90.0, "share": 0.3},
    {"step": "generate", "began": None, "elapsed": None, "timeout": 300.0, "outcome": None, "tokens": 0,
     "allotted": 120.0, "share": 0.4},
]  # fmt: skip
RUN: Members = {
    "id": "nightly-docs", "flow": "nightly-docs", "status": "running", "outcome": None, "began": iso(90),
    "deadline": iso(-210), "elapsed": None, "percent": 38.0, "left": 140.0,
}  # fmt: skip
CARD: Members = {
    "path": "status/training_status.json", "fresh": 3.0, "current_step": 2500, "total_steps": 4000, "loss": 0.7942,
    "evaluations": 12, "timeouts": {"count": 1, "rate": 0.08}, "eta": 2460.0, "doing": "training",
}  # fmt: skip


def busy() -> Scene:
    """The whole of it."""
    words = "Today: 214 answers, 19 of which a 30 s timeout would have killed; 3 hangs ended after 45 s."
    others = {"qwen3-coder": OTHER, "mistral-small": OTHER | {"circuit": "open"}, "deepseek-r1:32b": OTHER}
    about = {"id": "7f3a21c09b44", "model": "qwen3-coder", "phase": "streaming", "tokens": 1840, "elapsed": 61.4,
             "mode": "deep", "run": "refactor", "step": ""}  # fmt: skip
    return Scene(
        rows=moment,
        before=115.0,
        pages={
            "/hangtight/generations": {"generations": [], "finished": FINISHED},
            "/hangtight/receipt": {"words": words},
            "/hangtight/models": {"models": FLEET},
            "/health": {"status": "ok", "version": "0.1.0", "models": others},
            "/hangtight/runs": {"runs": [RUN]},
            "/hangtight/runs/nightly-docs": {**RUN, "steps": STEPS},
            "/hangtight/training": {"cards": [CARD]},
            "/hangtight/generations/7f3a21c09b44/why": {"about": about, "explain": EXPLAINED, "log": LOG},
        },
    )
