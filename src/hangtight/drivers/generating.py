"""`hangtight.generate` and its kin: a question to a model server, its answer as text."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from hangtight.core.telling import Door
from hangtight.dialects.chat import Prompt, said
from hangtight.drivers.asking import Asking, watched
from hangtight.drivers.servers import choose_model, find_server
from hangtight.drivers.terms import AROUND, LimitArgs, given

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict, Unpack

    from hangtight.core.attempts import Attempt
    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.phases import Outcome
    from hangtight.drivers.watch import Watch

    class Asked(LimitArgs, TypedDict, total=False):
        """What may be given with a question, beside the limits."""

        model: str | None
        url: str | None
        mode: str | None
        fallback: Sequence[str]
        think: bool
        on_heartbeat: Callable[[Heartbeat], object] | None


DOOR = Door("hangtight.generate(..., {name}={value})")


class Answer:
    """One answer under the time contract: pieces of text for `for` or `async for`, and a report.

    The question is asked when the first piece is wanted. Leaving the loop gives it up.
    """

    def __init__(self, prompt: Prompt, asked: Asked) -> None:
        wish: dict[str, Any] = dict(asked)
        self._prompt = prompt
        self._model, self._url = wish.pop("model", None), wish.pop("url", None)
        self._think = bool(wish.pop("think", False))
        self._how = {name: wish.pop(name) for name in ("mode", "fallback", "on_heartbeat") if name in wish}
        self._limits = wish
        given(wish, self._how.get("mode"))  # what cannot be meant is refused now, not when the first piece is wanted
        self._around = AROUND.get()
        self._asking: Asking | None = None
        self._watch: Watch[Any] | None = None

    async def _pieces(self) -> AsyncGenerator[str]:
        server = await find_server(self._url, os.environ)
        model = await choose_model(server, self._model)
        self._asking = Asking(server, model, self._prompt, think=self._think)
        token = AROUND.set(self._around)
        try:
            watching = self._watch = watched(self._asking, door=DOOR, **self._how, **self._limits)
        finally:
            AROUND.reset(token)
        async with watching as chunks:
            async for chunk in chunks:
                if text := said(chunk).answer:
                    yield text

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

    Takes `model`, `mode`, `fallback`, `think`, `on_heartbeat` and the limits of `watch`. A prompt is text, or a list of
    messages. Raises GenerationTimeout, with what was said so far in `.partial`, or BackendError.

    >>> generate("Why is the sky blue?", model="qwen3-coder", mode="deep")  # doctest: +SKIP
    """
    return "".join(Answer(prompt, asked))


async def agenerate(prompt: Prompt, **asked: Unpack[Asked]) -> str:
    """The answer to a question: `generate` for code that is asynchronous."""
    return "".join([text async for text in Answer(prompt, asked)])
