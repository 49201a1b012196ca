"""An agent whose steps share one deadline: what analyze and plan save, generate may use.

python examples/agent.py                              models of the lab, in seconds
python examples/agent.py "Write a parser for dates"   the model server that is found on this machine, in two minutes
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import hangtight
from hangtight.testing.lab import Lab

STEPS = {"analyze": 1, "plan": 1, "generate": "critical"}


def process(request: str, seconds: float = 120, **server: Any) -> str:
    """The answer, or what can be said when the time is spent."""

    def ask(prompt: str) -> str:
        try:
            return hangtight.generate(prompt, **server)
        except hangtight.GenerationTimeout as late:
            return late.partial

    try:
        with hangtight.budget(seconds, steps=STEPS) as task:
            with task.step("analyze"):
                analysis = ask(f"What is asked for here? {request}")
            with task.step("plan"):
                plan = ask(f"Plan it in three steps. {analysis}")
            with task.step("generate") as step:
                print(f"{step.allotted / seconds:.0%} of the time is for the last step", file=sys.stderr)
                return ask(f"Do it. {plan}")
    except hangtight.BudgetSpent as spent:
        return str(spent)


async def process_stream(request: str, seconds: float = 120, **server: Any) -> AsyncIterator[dict[str, Any]]:
    """The same as events: each step, each piece of the answer, and at the end the response."""
    text = ""
    try:
        async with hangtight.budget(seconds, steps=STEPS) as task:
            for name in STEPS:
                async with task.step(name) as step:
                    yield {"event": "step", "name": name, "share": round(step.allotted / seconds, 2)}
                    prompt, text = f"{name}: {request} {text}", ""
                    try:
                        async for piece in hangtight.astream(prompt, **server):
                            text += piece
                            if name == "generate":
                                yield {"event": "token", "text": piece}
                    except hangtight.GenerationTimeout as late:
                        yield {"event": "timeout", "limit": late.limit, "step": name}
    except hangtight.BudgetSpent as spent:
        text = str(spent)
    yield {"event": "response", "text": text}


async def show(**server: Any) -> None:
    async for event in process_stream("Name five things.", **server):
        print(json.dumps(event))


if len(sys.argv) > 1:
    print(process(" ".join(sys.argv[1:])))
else:
    with Lab() as lab:
        print(process("Name five things.", 12, url=lab.url, model="tokens=5,rate=100"))
        print(process("Name five things.", 1, url=lab.url, model="tokens=200,rate=20"))
        asyncio.run(show(seconds=12, url=lab.url, model="tokens=5,rate=100"))
        asyncio.run(show(seconds=1, url=lab.url, model="tokens=200,rate=20"))
