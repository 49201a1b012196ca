"""A process that was stopped (SIGSTOP, a laptop's lid) does not take its own sleep for the model's silence."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from hangtight.testing.lab import Lab

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP"),
]

IDLE = 0.5
STOPPED_FOR = 3 * IDLE

SYNC = """
import sys, openai, hangtight
client = openai.OpenAI(api_key="none", base_url=sys.argv[1])
stream = client.chat.completions.create(model=sys.argv[2], messages=[], stream=True)
watched = hangtight.watch(stream, idle=float(sys.argv[3]))
for chunk in watched:
    print(watched.tokens, flush=True)
print(watched.outcome.value, watched.excused > 0)
"""

ASYNC = """
import asyncio, sys, openai, hangtight
async def main():
    client = openai.AsyncOpenAI(api_key="none", base_url=sys.argv[1])
    stream = client.chat.completions.create(model=sys.argv[2], messages=[], stream=True)
    watched = hangtight.watch(stream, idle=float(sys.argv[3]))
    async for chunk in watched:
        print(watched.tokens, flush=True)
    print(watched.outcome.value, watched.excused > 0)
asyncio.run(main())
"""


@pytest.mark.parametrize("script", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_process_that_was_stopped_for_three_times_its_idle_limit_goes_on(script: str) -> None:
    with Lab() as lab:
        words = [sys.executable, "-c", script, f"{lab.url}/v1", "tokens=60,rate=20", str(IDLE)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while process.stdout.readline().strip() != "3":
                assert process.poll() is None
            process.send_signal(signal.SIGSTOP)
            threading.Event().wait(STOPPED_FOR)
            process.send_signal(signal.SIGCONT)
            *_, last = process.stdout.read().splitlines()
        assert last == "finished True"
