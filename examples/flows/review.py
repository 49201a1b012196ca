"""A flow in Python: a model plans, a function splits, a model writes, a command counts.

python examples/flows/review.py          in a folder that is gone afterwards, against a server of the lab
hangtight flow run examples/flows/review.py:flow --input idea="a list of books"          with the models of this machine
"""

from __future__ import annotations

import os
import sys
import tempfile

from hangtight.flows import Engine, Event, EventType, Flow, generate, step, tool
from hangtight.testing.lab import Lab


@step(timeout=5)
def outline(plan: str) -> list[str]:
    """A plain function, in a thread. `plan` is the step of that name, so this one waits for it."""
    return plan.split()[:3]


@step
async def report(write: str, count: str, idea: str, style: str = "short") -> dict[str, object]:
    """An async one, on the loop. `idea` is what the run was given, `style` need not be."""
    return {"idea": idea, "style": style, "words": len(write.split()), "counted": int(count)}


flow = Flow(
    "review",
    [
        generate("plan", "Plan this in a few words: ${input.idea}", model="qwen3-coder:latest", timeout=300),
        outline,
        generate("write", "Write a text about: ${outline}", model="qwen3-coder:latest", timeout=1800, output="text.md"),
        tool("count", [sys.executable, "-c", "print(len(open('text.md').read().split()))"], after=["write"]),
        report,
    ],
)


def show(event: Event) -> None:
    if event.type is EventType.STEP_FINISHED:
        print(f"{event.step}: {event.told['outcome']}")
    elif event.type is EventType.HEARTBEAT:
        print(event.payload)


def main() -> None:
    small = "qwen3:1.7b,load=1.2,tokens=12,rate=40"
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        os.environ["OLLAMA_HOST"] = lab.url
        with Engine(folder, heartbeat=0.5, on_event=show) as engine:
            result = engine.run(flow, total=60, models={"plan": small, "write": small}, idea="a list of books")
        print(f"{result.outcome}: {result.outputs['report']}")


if __name__ == "__main__":
    main()
