"""A stream of the asynchronous ollama client under the time contract.

python examples/watch_ollama.py                                     a server of the lab, whose pieces become empty
python examples/watch_ollama.py http://127.0.0.1:11434 qwen3:1.7b   a real one
"""

from __future__ import annotations

import asyncio
import sys

import ollama

import hangtight
from hangtight.testing.lab import Lab

EMPTY = "qwen3:1.7b,load=1.5,tokens=40,empties=12"


async def ask(url: str, model: str, *, idle: float = 45) -> None:
    client = ollama.AsyncClient(host=url)
    question = [{"role": "user", "content": "Name twelve rivers."}]
    answer = hangtight.watch(
        client.chat(model=model, messages=question, stream=True), model=model.partition(",")[0], idle=idle
    )
    try:
        async for piece in answer:
            print(piece.message.content or "", end="", flush=True)
    except hangtight.GenerationTimeout as late:
        print(f"\n{type(late).__name__}: {late}")
        print(f"kept: {len(late.partial)} characters in {late.tokens} tokens")
    else:
        print(f"\n{answer.outcome}: {answer.tokens} tokens in {answer.elapsed:.1f}s")


def main() -> None:
    if len(sys.argv) == 3:
        asyncio.run(ask(sys.argv[1], sys.argv[2]))
        return
    with Lab() as lab:
        asyncio.run(ask(lab.url, EMPTY, idle=1))


if __name__ == "__main__":
    main()
