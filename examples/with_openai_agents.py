"""The OpenAI Agents SDK under the time contract: an answer, a hang that is ended, a lighter model for a silent one.

python examples/with_openai_agents.py                      a server of the lab
python examples/with_openai_agents.py qwen3:8b qwen3:1.7b  the one at OPENAI_BASE_URL, a lighter model behind the first

Our errors arrive as they are. Without `set_tracing_disabled` the SDK sends what was said to api.openai.com.
"""

import asyncio
import os
import sys
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

import hangtight
from hangtight.testing.lab import Lab


async def ask(name: str, **settings: Any) -> None:
    async with AsyncOpenAI(http_client=hangtight.http.async_client(**settings)) as client:
        agent = Agent(name="geographer", model=OpenAIChatCompletionsModel(name, client))
        try:
            print((await Runner.run(agent, "Name twelve rivers.")).final_output)
        except hangtight.GenerationTimeout as late:
            print(f"{type(late).__name__}: {late}\nkept: {late.partial}")


set_tracing_disabled(True)
os.environ.setdefault("OPENAI_API_KEY", "none")
if "OPENAI_BASE_URL" in os.environ:
    asyncio.run(ask(sys.argv[1], fallback=sys.argv[2:]))
else:
    with Lab() as lab:
        os.environ["OPENAI_BASE_URL"] = f"{lab.url}/v1"
        asyncio.run(ask("mistral-7b"))
        asyncio.run(ask("mistral-7b,mute=12", idle=1))
        asyncio.run(ask("mistral-7b,silent", first_token=1, fallback=["qwen3:1.7b"]))
        print(f"{lab.counts('qwen3:1.7b').finished} answer of qwen3:1.7b")
