"""What Prometheus is told of workflows: how long runs and steps take, how they end, and which limits they break."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hangtight.gateway.telling.labels import BUCKETS, Labels

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MOST_FLOWS: Final = 100
MOST_STEPS: Final = 500
MOST_WORDS: Final = 32  # outcomes and limits: we name them, and have fewer
LONGER: Final = (3600, 7200, 14400)  # seconds, as runs may take


class OfFlows:
    """Fed with the events of runs, and never with a token."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Histogram

        count = partial(Counter, registry=registry)
        length = partial(Histogram, registry=registry, buckets=(*BUCKETS, *LONGER))
        step = ["flow", "step"]
        self._run = length("hangtight_run_seconds", "How long a run of a workflow took, however it ended.", ["flow"])
        self._step = length("hangtight_step_seconds", "How long a step of a run took, however it ended.", step)
        self._runs = count("hangtight_runs", "Runs of workflows that ended, and how.", ["flow", "outcome"])
        self._steps = count("hangtight_steps", "Steps of runs that ended, and how.", [*step, "outcome"])
        self._timeouts = count("hangtight_step_timeouts", "Steps that broke a limit, and which.", [*step, "limit"])
        self._beats = count("hangtight_step_heartbeats", "Signs of life of steps.", step)
        self._flow_names, self._step_names = Labels(MOST_FLOWS), Labels(MOST_STEPS)
        self._words = Labels(MOST_WORDS)

    def hear(self, told: Mapping[str, Any]) -> None:
        whole = str(told.get("step", "")).partition("/")[0]  # a piece is a part of its step
        flow, step = self._flow_names.add(str(told["flow"])), self._step_names.add(whole)
        outcome, elapsed = self._words.add(str(told.get("outcome", ""))), told.get("elapsed")
        match told["type"]:
            case "run_finished":
                self._runs.labels(flow, outcome).inc()
                if isinstance(elapsed, int | float):
                    self._run.labels(flow).observe(elapsed)
            case "step_finished" if not told.get("recorded") and "piece" not in told:
                self._steps.labels(flow, step, outcome).inc()
                if isinstance(elapsed, int | float):
                    self._step.labels(flow, step).observe(elapsed)
            case "timed_out":
                self._timeouts.labels(flow, step, self._words.add(str(told.get("limit", "")))).inc()
            case "LLM_HEARTBEAT":
                self._beats.labels(flow, step).inc()
            case _:
                pass
