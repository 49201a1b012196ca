"""The commands on the page about vLLM's sleep: what they say to a server, step by step."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hangtight.rules.loading import check
from hangtight.rules.running import Running
from hangtight.supervisor.commands import run_command
from tests.supervisor.kit import run

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")]

PAGE = Path(__file__).parents[2] / "docs" / "vllm-sleep.md"
RELOAD = 'POST /collective_rpc {"method": "reload_weights"}'


@contextmanager
def server(refused: str = "") -> Iterator[tuple[int, list[str]]]:
    """Its port, and what it is told. One path it answers with an error."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            heard.append(f"POST {self.path} {body}".strip())
            self.send_response(500 if refused and self.path.startswith(refused) else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield listening.server_port, heard
        finally:
            listening.shutdown()


def of_page(level: int, port: int, folder: Path) -> Running:
    """The model of the block for this level, as if the page had given it this port."""
    block = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[level - 1]
    path = folder / "hangtight.yaml"
    model = block.replace("${PORT}", str(port)).replace(f"--port {port}", "--port ${PORT}")
    path.write_text(model, encoding="utf-8")
    running = check(path, folder=folder, home=folder).running("qwen3-8b")
    assert running is not None
    return running


def test_level_1_has_a_step_each_way(tmp_path: Path) -> None:
    with server() as (port, heard):
        model = of_page(1, port, tmp_path)
        assert [run(run_command(each)).code for each in (model.sleep_command, model.wake_command)] == [0, 0]
        assert heard == ["POST /sleep?level=1", "POST /wake_up"]


def test_level_2_wakes_in_four_steps(tmp_path: Path) -> None:
    with server() as (port, heard):
        model = of_page(2, port, tmp_path)
        assert [run(run_command(each)).code for each in (model.sleep_command, model.wake_command)] == [0, 0]
        steps = ["POST /wake_up?tags=weights", RELOAD, "POST /wake_up?tags=kv_cache", "POST /reset_prefix_cache"]
        assert heard == ["POST /sleep?level=2", *steps]


def test_a_step_that_fails_is_the_last_and_the_wake_has_failed(tmp_path: Path) -> None:
    with server(refused="/collective_rpc") as (port, heard):
        ended = run(run_command(of_page(2, port, tmp_path).wake_command))
        assert ended.code
        assert "500" in ended.tail
        assert heard == ["POST /wake_up?tags=weights", RELOAD]
