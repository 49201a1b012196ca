"""The answers of a process in the words of OpenAI's API: piece by piece, or as a whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from random import getrandbits
from typing import TYPE_CHECKING, Any

from hangtight.drivers import clock

if TYPE_CHECKING:
    from hangtight.supervisor.prompts import Question

NEWS_EVERY = 0.25
"""Seconds between two signs that the process gets on with its load."""
DONE = b"data: [DONE]\n\n"
FAILED = "process_failed"


def refusal(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "code": code}}


def whole(status: int, body: Any) -> bytes:
    """An answer that is there at once; the connection ends with it."""
    data = json.dumps(body).encode()
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(data)}",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + data


class Voice:
    """One answer. Nothing is said before the process has shown a sign, so that what fails early has a status."""

    def __init__(self, question: Question, writer: asyncio.StreamWriter) -> None:
        self._question = question
        self._writer = writer
        self._begun = self._spoke = False
        self._said: list[str] = []
        self._told_at = clock.now()
        kind = ("chat.completion", "chatcmpl") if question.is_chat else ("text_completion", "cmpl")
        streamed = ".chunk" if question.streams and question.is_chat else ""
        self._top = {
            "id": f"{kind[1]}-{getrandbits(48):012x}",
            "object": kind[0] + streamed,
            "created": int(clock.wall()),
            "model": question.model,
        }

    def gets_on(self) -> None:
        """It loads. In llama.cpp's words for a prompt that is being read, which clients know or pass over."""
        now = clock.now()
        if self._question.streams and not self._spoke and now - self._told_at >= NEWS_EVERY:
            self._told_at = now
            self._send(self._piece("", None) | {"prompt_progress": {"total": 0, "cache": 0, "processed": 0}})

    async def say(self, text: str) -> None:
        """The next piece. A client that does not read holds back the process."""
        self._spoke = True
        if not self._question.streams:
            self._said.append(text)
            return
        self._send(self._piece(text, None))
        await self._writer.drain()

    async def finish(self) -> None:
        """The process has ended well."""
        if self._question.streams:
            self._send(self._piece("", "stop"))
            self._chunk(DONE)
            self._chunk(b"")
        else:
            self._writer.write(whole(HTTPStatus.OK, self._top | {"choices": [self._choice("".join(self._said))]}))
        await self._writer.drain()

    async def fail(self, status: int, why: str, code: str = FAILED) -> None:
        """As a status, or as the last event of the stream."""
        if self._begun:
            self._send(refusal(why, code))
            self._chunk(b"")
        else:
            self._writer.write(whole(status, refusal(why, code)))
        await self._writer.drain()

    # -- shapes -----------------------------------------------------------------------------------------------

    def _piece(self, text: str, reason: str | None) -> dict[str, Any]:
        if not self._question.is_chat:
            return self._top | {"choices": [{"index": 0, "text": text, "finish_reason": reason}]}
        delta: dict[str, Any] = {} if self._begun else {"role": "assistant"}
        delta |= {"content": text} if text else {}
        return self._top | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    def _choice(self, text: str) -> Mapping[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if self._question.is_chat else {"text": text}
        return {"index": 0, **said, "finish_reason": "stop"}

    def _send(self, event: Mapping[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        """In chunks, so that a stream that breaks off can be told from one that ends."""
        if not self._begun:
            self._begun = True
            head = "HTTP/1.1 200 OK", "content-type: text/event-stream", "cache-control: no-cache"
            self._writer.write("\r\n".join((*head, "transfer-encoding: chunked", "connection: close", "", "")).encode())
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
