"""What is said to a client that never got as far as the app, and is closed then."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import NamedTuple


class Answer(NamedTuple):
    """One of these answers."""

    status: int
    code: str
    message: str

    def bytes(self) -> bytes:
        error = {"message": self.message, "type": "invalid_request_error", "param": None, "code": self.code}
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-should-retry: false\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body


NOT_HTTP = Answer(400, "bad_request", "this is not HTTP/1.1 as we understand it")
TOO_LARGE = Answer(431, "headers_too_large", "the headers of the request are too large")
NO_WEBSOCKETS = Answer(
    501, "no_websockets", "this gateway passes no WebSockets on: ask without them, or its server itself"
)
LATE_HEAD = Answer(408, "request_timeout", "timeout: the headers of the request did not arrive in time")
LATE_BODY = Answer(408, "request_timeout", "timeout: the body of the request did not arrive in time")
