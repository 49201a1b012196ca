"""How all that is in flight is told: to whom, how often, at whose expense, and that an end is never taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hangtight.gateway.outlet import Outlet
from hangtight.gateway.telling import flight
from hangtight.gateway.telling.events import Events, Listener
from hangtight.gateway.telling.flight import AT_ONCE, FIELDS, Flights
from tests.gateway.kit import Served
from tests.gateway.watching import Asked, Listening, until

SETTINGS = "heartbeat: 0.2\nlimits: {cancel: 0.5}\n"


def rows(told: Any) -> list[dict[str, Any]]:
    """The rows of one event, each with the names of its values."""
    return [dict(zip(told["fields"], row, strict=True)) for row in told["rows"]]


# -- on real sockets -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_row_moves_with_its_generation_and_is_taken_back_once(served: Served) -> None:
    asks = {"x_hangtight_run": "nightly", "x_hangtight_step": "plan", "x_hangtight_idle": "20"}
    with Listening(served, "?flight=0.2") as heard, Asked(served, "moves,tokens=40,rate=40", **asks) as asked:
        until(lambda: len([told for told in heard.named("flight") if told["rows"]]) > 2)
        asked.ended()
        until(lambda: heard.named("flight")[-1]["rows"] == [])
        count = len(heard.named("flight"))
        with Asked(served, "another,tokens=1") as other:
            other.ended()
        names = [name for name, _ in heard.events]
    told = heard.named("flight")
    assert told[0]["rows"] == [], "who has just come knows that nothing is in flight"
    assert told[0]["fields"] == list(FIELDS)
    moved = [rows(each)[0] for each in told[1:count] if each["rows"]]
    assert {(row["model"], row["run"], row["step"], row["limit"]) for row in moved} >= {
        ("moves,tokens=40,rate=40", "nightly", "plan", "idle")
    }
    assert [row["tokens"] for row in moved] == sorted(row["tokens"] for row in moved)
    assert [row["elapsed"] for row in moved] == sorted(row["elapsed"] for row in moved)
    assert all(0 <= row["rings_in"] <= 120 and row["cancellable"] for row in moved)
    assert names.index("flight") < names.index("began") < names.index("ended")
    assert [each["rows"] for each in told[1:count]].count([]) == 1, "that nothing is left is told once"


@pytest.mark.real
def test_who_did_not_ask_is_told_no_flight(served: Served) -> None:
    with Listening(served) as heard, Asked(served, "untold,tokens=20,rate=40") as asked:
        asked.ended()
        heard.until("ended")
    assert heard.named("flight") == []


@pytest.mark.real
def test_who_asks_for_one_run_sees_the_flight_of_that_run(served: Served) -> None:
    with (
        Listening(served, "?flight=0.2&run=mine") as of_run,
        Listening(served, "?flight=0.2&model=two,rate=5") as of_model,
        Asked(served, "one,rate=5", x_hangtight_run="mine"),
        Asked(served, "two,rate=5", x_hangtight_run="yours"),
    ):
        until(lambda: of_run.named("flight")[-1]["rows"])
        until(lambda: of_model.named("flight")[-1]["rows"])
        assert [row["model"] for row in rows(of_run.named("flight")[-1])] == ["one,rate=5"]
        assert [row["model"] for row in rows(of_model.named("flight")[-1])] == ["two,rate=5"]


@pytest.mark.real
def test_one_that_is_cancelled_says_so_until_it_has_ended(served: Served) -> None:
    with Listening(served, "?flight=0.2") as heard, Asked(served, "endless,rate=5") as asked:
        until(lambda: heard.named("flight")[-1]["rows"])
        [row] = rows(heard.named("flight")[-1])
        assert row["cancellable"]
        assert served.ask("DELETE", f"/hangtight/generations/{row['id']}")[0] == 200
        asked.ended()
        until(lambda: heard.named("flight")[-1]["rows"] == [])


@pytest.mark.real
@pytest.mark.parametrize("text", ["often", "nan", "inf", "0,5"])
def test_an_interval_that_is_none_is_refused(served: Served, text: str) -> None:
    assert served.ask("GET", f"/hangtight/events?flight={text}")[0] == 400


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("0", 0.2), ("-3", 0.2), ("0.01", 0.2), ("3600", 5.0)])
def test_it_is_never_oftener_nor_rarer_than_is_good(text: str, seconds: float) -> None:
    assert flight.interval(text) == seconds


# -- at whose expense ------------------------------------------------------------------------------------------------


def an_exchange(number: int, model: str = "m") -> Any:
    """As much of one as a row needs before it is sent."""
    terms, named = SimpleNamespace(run="", step="", mode=None), SimpleNamespace(model=model)
    call = SimpleNamespace(id=f"{number:012x}", terms=terms, asked=named, attempts=named)
    return SimpleNamespace(id=call.id, call=call, reading=None, cancellable=True)


ONE = an_exchange(1)


def a_listener(events: Events) -> Listener:
    async def send(message: Any) -> None:
        """Takes all."""

    return events.listen(Outlet(send, asyncio.get_running_loop(), direct=True))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of which a row is made from now on."""
    made: list[str] = []
    told = flight.row

    def row(exchange: Any) -> tuple[Any, ...]:
        made.append(exchange.id)
        return told(exchange)

    monkeypatch.setattr(flight, "row", row)
    return made


def in_one(told: bytes) -> list[Any]:
    """The events of that name in what was sent."""
    blocks = told.decode().split("\n\n")
    return [json.loads(block.partition("\ndata: ")[2]) for block in blocks if block.startswith("event: flight\n")]


async def turned(holds: Callable[[], object]) -> None:
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def test_while_a_thousand_rows_are_made_others_have_their_turns() -> None:
    async def turns() -> int:
        flights, turns = Flights({each.id: each for each in map(an_exchange, range(1000))}), 0
        listener = a_listener(Events())
        with flights.telling(listener, 0.2):
            while not listener.has_flight:
                turns += 1
                await asyncio.sleep(0)
        [told] = in_one(await listener.next())
        assert len(told["rows"]) == 1000
        return turns

    assert asyncio.run(turns()) >= 1000 // AT_ONCE


def test_all_who_ask_alike_are_told_what_was_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)

    async def all_told() -> None:
        flights, events = Flights({ONE.id: ONE}), Events()
        one, two = a_listener(events), a_listener(events)
        with flights.telling(one, 5.0), flights.telling(two, 5.0):
            await turned(lambda: one.has_flight and two.has_flight)
        assert await one.next() == await two.next()

    asyncio.run(all_told())
    assert len(made) == 1


def test_for_one_who_does_not_read_nothing_more_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)

    async def stuck() -> None:
        flights, listener = Flights({ONE.id: ONE}), a_listener(Events())
        with flights.telling(listener, 0.001):
            await turned(lambda: listener.has_flight)
            await asyncio.sleep(0.05)
            assert len(made) == 1
            await listener.next()
            await asyncio.sleep(0.05)
            assert len(made) == 2

    asyncio.run(stuck())


def test_a_client_that_takes_nothing_is_waited_for_by_nobody_and_then_told_how_it_stands_now() -> None:
    async def told() -> list[Any]:
        took, goes_on, leaves = bytearray(), asyncio.Event(), asyncio.Event()

        async def send(message: Any) -> None:
            if took:
                await goes_on.wait()
            took.extend(message.get("body", b""))

        async def receive() -> dict[str, str]:
            await leaves.wait()
            return {"type": "http.disconnect"}

        exchanges, events = {ONE.id: ONE}, Events()
        flights = Flights(exchanges)
        listener = events.listen(Outlet(send, asyncio.get_running_loop(), direct=True))
        with flights.telling(listener, 0.001):
            following = asyncio.create_task(events.follow(receive, listener))
            await turned(lambda: listener.outlet.is_slow and listener.has_flight)
            await asyncio.sleep(0.02)
            exchanges.clear()
            goes_on.set()
            await asyncio.sleep(0.02)
            leaves.set()
            await following
        return in_one(bytes(took))

    seen = asyncio.run(told())
    assert len(seen) <= 4, "what it did not take was not kept for it"
    assert (len(seen[0]["rows"]), seen[-1]["rows"]) == (1, [])


def test_old_news_gives_way_and_pushes_nothing_else_out() -> None:
    async def kept() -> bytes:
        listener = a_listener(Events())
        listener.tell(b"first;")
        listener.tell_flight(b"old;")
        listener.tell(b"second;")
        listener.tell_flight(b"new;")
        return await listener.next()

    assert asyncio.run(kept()) == b"first;second;new;"


def test_who_was_told_of_an_end_is_not_told_that_it_runs() -> None:
    async def told() -> list[Any]:
        exchanges = {each.id: each for each in map(an_exchange, range(2 * AT_ONCE))}
        flights, listener = Flights(exchanges), a_listener(Events())
        with flights.telling(listener, 5.0):
            await asyncio.sleep(0)  # the first slice is made
            gone = next(iter(exchanges))
            del exchanges[gone]
            await turned(lambda: listener.has_flight)
        [told] = in_one(await listener.next())
        assert gone not in [row[0] for row in told["rows"]]
        return list(told["rows"])

    assert len(asyncio.run(told())) == 2 * AT_ONCE - 1


def test_when_all_have_left_nothing_runs_any_more() -> None:
    async def left() -> set[asyncio.Task[Any]]:
        flights, events = Flights({}), Events()
        with flights.telling(a_listener(events), 0.2), flights.telling(a_listener(events), 0.5):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(left()) == set()
