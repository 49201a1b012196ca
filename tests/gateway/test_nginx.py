"""Behind nginx as Debian has it, which ends what is silent for longer than `proxy_read_timeout`."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from hangtight.rules import served
from hangtight.testing.lab import Lab, text_of
from tests.gateway.behind import before
from tests.gateway.kit import PATIENCE, Served

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
pytestmark = [pytest.mark.real, pytest.mark.skipif(NGINX is None, reason="needs nginx (Debian: nginx-light)")]

TRIES = 200
CONF = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {behind};
            proxy_read_timeout {patience}s;
            {more}
        }}
    }}
}}
"""
SETTINGS = """\
proxy_silence: {patience}
models:
  "quiet*": {{proxy: "{lab}", heartbeat_form: "off"}}
  "*": {{proxy: "{lab}", heartbeat_form: white-space}}     # for whole bodies: streams have their own form
"""
ASKED = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(params=[(1, 3), pytest.param((2, 10), marks=pytest.mark.slow)], ids=["1s", "2s"])
def spans(request: pytest.FixtureRequest) -> tuple[int, int]:
    """For how long nginx waits, and for how long the model is silent."""
    found: tuple[int, int] = request.param
    return found


@pytest.fixture
def front(lab: Lab, spans: tuple[int, int], tmp_path: Path) -> Iterator[str]:
    settings = SETTINGS.format(patience=spans[0], lab=lab.url)
    with Served(tmp_path, settings) as running, nginx(tmp_path, running.url, spans[0]) as url:
        yield url


@contextmanager
def nginx(folder: Path, behind: str, patience: int, more: str = "") -> Iterator[str]:
    """One process of our own; where it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(folder=folder, port=port, behind=behind, patience=patience, more=more))
    words = [str(NGINX), "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(TRIES):
            if _listens(port):
                break
            if process.poll() is not None:
                raise AssertionError(f"nginx does not start:\n{process.communicate()[1]}")
            threading.Event().wait(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def streamed_by_openai(url: str, model: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        chunks: Any = client.chat.completions.create(model=model, messages=ASKED, stream=True)  # type: ignore[arg-type]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def whole_by_openai(url: str, model: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        answer = client.chat.completions.create(model=model, messages=ASKED)  # type: ignore[arg-type]
        return answer.choices[0].message.content or ""


def streamed_by_anthropic(url: str, model: str) -> str:
    asked: Any = {"model": model, "messages": ASKED, "max_tokens": 100}
    with (
        anthropic.Anthropic(base_url=url, api_key="any", max_retries=0, timeout=60) as client,
        client.messages.stream(**asked) as stream,
    ):
        return "".join(stream.text_stream)


def streamed_by_ollama(url: str, model: str) -> str:
    with ollama.Client(host=url, timeout=60) as client:
        return "".join(chunk.message.content or "" for chunk in client.chat(model, ASKED, stream=True))


CLIENTS: tuple[Callable[[str, str], str], ...] = (
    streamed_by_openai,
    whole_by_openai,
    streamed_by_anthropic,
    streamed_by_ollama,
)


def test_a_first_token_that_comes_long_after_nginx_would_have_given_up_gets_through(
    front: str, spans: tuple[int, int]
) -> None:
    """Some servers send headers at once and then nothing, others nothing at all; both at the same time here."""
    models = [f"m,tokens=9,{start}={spans[1]}" for start in ("prefill", "headers")]
    with ThreadPoolExecutor(2 * len(CLIENTS)) as pool:
        answers = [(client, pool.submit(client, front, model)) for client in CLIENTS for model in models]
        texts = {(client.__name__, answer.result(PATIENCE + spans[1])) for client, answer in answers}
    assert texts == {(client.__name__, text_of("tokens=9")) for client in CLIENTS}


def test_a_stream_gets_signs_behind_an_nginx_of_this_machine_of_which_nothing_is_known(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It speaks HTTP/1.1 and leaves no trace, and nobody wrote `proxy_silence`: its default alone helps, here short."""
    monkeypatch.setattr(served, "PROXY_SILENCE", 1.0)
    model = "m,tokens=9,prefill=3"

    def through_nginx(url: str) -> set[str]:
        with nginx(tmp_path, url, 1, 'proxy_http_version 1.1; proxy_set_header Connection "";') as front:
            return {ask(front, model) for ask in (streamed_by_openai, streamed_by_anthropic)}

    async def main() -> set[str]:
        async with before(tmp_path, f'models: {{"*": {{proxy: "{lab.url}"}}}}\n') as ours:
            return await asyncio.to_thread(through_nginx, f"http://127.0.0.1:{ours.port}")

    assert asyncio.run(main()) == {text_of("tokens=9")}


def test_without_our_signs_nginx_gives_up(front: str, spans: tuple[int, int]) -> None:
    """The test above can fail."""
    with pytest.raises(openai.InternalServerError) as raised:
        streamed_by_openai(front, f"quiet,tokens=9,prefill={spans[1]}")
    assert raised.value.status_code == 504
    assert "nginx" in raised.value.response.headers["server"]
    assert "x-hangtight-id" not in raised.value.response.headers
    with pytest.raises(urllib.error.HTTPError, match="504"):
        request = urllib.request.Request(
            f"{front}/api/chat",
            data=b'{"model": "quiet,tokens=9,prefill=%d", "messages": []}' % spans[1],
            headers={"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=PATIENCE)
