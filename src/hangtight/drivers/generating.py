"""`hangtight.generate` and its kin: a question to a model server, its answer as text."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hangtight.core.layers import Situation
from hangtight.core.telling import Door
from hangtight.dialects.chat import Prompt, checked_prompt, said, tokens_of
from hangtight.drivers.asking import Asking
from hangtight.drivers.given import AROUND, LimitArgs, given
from hangtight.drivers.servers import choose_model, find_server, is_nearby
from hangtight.drivers.terms import rounded, terms_of
from hangtight.drivers.through import THROUGH
from hangtight.drivers.watch import Watch
from hangtight.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict, Unpack

    from hangtight.core.attempts import Attempt
    from hangtight.core.heartbeat import Heartbeat, Snapshot
    from hangtight.core.phases import Outcome
    from hangtight.drivers.servers import Server

    class Asked(LimitArgs, TypedDict, total=False):
        """What may be given with a question, beside the limits."""

        model: str | None
        url: str | None
        mode: str | None
        fallback: Sequence[str] | None
        think: bool
        on_heartbeat: Callable[[Heartbeat], object] | None


DOOR = Door("hangtight.generate(..., {name}={value})")
HOW = ("fallback", "on_heartbeat")


def _is_nearby(url: Any) -> bool:
    """Whether the model is asked on this machine or its network, as far as that is known before a server is found."""
    if url is None:
        return True
    if not isinstance(url, str):
        raise SettingsError("url", url, 'the address of a server, such as "http://127.0.0.1:11434"')
    return is_nearby(urlsplit(url if "://" in url else f"http://{url}").hostname or "")


class Answer:
    """One answer under the time contract: pieces of text for `for` or `async for`, and a report.

    The question is asked when the first piece is wanted. Leaving the loop gives it up.
    """

    def __init__(self, prompt: Prompt, asked: Asked, *, holds: bool = False, door: Door = DOOR) -> None:
        wish: dict[str, Any] = dict(asked)
        self._prompt = checked_prompt(prompt)
        self._model, self._url = wish.pop("model", None), wish.pop("url", None)
        self._think = bool(wish.pop("think", False))
        mode, self._how = wish.pop("mode", None), {key: wish.pop(key) for key in HOW if key in wish}
        tokens, nearby = rounded(tokens_of(self._prompt)), _is_nearby(self._url)
        situation = Situation(prompt_tokens=tokens, nearby=nearby, reasons=self._think)
        self._terms = terms_of(given(wish, mode), *AROUND.get(), door=door, situation=situation)
        if self._how.get("fallback") and not self._model:
            raise SettingsError("fallback", self._how["fallback"], "given together with `model`, which names the first")
        self._model = self._model or self._terms.preferred
        self._through = THROUGH.get() if self._url is None else None
        if self._model and self._how.get("fallback") is None and self._through is None:
            self._how["fallback"] = self._terms.fallback(self._model)
        self._how["holds"] = holds
        self._servers: dict[str | None, Server] = {}
        self._asking: Asking | None = None
        self._watch: Watch[Any] | None = None

    async def _pieces(self) -> AsyncGenerator[str]:
        if self._watch is not None:
            raise RuntimeError("this answer has been read already: ask again for another")
        source = self._ask if self._how.get("fallback") else partial(self._ask, self._model)
        watching = self._watch = Watch(source, self._terms, model=self._model, **self._how)
        async with watching as chunks:
            async for chunk in chunks:
                if text := said(chunk).answer:
                    yield text

    async def _ask(self, model: str | None) -> Asking:
        """The question, put to this model; its server is looked for once, and that takes of the same time."""
        if self._through is not None:
            self._asking = await self._through.asking(model, self._prompt, self._terms, think=self._think)
            return self._asking
        url = self._url or self._terms.settings.proxy(model or "")
        if url not in self._servers:
            self._servers[url] = await find_server(url, os.environ)
        server = self._servers[url]
        name = await choose_model(server, model)
        self._asking = Asking(server, name, self._prompt, think=self._think)
        return self._asking

    def __iter__(self) -> Generator[str]:
        from hangtight.drivers import portal

        return portal.flow(self._pieces)

    def __aiter__(self) -> AsyncGenerator[str]:
        return self._pieces()

    # -- the report -------------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The model that answers; empty while nobody was asked, or where only the server knows."""
        return self._asking.model if self._asking else ""

    @property
    def reason(self) -> str:
        """Why the model ended, in the server's word: `stop`, `length`."""
        return self._asking.reason if self._asking else ""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""
        return self._watch.outcome if self._watch else None

    @property
    def tokens(self) -> int:
        return self._watch.tokens if self._watch else 0

    @property
    def elapsed(self) -> float:
        return self._watch.elapsed if self._watch else 0.0

    @property
    def partial(self) -> str:
        """The text so far."""
        return self._watch.partial if self._watch else ""

    def snapshot(self) -> Snapshot | None:
        """How it stands now, for people to look at; None while nobody was asked."""
        return self._watch.snapshot() if self._watch and self._watch.outcome is None and self._asking else None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The models that failed before the one that answered, and why."""
        return self._watch.attempts if self._watch else ()


def stream(prompt: Prompt, **asked: Unpack[Asked]) -> Answer:
    """The answer to a question, piece by piece, for a `for` loop.

    >>> for text in stream("Why is the sky blue?", model="qwen3:1.7b"):     # doctest: +SKIP
    ...     print(text, end="")
    """
    return Answer(prompt, asked)


def astream(prompt: Prompt, **asked: Unpack[Asked]) -> Answer:
    """The answer to a question, piece by piece, for an `async for` loop."""
    return Answer(prompt, asked)


def generate(prompt: Prompt, **asked: Unpack[Asked]) -> str:
    """The answer to a question, from the server at `url`, else from the one that is found on this machine.

    Takes `model`, `mode`, `fallback`, `think`, `on_heartbeat` and the limits of `watch`. The models of `fallback` stand
    in for one that fails, also in the middle of its answer, since nobody has seen that yet. A prompt is text, or a list
    of messages. Raises GenerationTimeout, with what was said so far in `.partial`, or BackendError.

    >>> generate("Why is the sky blue?", model="qwen3-coder", mode="deep")  # doctest: +SKIP
    """
    return "".join(Answer(prompt, asked, holds=True))


async def agenerate(prompt: Prompt, **asked: Unpack[Asked]) -> str:
    """The answer to a question: `generate` for code that is asynchronous."""
    return "".join([text async for text in Answer(prompt, asked, holds=True)])
