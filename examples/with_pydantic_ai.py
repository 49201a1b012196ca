"""Pydantic AI under the time contract: an answer, a hang that is ended, a lighter model in place of a silent one.

python examples/with_pydantic_ai.py                      a server of the lab
python examples/with_pydantic_ai.py qwen3:8b qwen3:1.7b  the one at OPENAI_BASE_URL, a lighter model behind the first

Our errors arrive as they are. Its own FallbackModel has to be told: fallback_on=(hangtight.GenerationTimeout,).
"""

import asyncio
import os
import sys
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import hangtight
from hangtight.testing.lab import Lab


async def ask(name: str, **settings: Any) -> None:
    async with hangtight.http.async_client(**settings) as client:
        agent = Agent(OpenAIChatModel(name, provider=OpenAIProvider(http_client=client)))
        try:
            result = await agent.run("Name twelve rivers.")
            print(f"{result.output}\n{result.response.model_name}")
        except hangtight.GenerationTimeout as late:
            print(f"{type(late).__name__}: {late}\nkept: {late.partial}")


os.environ.setdefault("OPENAI_API_KEY", "none")
if "OPENAI_BASE_URL" in os.environ:
    asyncio.run(ask(sys.argv[1], fallback=sys.argv[2:]))
else:
    with Lab() as lab:
        os.environ["OPENAI_BASE_URL"] = f"{lab.url}/v1"
        asyncio.run(ask("mistral-7b"))
        asyncio.run(ask("mistral-7b,mute=12", idle=1))
        asyncio.run(ask("mistral-7b,silent", first_token=1, fallback=["qwen3:1.7b"]))
