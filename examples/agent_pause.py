"""An agent whose stream waits for a tool and for a person: neither is the model's silence.

python examples/agent_pause.py                                         a server of the lab
python examples/agent_pause.py http://127.0.0.1:11434/v1 qwen3:1.7b    a real one
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import openai

import hangtight
from hangtight.testing.lab import Lab

TOOL = 1.5
PERSON = 2.0


class Agent:
    """Two turns of a model, with a tool and a question to a person between them, as one stream."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, *, idle: float = 45, total: float = 600) -> None:
        self.client = client
        self.model = model
        self.answer = hangtight.watch(self.work(), model=model, idle=idle, total=total)

    async def work(self) -> AsyncIterator[str]:
        async for text in self.turn("Which file is it?"):
            yield text
        with self.answer.paused("tool"):
            await asyncio.sleep(TOOL)
        yield f"\n[the tool took {TOOL:g}s]"
        with self.answer.paused("person"):
            await asyncio.sleep(PERSON)
        yield f"\n[the person took {PERSON:g}s]\n"
        async for text in self.turn("Then go on."):
            yield text

    async def turn(self, question: str) -> AsyncIterator[str]:
        stream = await self.client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": question}], stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content


async def follow(url: str, model: str, **limits: float) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        answer = Agent(client, model, **limits).answer
        async for text in answer:
            print(text, end="", flush=True)
        print(f"\n{answer.outcome}: {answer.elapsed:.1f}s in all")


async def main() -> None:
    if len(sys.argv) == 3:
        await follow(sys.argv[1], sys.argv[2])
        return
    with Lab() as lab:
        await follow(f"{lab.url}/v1", "mistral-7b", idle=1, total=4)


if __name__ == "__main__":
    asyncio.run(main())
