"""LangChain under the time contract: an answer, a hang that is ended, a lighter model in place of a silent one.

python examples/with_langchain.py                      a server of the lab
python examples/with_langchain.py qwen3:8b qwen3:1.7b  the one at OPENAI_BASE_URL, a lighter model behind the first

The clock of `astream` takes our timeouts for its own, with ours as `__cause__`: `stream_chunk_timeout=None` stops it.
"""

import asyncio
import os
import sys
from typing import Any

from langchain_openai import ChatOpenAI

import hangtight
from hangtight.testing.lab import Lab


async def ask(name: str, **settings: Any) -> None:
    async with hangtight.http.async_client(**settings) as client:
        model = ChatOpenAI(model=name, http_async_client=client, stream_chunk_timeout=None)
        try:
            async for chunk in model.astream("Name twelve rivers."):
                print(chunk.text, end="", flush=True)
        except hangtight.GenerationTimeout as late:
            print(f"\n{type(late).__name__}: {late}\nkept: {late.partial}", end="")
        print()


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
