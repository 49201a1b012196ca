"""OpenAI's text completions: no messages, no roles, and the choices are bare text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hangtight.testing.lab.wire import Ask, Close, compact, is_limit, parse, prompt_tokens
from hangtight.testing.lab.wire_openai import OpenAIChat, extras
from hangtight.testing.lab.words import Token, of_choice, ranked

THINK = "<think>"
THOUGHT = "</think>"


def ask_of(body: bytes) -> Ask:
    """Read a request to /v1/completions."""
    found = parse(body)
    limit, logprobs = found.get("max_tokens"), found.get("logprobs")
    return Ask(
        model=found["model"],
        stream=found.get("stream") is True,
        prompt_tokens=prompt_tokens(found, "prompt"),
        limit=limit if is_limit(limit) else None,
        extras=extras(found, None if logprobs is False else logprobs),
    )


class Tagged:
    """Tokens as a model writes them where the API has no place for reasoning and calls: reasoning in tags."""

    def __init__(self) -> None:
        self._thinking = False

    def __call__(self, token: Token) -> Token:
        before, self._thinking = self._thinking, token.kind == "reasoning"
        tag = "" if before == self._thinking else THINK if self._thinking else THOUGHT
        return replace(token, text=tag + token.text)


class OpenAICompletion(OpenAIChat):
    """Text completions; its stream has no opening."""

    chunk = "text_completion"
    id = "cmpl-lab"

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self._tagged = Tagged()
        self._said = [0 for _ in self._choices()]

    def opening(self) -> bytes:
        return b""

    def progress(self, part: float, elapsed: float) -> bytes:
        return self._event(self._text(0, ""), {"prompt_progress": self._progress(part, elapsed)})

    def token(self, token: Token) -> bytes:
        tagged = self._tagged(token)
        return b"".join(self._piece(at, of_choice(tagged, at).text) for at in self._choices())

    def reason(self, reached_limit: bool, tool: bool) -> str:
        return super().reason(reached_limit, tool=False)

    def empty(self, index: int) -> bytes:
        return self._event(self._text(0, ""))

    def drip(self) -> bytes:
        whole = self._event(self._text(0, "@"))
        return whole[: whole.index(b"@")]

    def garbage(self) -> bytes:
        whole = self._event(self._text(0, "torn"))
        return whole[: len(whole) // 2] + b"\n\n"

    def whole(self, said: list[Token], close: Close) -> bytes:
        tagged = Tagged()
        tokens = [tagged(token) for token in said]
        choices = []
        for at in self._choices():
            texts = [of_choice(token, at).text for token in tokens]
            choices.append(self._text(at, "".join(texts), close.reason, self._likely(texts, 0)))
        return compact(self._head(self.chunk) | {"choices": choices, "usage": self._usage(close)})

    def _last(self, at: int, reason: str) -> bytes:
        return self._event(self._text(at, "", reason))

    def _piece(self, at: int, text: str) -> bytes:
        offset = self._said[at]
        self._said[at] += len(text)
        return self._event(self._text(at, text, logprobs=self._likely([text], offset)))

    def _text(
        self, at: int, text: str, reason: str | None = None, logprobs: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {"index": at, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _likely(self, texts: Iterable[str], offset: int) -> dict[str, Any] | None:
        number = self.ask.extras.logprobs
        if number is None:
            return None
        found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for text in texts:
            likely = ranked(text, max(1, number))
            found["tokens"].append(text)
            found["token_logprobs"].append(likely[0][1])
            found["top_logprobs"].append(dict(likely))
            found["text_offset"].append(offset)
            offset += len(text)
        return found
