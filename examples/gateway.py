"""The gateway inside of an app of your own: one address in front of every model, each request under the time contract.

python examples/gateway.py             a lab behind it, plain openai before it: a slow load survives, a hang is caught
python examples/gateway.py --serve     stays up at http://127.0.0.1:8390/llm/v1, in front of what this machine has
"""

import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fastapi
import openai
import uvicorn

import hangtight
from hangtight.gateway.app import Gateway
from hangtight.testing.lab import Lab

PORT = 8390
app = fastapi.FastAPI()
app.mount("/llm", Gateway())


@app.get("/")
def own() -> str:
    return "an app with models at /llm"


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The app on a free port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/llm/v1"
    finally:
        server.should_exit = True
        thread.join()


def ask(url: str, model: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    print(f"{model}: ", end="")
    try:
        question: list[openai.types.chat.ChatCompletionMessageParam] = [
            {"role": "user", "content": "Why is the sky blue?"}
        ]
        for chunk in client.chat.completions.create(model=model, messages=question, stream=True):
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()
    except openai.APIError as error:
        print(f"\n{error.message}")


if "--serve" in sys.argv:
    hangtight.configure()
    uvicorn.run(app, host="127.0.0.1", port=PORT)
else:
    with Lab() as lab, tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("hangtight.yaml").write_text(
            f'limits: {{idle: 1}}\nmodels:\n  "*": {{proxy: "{lab.url}"}}\njournal: off\n', encoding="utf-8"
        )
        hangtight.configure()
        with running() as url:
            ask(url, "mistral-7b,load=2,tokens=5")
            ask(url, "mistral-7b,tokens=9,mute=5")
