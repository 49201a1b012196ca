"""`hangtight.watch`: put the time contract around a stream. Iterator, context manager and report in one."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from hangtight.core.facts import Paused, Resumed
from hangtight.core.limits import Limits
from hangtight.core.phases import Phase
from hangtight.core.telling import Door
from hangtight.core.time import FOREVER, Seconds
from hangtight.drivers import blocking, clock
from hangtight.drivers import chain as chains
from hangtight.drivers.attention import Forgotten
from hangtight.drivers.given import AROUND, LimitArgs, given
from hangtight.drivers.session import Session
from hangtight.drivers.terms import Terms, terms_of
from hangtight.errors import BudgetSpent

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from hangtight.core.attempts import Attempt
    from hangtight.core.heartbeat import Heartbeat, Snapshot
    from hangtight.core.phases import Outcome
    from hangtight.dialects.reading import Usage

T = TypeVar("T")

WITH, ASYNC_WITH = "with", "async with"
DOOR = Door("hangtight.watch(..., {name}={value})")


class Watch(Generic[T]):
    """A generation under the time contract.

    Iterate over it with `for` or `async for`; the clocks start then, and the source is closed at any end. Used
    as a context manager it is closed at the end of the block. Before, during and after it reports: `.outcome`,
    `.tokens`, `.elapsed`, `.limits`, `.partial`.
    """

    def __init__(
        self,
        source: Any,
        terms: Terms,
        *,
        model: str | None = None,
        on_heartbeat: Callable[[Heartbeat], object] | None = None,
        fallback: Sequence[Any] | None = None,
        holds: bool = False,
    ) -> None:
        self._source = source
        self._terms = terms
        self._model = model
        self._on_heartbeat = on_heartbeat
        if fallback is None and model and callable(source) and chains.takes_a_model(source):
            fallback = terms.fallback(model)
        self._chain = chains.Chain(source, model, fallback, terms.predict) if fallback else None
        if self._chain is not None:
            self._chain.holds = holds
        self._session: Session | None = None
        self._flow: weakref.ref[Any] | None = None
        self._begun: Any = None
        """The flow, where we must keep it: read by `next`, or inside a `with`."""
        self._block = ""

    # -- reading ----------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[T]:
        if self._begun is not None:
            begun: Iterator[T] = self._begun
            return begun
        if getattr(self._source, "bridged", False):
            from hangtight.drivers import portal

            bridged: Iterator[T] = self._held(portal.flow(self._async_flow), WITH)
            return bridged
        flowing: Iterator[T] = self._held(self._sync_flow(), WITH)
        return flowing

    def __next__(self) -> T:
        if self._begun is None:
            self._begun = iter(self)
        chunk: T = next(self._begun)
        return chunk

    def __aiter__(self) -> AsyncIterator[T]:
        if self._begun is not None:
            begun: AsyncIterator[T] = self._begun
            return begun
        flowing: AsyncIterator[T] = self._held(self._async_flow(), ASYNC_WITH)
        return flowing

    def _sync_flow(self) -> Generator[T]:
        if self._chain is None:
            return blocking.flow(self._opening(), self._source, self._begin(clock.OURS))
        self._refuse_a_second_reading()
        return chains.flow(
            self._chain, lambda: self._begin(clock.OURS), lambda opening, session: blocking.flow(opening, None, session)
        )

    def _async_flow(self) -> AsyncGenerator[T]:
        from hangtight.drivers import aio

        loop = aio.running_loop()
        timepiece = clock.timepiece_of(loop)
        if self._chain is None:
            session = self._begin(timepiece)
            return aio.flow(self._opening() or (lambda: self._source), session, loop)
        self._refuse_a_second_reading()
        return chains.aflow(
            self._chain,
            lambda: self._begin(timepiece),
            lambda opening, session: aio.flow(opening, session, loop),
        )

    async def __anext__(self) -> T:
        if self._begun is None:
            self._begun = aiter(self)
        chunk: T = await anext(self._begun)
        return chunk

    def __await__(self) -> Generator[Any, Any, Any]:
        """The whole answer of an unstreamed call."""
        from hangtight.drivers import aio

        loop = aio.running_loop()

        def begin() -> Session:
            return self._begin(clock.timepiece_of(loop), phase=Phase.UNSTREAMED)

        if self._chain is None:
            return aio.whole(self._opening() or (lambda: self._source), begin(), loop).__await__()
        self._refuse_a_second_reading()
        return chains.whole(self._chain, begin, lambda opening, session: aio.whole(opening, session, loop)).__await__()

    def _held(self, flowing: Any, block: str) -> Any:
        """Inside a `with` the block's end closes the flow. Outside nobody may keep it: a `break` must close it."""
        if self._block not in ("", block):
            raise TypeError(f"this generation is read in `{block}`, not in `{self._block}`: its end must wait for it")
        self._flow = weakref.ref(flowing)
        if self._block:
            self._begun = flowing
        return flowing

    def _opening(self) -> Callable[[], Any] | None:
        """What opens the source, if it is not open yet."""
        source = self._source
        if isinstance(source, Iterable | AsyncIterable):
            return None
        if inspect.isawaitable(source):
            return lambda: source
        if callable(source):
            opening: Callable[[], Any] = source
            return opening
        kind = type(source).__qualname__
        raise TypeError(
            f"hangtight.watch cannot read a {kind}: it takes a stream, an awaitable, or a function that opens one"
        )

    def _begin(self, timepiece: clock.Timepiece, *, phase: Phase = Phase.WAITING) -> Session:
        chain, terms, model = self._chain, self._terms.here(), self._model
        if chain is None:
            self._refuse_a_second_reading()
        else:
            terms = self._terms_of_turn(chain, terms, timepiece)
            model = chain.attempts.model if model else None
        session = self._session = self._session_under(terms, timepiece, model, phase)
        if chain is not None:
            session.chained = True
            session.machine.earlier = Seconds(session.machine.born - chain.attempts.born)
            session.others = partial(chain.has_another, session.clock, session.resolved)
        if not getattr(self._source, "keeps", True):
            session.parts = Forgotten()
        return session

    def _terms_of_turn(self, chain: chains.Chain, terms: Terms, timepiece: clock.Timepiece) -> Terms:
        attempts = chain.attempts
        if self._session is None:
            attempts.born = timepiece.now()
            attempts.skip_unfit(terms.resolved(None, False, attempts.model).clocks.total)
        elif chain.left != FOREVER:
            terms = terms.within(chain.left)
        return terms.for_turn(attempts)

    def _session_under(self, terms: Terms, timepiece: clock.Timepiece, model: str | None, phase: Phase) -> Session:
        try:
            session = Session(
                terms,
                timepiece,
                model=model,
                on_heartbeat=self._on_heartbeat,
                phase=phase,
                host=None if getattr(self._source, "loads_anew", False) else "",
            )
        except BudgetSpent:
            if inspect.iscoroutine(self._source):  # nobody will await it now, and Python would complain
                self._source.close()
            raise
        return session.begin(before=self._session)

    def _refuse_a_second_reading(self) -> None:
        if self._session is not None:
            raise RuntimeError("this generation has been read already: call hangtight.watch once for each")

    # -- the block --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._block = WITH
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._block = ASYNC_WITH
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """Close the source, if it is still open. Reading on afterwards ends at once."""
        flowing = self._begun or (self._flow() if self._flow else None)
        if (closing := getattr(flowing, "close", None)) is not None:
            closing()
        if self._is_untouched() and (closing := getattr(self._source, "close", None)) is not None:
            closing()

    async def aclose(self) -> None:
        """Close the source, if it is still open. Reading on afterwards ends at once."""
        from hangtight.drivers.aio import close

        flowing = self._begun or (self._flow() if self._flow else None)
        if (closing := getattr(flowing, "aclose", None)) is not None:
            await closing()
        if self._is_untouched():
            await close(self._source)

    def _is_untouched(self) -> bool:
        """Nobody has asked for a first piece, so no flow will close the source."""
        return self._session is None or self._session.machine.outcome is None

    # -- the report -------------------------------------------------------------------------------------------

    @property
    def outcome(self) -> Outcome | None:
        """How it ended (`"finished"`, `"timeout"`, `"left"`, ...); None while it runs."""
        return self._session.machine.outcome if self._session else None

    @property
    def tokens(self) -> int:
        """Pieces with content so far. Most servers send one token in each."""
        return self._session.tokens if self._session else 0

    @property
    def usage(self) -> Usage | None:
        """Tokens of prompt and answer as the server counts them, over a client of ours; None where it does not say."""
        return self._session.usage if self._session else None

    @property
    def elapsed(self) -> float:
        """Seconds since the clocks started."""
        return self._session.elapsed if self._session else 0.0

    @property
    def limits(self) -> Limits:
        """The limits of this call, without allowances."""
        if self._session is not None:
            return (self._session.deputy or self._session).resolved.limits
        return self._terms.here().resolved(None, False, self._model or "").limits

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The models that failed before the one that answered, and why."""
        if self._chain is not None:
            return self._chain.attempts.told
        deputy = self._session.deputy if self._session else None
        return deputy.attempts if deputy is not None else ()

    @property
    def partial(self) -> str:
        """The text so far."""
        return self._session.partial if self._session else ""

    @property
    def excused(self) -> float:
        """Seconds by which our own alarms came late, charged to no limit on silence."""
        return self._session.excused if self._session else 0.0

    def snapshot(self) -> Snapshot:
        """How it stands now: phase, silence, time to the nearest alarm. For people to look at."""
        if self._session is None:
            raise RuntimeError("the clocks have not started: iterate first")
        active = self._session.active
        return active.machine.snapshot(active.clock())

    @contextmanager
    def paused(self, owner: str) -> Iterator[None]:
        """While the block runs its silence is not the model's: the caller waits on a `tool`, a `child`, a `person`.

        A person also stops `total`, and the budget around.
        """
        if self._session is None:
            raise RuntimeError("the clocks have not started: there is nothing to pause")
        active = self._session.active
        share = active.terms.share
        with nullcontext() if share is None else share.budget.paused(owner):
            active.note(Paused(owner))
            try:
                yield
            finally:
                active.note(Resumed(owner))


@overload
def watch(
    source: AsyncIterable[T] | Iterable[T],
    *,
    mode: str | None = None,
    model: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    fallback: Sequence[Any] | None = None,
    **limits: Unpack[LimitArgs],
) -> Watch[T]: ...
@overload
def watch(
    source: Awaitable[AsyncIterable[T]],
    *,
    mode: str | None = None,
    model: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    fallback: Sequence[Any] | None = None,
    **limits: Unpack[LimitArgs],
) -> Watch[T]: ...
@overload
def watch(
    source: Callable[..., Iterable[T] | AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
    *,
    mode: str | None = None,
    model: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    fallback: Sequence[Any] | None = None,
    **limits: Unpack[LimitArgs],
) -> Watch[T]: ...
@overload
def watch(
    source: Awaitable[Any] | Callable[..., Any],
    *,
    mode: str | None = None,
    model: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    fallback: Sequence[Any] | None = None,
    **limits: Unpack[LimitArgs],
) -> Watch[Any]: ...
def watch(
    source: Any,
    *,
    mode: str | None = None,
    model: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    fallback: Sequence[Any] | None = None,
    **limits: Unpack[LimitArgs],
) -> Watch[Any]:
    """Put the time contract around a stream: what produces tokens goes on, what went silent is ended.

    `source` is an open stream, sync or async, an awaitable or a function that opens one. The limits are seconds;
    what is left out has its default (first_token 45 and 60 for a cold model, idle 45, total 600). `fallback` names
    models that are asked in turn when one fails before its first token; the function is then given the name.

    >>> for chunk in watch(["def ", "main"]):
    ...     print(chunk)
    def
    main
    """
    terms = terms_of(given(limits, mode), *AROUND.get(), door=DOOR)
    return Watch(source, terms, model=model, on_heartbeat=on_heartbeat, fallback=fallback)
