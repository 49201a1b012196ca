"""What the servers say is kept within bounds, and read by as many as like, at whatever pace."""

from __future__ import annotations

import asyncio

from hangtight.supervisor.logs import LONGEST_LINE, Log, Logs
from tests.supervisor.kit import run


async def whole(log: Log, *, history: bool = True) -> str:
    return b"".join([piece async for piece in log.follow(history=history)]).decode()


def test_the_last_bytes_are_kept_and_no_more() -> None:
    log = Log(10)
    for data in (b"0123", b"456789", b"ab"):
        log.write(data)
    assert (log.text(), log.start, log.end) == ("23456789ab", 2, 12)
    log.write(b"x" * 1000)
    assert (log.text(), log.start, log.end) == ("x" * 10, 1002, 1012)


def test_a_reader_gets_what_is_there_and_then_what_comes() -> None:
    async def scene() -> None:
        log = Log()
        log.write(b"before ")
        reader = asyncio.create_task(whole(log))
        news = asyncio.create_task(whole(log, history=False))
        for word in (b"now ", b"later"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            log.write(word)
        log.close()
        assert await reader == "before now later"
        assert await news == "now later"
        assert await whole(log) == "before now later"

    run(scene())


def test_a_slow_reader_loses_the_oldest_and_is_told_how_much() -> None:
    async def scene() -> None:
        log = Log(10)
        log.write(b"0123456789")
        reader = log.follow()
        assert await anext(reader) == b"0123456789"
        log.write(b"a" * 25)
        log.write(b"end")
        assert await anext(reader) == b"\n[18 bytes lost: this reader was too slow]\n"
        assert await anext(reader) == b"aaaaaaaend"
        waits = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        log.write(b"!")
        assert await waits == b"!"

    run(scene())


def test_a_reader_that_leaves_is_forgotten() -> None:
    async def scene() -> None:
        log = Log()
        reader = asyncio.create_task(whole(log))
        await asyncio.sleep(0)
        assert log._readers == 1
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        assert log._readers == 0

    run(scene())


def test_a_long_history_comes_in_pieces() -> None:
    async def scene() -> None:
        log = Log(100_000)
        log.write(b"x" * 100_000)
        log.close()
        pieces = [piece async for piece in log.follow()]
        assert max(map(len, pieces)) < 20_000
        assert sum(map(len, pieces)) == 100_000

    run(scene())


def test_in_the_log_of_all_lines_are_not_mixed() -> None:
    logs = Logs()
    logs.write("a", b"a be")
    logs.write("b", b"b whole\nb be")
    logs.write("a", b"gins\n")
    logs.ended("b")
    logs.ended("a")
    assert logs.all.text() == "b whole\na begins\nb be\n"
    assert logs.of("b").text() == "b whole\nb be"


def test_a_line_that_does_not_end_is_cut_there() -> None:
    logs = Logs(100_000)
    for _ in range(10):
        logs.write("a", b"x" * 1000)
    assert len(logs.all.text()) > LONGEST_LINE
    assert len(logs._lines.get("a", b"")) <= LONGEST_LINE


def test_the_log_of_a_model_that_is_no_more_ends() -> None:
    async def scene() -> None:
        logs = Logs()
        logs.write("a", b"so far")
        reader = asyncio.create_task(whole(logs.of("a")))
        everything = asyncio.create_task(whole(logs.all))
        await asyncio.sleep(0)
        logs.drop("a")
        assert await reader == "so far"
        assert logs.of("a").text() == ""
        logs.close()
        assert await everything == "so far\n"

    run(scene())
