"""Several models behind one `watch`: when one fails before its first token, the next one is asked."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from hangtight.core.attempts import Attempts
from hangtight.core.limits import length
from hangtight.core.time import FOREVER, Instant, Seconds, between
from hangtight.drivers.faults import attempt_of, fault_of, tell
from hangtight.errors import SettingsError

if TYPE_CHECKING:
    from hangtight.core.layers import Resolved
    from hangtight.drivers.session import Session

Opening = Callable[[], Any]


class Chain:
    """Who is asked for one call, in order: a name for each, and what opens its stream."""

    def __init__(
        self, source: Any, model: str | None, fallback: Sequence[Any], predict: Callable[[str], float | None]
    ) -> None:
        if isinstance(fallback, str):
            raise SettingsError("fallback", fallback, f"a list: [{fallback!r}]")
        names = [entry for entry in fallback if isinstance(entry, str)]
        if not callable(source):
            raise SettingsError("fallback", fallback, "given with a function that opens the stream, not with a stream")
        if names and not (model and takes_a_model(source)):
            wanted = "names only where `model=` names the first and the function takes a name: lambda model: ..."
            raise SettingsError("fallback", names, wanted)
        self.openings: dict[str, Opening] = {}
        first = self._add(model or "the model", (lambda: source(model)) if names else source)
        others = [self._entry(at, entry, source) for at, entry in enumerate(fallback, 1)]
        self.attempts = Attempts([first, *others], Instant(0.0), predict)
        self.left: Seconds = FOREVER
        self.holds = False
        """Nobody sees a piece before the last one: until then another model may take over."""

    def _entry(self, at: int, entry: Any, source: Callable[[str], Any]) -> str:
        if isinstance(entry, str):
            return self._add(entry, lambda: source(entry))
        if callable(entry):
            return self._add(f"fallback {at}", entry)
        raise SettingsError("fallback", entry, "the name of a model, or a function that opens another stream")

    def _add(self, name: str, opening: Opening) -> str:
        self.openings.setdefault(name, opening)
        return name

    @property
    def opening(self) -> Opening:
        """What opens the stream of the model whose turn it is."""
        return self.openings[self.attempts.model]

    def has_another(self, now: Callable[[], Instant], resolved: Resolved) -> bool:
        """Another model would take over now."""
        return self.attempts.has_another(now(), length(resolved.limits.total))

    def goes_on(self, error: BaseException, session: Session) -> bool:
        """Whether another model is asked after this error; it says so itself, if it is one of ours."""
        fault = fault_of(error)
        if fault is None:
            return False
        attempts, now = self.attempts, session.clock()
        elapsed = between(attempts.born, now)
        attempt = attempt_of(error, fault, model=attempts.model, elapsed=elapsed, tokens=session.tokens)
        session.failed_as = attempt
        following = attempts.failed(attempt, now, length(session.resolved.limits.total))
        if following is None:
            tell(error, attempts.told, attempts.unfit)
            return False
        self.left = following.left
        return True


def takes_a_model(source: Callable[..., Any]) -> bool:
    """Whether the function that opens a stream wants to be told for which model."""
    try:
        parameters = inspect.signature(source).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)


async def aflow(
    chain: Chain, begin: Callable[[], Session], flow: Callable[[Opening, Session], AsyncGenerator[Any]]
) -> AsyncGenerator[Any]:
    """The chunks of the first model that gives a token. Until then nothing is handed on: it might have to be unsaid."""
    attempts, early = chain.attempts, []
    while True:
        session = begin()
        flowing = flow(chain.opening, session)
        try:
            async for chunk in flowing:
                if attempts.may_change and (chain.holds or not session.tokens):
                    early.append(chunk)
                    continue
                attempts.delivered = True
                while early:
                    yield early.pop(0)
                yield chunk
            while early:
                yield early.pop(0)
            return
        except Exception as error:
            early.clear()
            if not chain.goes_on(error, session):
                raise
        finally:
            await flowing.aclose()


def flow(
    chain: Chain, begin: Callable[[], Session], flow: Callable[[Opening, Session], Generator[Any]]
) -> Generator[Any]:
    """The same for a synchronous loop."""
    attempts, early = chain.attempts, []
    while True:
        session = begin()
        flowing = flow(chain.opening, session)
        try:
            for chunk in flowing:
                if attempts.may_change and (chain.holds or not session.tokens):
                    early.append(chunk)
                    continue
                attempts.delivered = True
                while early:
                    yield early.pop(0)
                yield chunk
            while early:
                yield early.pop(0)
            return
        except Exception as error:
            early.clear()
            if not chain.goes_on(error, session):
                raise
        finally:
            flowing.close()


async def whole(chain: Chain, begin: Callable[[], Session], whole: Callable[[Opening, Session], Awaitable[Any]]) -> Any:
    """The answer of the first model that gives one."""
    while True:
        session = begin()
        try:
            return await whole(chain.opening, session)
        except Exception as error:
            if not chain.goes_on(error, session):
                raise
