"""A model that answers questions in turn, for runs in other processes; where it has no answer it says nothing more."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class Serving:
    """The prompts that it was asked are in `asked`; an answer of None is silence."""

    def __init__(self, answers: list[str | None]) -> None:
        self.answers, self.asked = answers, list[str]()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Serving:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        serving = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                serving.asked.append(asked["messages"][-1]["content"])
                self._answer(serving.answers.pop(0))

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"data":[]}')

            def _answer(self, text: str | None) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                if text is None:
                    serving._over.wait()
                    return
                for content, reason in ((text, None), ("", "stop")):
                    chunk = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}]}
                    self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base
                """Nobody reads it."""

        return Handler
