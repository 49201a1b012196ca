"""A deadline that moves because the model gets on, and a loop that is ended with what is worth keeping.

python examples/intent.py                     minutes of a scripted model, and a loop of the lab, in a second
python examples/intent.py "Write a parser"    the model server that is found on this machine, in mode deep
"""

import sys
from typing import Any

import hangtight
from hangtight.testing import Said, ScriptedModel, jumping
from hangtight.testing.lab import Lab
from hangtight.testing.lab.healthy import said_of_code


def tell(heartbeat: hangtight.Heartbeat) -> None:
    if heartbeat.moved is not None:
        print(heartbeat)


async def code_for_three_minutes() -> None:
    """Longer than the 120 s of the mode; the clock of this loop jumps, so nobody waits for it."""
    model = ScriptedModel(Said([said_of_code(index) for index in range(360)], every=0.5))
    answer = hangtight.watch(model, model="qwen3-coder", mode="deep", cold=None, on_heartbeat=tell)
    async for _ in answer:
        pass
    print(f"{answer.outcome} after {answer.elapsed:.0f} s, with {answer.tokens} tokens")


def ask(prompt: str, **server: Any) -> str:
    """The answer, or as much of it as is worth keeping."""
    try:
        return hangtight.generate(prompt, mode="deep", on_heartbeat=tell, **server)
    except hangtight.Looping as loop:
        print(f"{type(loop).__name__}: {loop}")
        print(f"kept {len(loop.useful)} of {len(loop.partial)} characters")
        return loop.useful
    except hangtight.GenerationTimeout as late:
        print(f"{type(late).__name__}: {late}")
        return late.partial


if len(sys.argv) > 1:
    print(ask(" ".join(sys.argv[1:])))
else:
    jumping(code_for_three_minutes())
    with Lab() as lab:
        print(ask("What will you do now?", url=lab.url, model="loop,rate=2000"))
