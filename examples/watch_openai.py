"""A stream of the openai client under the time contract.

python examples/watch_openai.py                                        a server of the lab, whose model hangs
python examples/watch_openai.py http://127.0.0.1:11434/v1 qwen3:1.7b   a real one
"""

from __future__ import annotations

import sys

import openai

import hangtight
from hangtight.testing.lab import Lab

HANGS = "mistral-7b,load=1.5,tokens=40,mute=12"


def ask(url: str, model: str, *, idle: float = 45, heartbeat: float = 15) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    answer = hangtight.watch(
        lambda: client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Name twelve rivers."}], stream=True
        ),
        model=model.partition(",")[0],
        idle=idle,
        heartbeat=heartbeat,
        on_heartbeat=lambda heartbeat: print(f"[{heartbeat}]", flush=True),
    )
    try:
        for chunk in answer:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
    except hangtight.GenerationTimeout as late:
        print(f"\n{type(late).__name__}: {late}")
        print(f"kept: {len(late.partial)} characters in {late.tokens} tokens")
    else:
        print(f"\n{answer.outcome}: {answer.tokens} tokens in {answer.elapsed:.1f}s")


def main() -> None:
    if len(sys.argv) == 3:
        ask(sys.argv[1], sys.argv[2])
        return
    with Lab() as lab:
        ask(f"{lab.url}/v1", HANGS, idle=1, heartbeat=0.5)


if __name__ == "__main__":
    main()
