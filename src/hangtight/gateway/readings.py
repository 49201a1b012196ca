"""One attempt of a request through the gateway: a slot first, then the server, whose bytes are poured on at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hangtight.core.attempts import Fault
from hangtight.core.circuit import Change, is_mark
from hangtight.core.facts import Handed, LoadProgress
from hangtight.core.limits import Limit
from hangtight.core.phases import Outcome
from hangtight.dialects.mould import Mould
from hangtight.drivers.http.answers import LAST_WORDS, Answer
from hangtight.drivers.http.asyncs import AsyncReading
from hangtight.drivers.http.call import Plan
from hangtight.drivers.http11 import BrokenHead, ConnectFailed
from hangtight.errors import BackendError
from hangtight.gateway import library
from hangtight.gateway.ending import Break, Life
from hangtight.gateway.entry import Entry, Load, untold
from hangtight.gateway.lanes import Cancelled, Lane, Lanes, Ticket
from hangtight.gateway.looking.looker import Found, Seen
from hangtight.gateway.pouring import PassOn, Past, blocked, keep_nothing, nothing, swallow
from hangtight.gateway.telling.tracing import UNTRACED, About, Traced
from hangtight.gateway.upstream.connection import Incoming
from hangtight.gateway.upstream.steward import PutAway
from hangtight.journal.entries import Kind

if TYPE_CHECKING:
    from hangtight.gateway.calls import GatewayCall
    from hangtight.gateway.upstream.pool import Outgoing, Upstream
    from hangtight.gateway.upstream.targets import Target

CUT_SHORT = (Outcome.TIMEOUT, Outcome.LOOPING, Outcome.LEFT, Outcome.CANCELLED)
"""Ends after which a server may go on with what nobody waits for."""


class GatewayReading(AsyncReading):
    """Reads like the transport of a client; a stream that nobody has to wait for is poured instead."""

    call: GatewayCall
    life_kind = Life

    def __init__(
        self, call: GatewayCall, loop: asyncio.AbstractEventLoop, upstream: Upstream, lane: Lane, lanes: Lanes
    ) -> None:
        super().__init__(call, loop, self._asked)
        self.loop = loop
        self.lane = lane
        self._lanes = lanes
        self._upstream = upstream
        self._entry = Entry(lane, self.session, self.life.alarm.rearm)
        self._sent_to: Target | None = None
        """Whose server has it. The settings may name another one by the time it ends."""
        self._generates = call.asked.dialect is not None
        self._pass_on: PassOn = nothing
        self._poured: asyncio.Future[None] | None = None
        self._past: Past = blocked
        self._mould = Mould()
        self._keep: Callable[[str], object] = keep_nothing
        """Of the kind that flows now: what goes the quick way is of that."""
        self._is_paused = False
        self._break = Break()
        self.seen: asyncio.Future[Seen] | None = None
        """What its server did after it was cancelled; None where nobody looks."""
        self.on_news: Callable[[GatewayReading, Change | Seen], object] = _unheard
        self._metrics = lane.metrics
        """Kept: a model that becomes known meanwhile has other numbers."""
        dialect = call.asked.dialect
        self.traced = call.traced = (
            UNTRACED
            if dialect is None
            else lanes.tracing.begin(
                call.came.headers,
                About(dialect.name, call.attempts.model, call.target.place, dialect.streams(call.asked.body)),
            )
        )
        self.session.on_moved = self.traced.moved
        lane.readings.add(self)
        self._metrics.began()
        if call.attempts.told:
            self._metrics.fell_back()

    # -- before it is sent ------------------------------------------------------------------------------------

    async def send(self, pool: float | None) -> library.Response:
        entry = self._entry
        if entry.ticket is None:
            await self._guarded(entry.enter(self.call.came.priority, self._lanes.steward, self))
        response: library.Response = await super().send(pool)
        return response

    @property
    def patience(self) -> float:
        return self._entry.patience

    def loading(self) -> None:
        """The load of its server gets on."""
        self.session.note(LoadProgress())

    def cut(self, why: str) -> None:
        """Its server is put away, now: this is the end of it, before the connection breaks."""
        self._remark(why)
        self._break.now(error := PutAway(why))
        self._fail(error)

    async def _guarded(self, work: Awaitable[Any]) -> Any:
        return await super()._guarded(self._break.unless(work))

    def tells_loads(self, told: Callable[[Load], object]) -> None:
        """Who wants to know that a server has to be ready first, and that it is."""
        self._entry.on_load = told

    @property
    def position(self) -> int | None:
        """In the queue; 1 is the next to go."""
        return self._entry.position

    async def _asked(self, asked: Outgoing) -> library.Response:
        incoming = await self._upstream.send(asked._replace(sent=self._goes_out))
        head = incoming.head.result()
        return library.Response(head.status, headers=head.headers, stream=incoming)

    def _goes_out(self) -> None:
        """The first of it is written: from here on there is something to look for."""
        if self._sent_to is None:
            self._sent_to = target = self.call.target
            house = self._lanes.house(target.base)
            if self._generates:
                house.enter(target.credentials)
            else:
                house.pass_through()

    # -- after it has ended -----------------------------------------------------------------------------------

    async def _ended(self, error: BaseException | None) -> bool:
        first = not self.over
        try:
            return await super()._ended(error)
        finally:  # also where one who leaves breaks off the end that somebody else has brought about
            if first:
                self._left_behind(error)
                self._let_go()

    def _left_behind(self, error: BaseException | None) -> None:
        lane, session, machine = self.lane, self.session, self.session.machine
        lane.readings.discard(self)
        lane.ended(session)
        self._metrics.ended(session, self.call.asked.dialect.name if self.call.asked.dialect else "other")
        self._end_of_span()
        if machine.deadline.moved:
            self._metrics.extended()
        if machine.deadline.is_short:
            self._metrics.shortened()
        self._told_of(lane.judged(self._entry.permit, self._was_good(error)))
        ticket = self._entry.ticket
        self._entry.give_back()
        free = partial(_done_with, self.traced, lane, ticket)
        if self._sent_to is None or not self._is_looked_after(self._sent_to, free):
            free()

    def _end_of_span(self) -> None:
        """It stays open as long as somebody looks whether its server stops."""
        wire = self.answer.wire if self.answer is not None else None
        if wire is None:
            self.traced.ended(self.session)
        else:
            reasons = (wire.reason,) if wire.reason else ()
            self.traced.ended(self.session, finish_reasons=reasons, answered_by=wire.model)

    def _is_looked_after(self, target: Target, free: Callable[[], object]) -> bool:
        """Whether its server may go on with it. Then its slot is free when that has stopped, and not before."""
        is_complete = self.answer is not None and self.answer.is_complete
        is_left = self.session.machine.outcome in CUT_SHORT and not is_complete
        house = self._lanes.house(target.base)
        if not self._generates:
            house.passed(is_left=is_left)
            return False
        house.leave()
        if is_left:
            self.seen = self.loop.create_future()
            within = self.session.resolved.limits.cancel
            self._lanes.look_after(self.lane, target, Cancelled(within, self._seen, free))
        return is_left

    def _let_go(self) -> None:
        """What leads in circles is cut, so that all of this is gone now and not with the next collection."""
        session = self.session
        session.hand, session.nudge, session.others = (_none, _none), _none, _none
        self._pass_on, self._past, self._send = nothing, blocked, self._upstream.nowhere
        self._keep, self._entry.on_load = keep_nothing, untold
        if isinstance(self.stream, Incoming):
            self.stream.let_go()
        if self.answer is not None:
            self.answer.response.stream = None  # its body leads back to us

    def _was_good(self, error: BaseException | None) -> bool | None:
        """What this end says about the server; None where it says nothing."""
        machine, response = self.session.machine, self.answer.response if self.answer is not None else None
        if machine.broken is not None and machine.broken.limit is Limit.LOAD and self._sent_to is None:
            return None  # it did not wait to the end: how the load ends is for whoever runs the server to see
        if machine.broken is not None:
            values, house = self.session.resolved.values, self.session.terms.without_its_mode(self.call.attempts.model)
            marked = is_mark(Fault.TIMEOUT, broken=machine.broken, values=values, house=house)
            return False if marked else None
        if isinstance(error, ConnectFailed | BrokenHead):
            return False
        if response is not None and is_mark(Fault.SERVER, status=response.status_code):
            return False
        return True if machine.outcome in (Outcome.FINISHED, Outcome.UNFINISHED) else None

    def _told_of(self, change: Change | None) -> None:
        if change is not None:
            self._remark(f"the circuit of {self.lane.name} {change}")
            self.on_news(self, change)

    def _seen(self, seen: Seen) -> None:
        words = {"stopped": "has stopped", "running": "still runs it", "unknown": "cannot be asked whether it stopped"}
        way = f" ({seen.kind}, {seen.took:.2f} s)" if seen.kind else ""
        self._remark(f"the server {words.get(seen.found, seen.found)}{way}")
        if self.seen is not None and not self.seen.done():
            self.seen.set_result(seen)
        if seen.found is Found.RUNNING:
            self.traced.left_running()
            self.traced.close()
        self.on_news(self, seen)

    def _remark(self, words: str) -> None:
        if self.session.record is not None:
            self.session.record.noted(self.session, Kind.REMARK, words)

    # -- while it flows ---------------------------------------------------------------------------------------

    def begins(self, response: Any) -> Answer:
        answer = super().begins(response)
        step = aiter(self.stream).__anext__
        self._step = lambda: self._break.unless(step())
        return answer

    @property
    def has_all(self) -> bool:
        """The body came to its end, and all of it was read."""
        return isinstance(self.stream, Incoming) and self.stream.is_whole

    async def read(self) -> bytes | None:
        """What is put together is poured, too: whoever waits for the whole need not be woken for each piece."""
        if self.over or self.call.plan is not Plan.UPGRADED or self.answer is None or not self.answer.is_stream:
            return await super().read()
        await self.pour([], swallow)
        return None

    async def pour(self, early: list[bytes], pass_on: PassOn) -> None:
        """Give each piece to `pass_on` in the turn of the loop in which it came. Raises what the end is."""
        session, answer = self.session, self.answer
        assert answer is not None, "what is poured has a head"
        self._pass_on, self._poured = pass_on, self.loop.create_future()
        if answer.wire is not None and answer.comes_plain:
            self._mould = answer.wire.mould = Mould()
            self.stream.quick = self._chunk
        alarm = self.life.alarm
        alarm.task, alarm.breaks_off_always = asyncio.current_task(), True
        try:
            for data in early:
                pass_on(data)
            self._go_on()
            self.stream.hand_to(self._take, self._stream_ended)
            await self._poured
            if not self.stream.over:
                session.note(self.last_fact())
            ended: BaseException | None = StopAsyncIteration() if self.stream.over else None
        except BaseException as error:
            if not await self._ended(error):
                raise
        else:
            await self._ended(ended)
        session.settle()

    def _take(self, data: bytes) -> None:
        """Once per piece: kept as short as it can be. What comes after the verdict is nobody's."""
        if self.session.rang is not None:
            return
        try:
            self.in_lane = self.answer.take(self.session, data)  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the end of this stream
            self._fail(error)
            return
        self._past = self._pass_on(data) or blocked
        machine = self.session.machine
        if self.in_lane and machine.lane is not None and not self._is_paused:
            machine.waiting = True  # `since` is the instant at which it came, a moment ago
        else:
            self._go_on()
        if machine.lane is not None:
            self._keep = self._keeper(self.session.texts(machine.lane).append)

    def _chunk(self, raw: bytes) -> bool:
        """The steady case past all of that: one whole chunk, of the same mould as the last one, goes on as it is.

        What `_take` would do with it, without a frame taken off and put on again, and without JSON.
        """
        session, mould = self.session, self._mould
        machine, kind = session.machine, mould.kind
        if kind is None or kind is not machine.lane or not machine.waiting:
            return False
        text = mould.framed(raw)
        if text is None or not self._past(raw):
            return False
        now = session.clock()
        if now - machine.since > machine.longest:  # noqa: PLR1730 - the call of max() costs as much as the rest
            machine.longest = now - machine.since
        machine.since, machine.tokens = now, machine.tokens + 1
        try:
            self._keep(text)
        except BackendError as error:
            self._fail(error)
        if machine.tokens >= session.look_at:
            session.look()
            if session.rang is not None:
                self._done()
        return True

    def _keeper(self, keep: Callable[[str], object]) -> Callable[[str], object]:
        """What takes the text of a chunk that goes past the rest of us."""
        wire = self.answer.wire if self.answer is not None else None
        if wire is None or (more := wire.more) is None:
            return keep

        def keep_both(text: str) -> None:
            keep(text)
            more(text)
            self.answer.holds(len(text))  # type: ignore[union-attr]

        return keep_both

    def _go_on(self) -> None:
        """Somebody waits for more; unless the end is there, or was brought about."""
        if self._entry.probes and self.session.machine.tokens:
            self._entry.probes = False
            self._told_of(self.lane.spoke(self._entry.permit))
        if self.session.rang is not None:
            self._done()
        elif self.answer is not None and self.answer.is_complete:
            self.loop.call_later(LAST_WORDS, self._done)
        elif not self._is_paused:
            self.session.ask()

    def _stream_ended(self) -> None:
        if self.stream.error is not None:
            self._fail(self.stream.error)
        else:
            self._done()

    def _done(self) -> None:
        if self._poured is not None and not self._poured.done():
            self._poured.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._poured is not None and not self._poured.done():
            self._poured.set_exception(error)

    # -- a client that is slow --------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client does not keep up: its server has to wait, and that is no silence of the model."""
        self._is_paused = True
        self.stream.pause()
        self._past = blocked  # what waits for the client goes first
        self.session.note(Handed())

    def resume(self) -> None:
        self._is_paused = False
        self.stream.resume()
        if not self.over:
            self.session.ask()


def _none() -> bool:
    """It is over."""
    return False


def _done_with(traced: Traced, lane: Lane, ticket: Ticket | None) -> None:
    """Nothing of it is looked at any more, or it need not be waited for. May be called again."""
    traced.close()
    if ticket is not None:
        lane.leave(ticket)


def _unheard(reading: GatewayReading, news: Change | Seen) -> None:
    """Nobody wants to know."""
