"""After a cancel: does the server stop, and are we told when it does not?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from hangtight.drivers.clock import clock_of
from hangtight.drivers.http11 import request
from hangtight.gateway.looking.evidence import Evidence, Range
from hangtight.gateway.looking.looker import Found, Looker, Seen
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from tests.realserver.server import LlamaCpp

Answer = tuple[int, bytes] | None
"""Status and body; None where the server takes the question and says nothing."""

ENDLESS = "runaway,rate=500"
GONE = "http://127.0.0.1:1"


class Fake:
    """A server that answers as it is told, and says how it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.asked: list[str] = []
        self.together = 0
        """The most questions that it had at the same time."""
        self.think = 0.0
        self.url = ""
        self.heads: list[str] = []
        self._open = 0

    def is_vllm(self, running: Callable[[], int], work: Callable[[], float], waiting: int = 0) -> None:
        def metrics() -> Answer:
            lines = {"num_requests_running": running(), "num_requests_waiting": waiting}
            lines["generation_tokens_total"] = round(work())
            return 200, "".join(f'vllm:{name}{{engine="0"}} {value}.0\n' for name, value in lines.items()).encode()

        self.answers["/metrics"] = metrics

    def is_llama(self, tasks: Callable[[], list[int]], slots: int = 4) -> None:
        def of_slots() -> Answer:
            held = [{"is_processing": True, "id_task": number} for number in tasks()]
            return 200, json.dumps(held + [{"is_processing": False}] * (slots - len(held))).encode()

        self.answers["/slots"] = of_slots

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self.together = max(self.together, self._open)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.asked.append(path)
            self.heads.append(head.lower())
            await asyncio.sleep(self.think)
            answer = self.answers.get(path, lambda: (404, b"no"))()
            if answer is None:
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s" % (answer[0], len(answer[1]), answer[1]))
        writer.close()
        self._open -= 1


@asynccontextmanager
async def faked() -> AsyncIterator[Fake]:
    fake = Fake()
    listening = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    async with listening:
        fake.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield fake
        # Its last connections end in their own time.
        await asyncio.sleep(1)


def clock() -> Callable[[], float]:
    return clock_of(asyncio.get_running_loop())


def none() -> int:
    return 0


def nothing() -> Range:
    """Of ours is there."""
    return Range(0, 0)


def exactly(many: Callable[[], int]) -> Callable[[], Range]:
    """So many of ours are there, as far as the server counts."""
    return lambda: Range(many(), many())


def test_vllm_is_seen_to_stop() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 1 if now() < 2 else 0, now)
            return await Looker(f"{fake.url}/v1").freed(nothing, 5, now)

    seen = jumping(main())
    assert (seen.found, seen.busy, seen.kind) == (Found.STOPPED, 0, "vLLM /metrics")
    assert 2 <= seen.took < 3.5


def test_vllm_that_goes_on_is_told_when_the_time_is_over_and_not_before() -> None:
    async def main() -> tuple[Seen, list[str]]:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 3, lambda: now() * 100)
            return await Looker(fake.url).freed(exactly(lambda: 2), 5, now), fake.asked

    seen, asked = jumping(main())
    assert (seen.found, seen.busy, seen.ours) == (Found.RUNNING, 3, 2)
    assert seen.took == pytest.approx(5, abs=0.1)
    # At 0.05, 0.15, 0.35, 0.75 and 1.55 s, then each second, and at the end; the other ways were tried but once.
    assert asked.count("/metrics") == 9
    assert asked.count("/slots") == 1


def test_vllm_whose_gauge_is_left_over_is_not_said_to_go_on() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            fake.is_vllm(lambda: 1, lambda: 100)
            return await Looker(fake.url).freed(nothing, 5, clock())

    assert jumping(main()).found is Found.UNKNOWN


def test_a_task_of_llama_cpp_that_ran_at_the_cancel_is_told_from_later_ones() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            now = clock()
            fake.is_llama(lambda: [7] if now() < 1 else [8, 9])
            return await Looker(fake.url).freed(nothing, 5, now)

    seen = jumping(main())
    assert (seen.found, seen.busy, seen.kind) == (Found.STOPPED, 2, "llama.cpp /slots")


def test_a_full_llama_cpp_is_asked_for_its_queue_too() -> None:
    async def main(deferred: int) -> Seen:
        async with faked() as fake:
            fake.is_llama(lambda: [7, 8], slots=2)
            queue = f"llamacpp:requests_processing 2\nllamacpp:requests_deferred {deferred}\n".encode()
            fake.answers["/metrics"] = lambda: (200, queue)
            return await Looker(fake.url).freed(exactly(lambda: 3), 2, clock())

    seen = jumping(main(1))
    assert (seen.found, seen.busy) == (Found.STOPPED, 3)
    # One more than ours: it is in a slot, or in the queue, and the two in the slots may both be ours.
    assert jumping(main(2)).found is Found.UNKNOWN


def test_a_full_llama_cpp_without_metrics_says_too_little() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            fake.is_llama(lambda: [7, 8], slots=2)
            return await Looker(fake.url).freed(exactly(lambda: 3), 2, clock())

    assert jumping(main()).found is Found.UNKNOWN


@pytest.mark.parametrize("listed", [b'{"models": [{"name": "qwen3"}]}', None])
def test_a_server_that_cannot_be_asked_is_not_waited_for(listed: bytes | None) -> None:
    async def main() -> tuple[Seen, Seen, list[str]]:
        async with faked() as fake:
            if listed:
                fake.answers["/api/ps"] = lambda: (200, listed)
            looker = Looker(fake.url)
            return await looker.freed(nothing, 5, clock()), await looker.freed(nothing, 5, clock()), fake.asked

    first, second, asked = jumping(main())
    assert (first.found, first.busy) == (second.found, second.busy) == (Found.UNKNOWN, None)
    assert max(first.took, second.took) < 0.5
    assert first.kind == ("Ollama /api/ps" if listed else "")
    assert asked.count("/slots") == 1


def test_nothing_runs_in_an_ollama_without_models_in_memory() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            fake.answers["/api/ps"] = lambda: (200, b'{"models": []}')
            return await Looker(fake.url).freed(nothing, 5, clock())

    assert jumping(main()).found is Found.STOPPED


def test_a_server_that_is_gone_is_unknown_at_once_and_asked_anew_later() -> None:
    async def main() -> tuple[Seen, Seen]:
        async with faked() as fake:
            fake.is_vllm(none, lambda: 0)
            looker = Looker(fake.url)
            looker._eyes._base = GONE
            gone = await looker.freed(nothing, 5, clock())
            looker._eyes._base = fake.url
            return gone, await looker.freed(nothing, 5, clock())

    gone, back = jumping(main())
    assert (gone.found, gone.busy) == (Found.UNKNOWN, None)
    assert back.found is Found.STOPPED


def test_another_server_behind_the_same_address_is_asked_in_its_own_way() -> None:
    async def main() -> list[str]:
        async with faked() as fake:
            looker = Looker(fake.url)
            fake.is_vllm(none, lambda: 0)
            kinds = [(await looker.freed(nothing, 5, clock())).kind]
            del fake.answers["/metrics"]
            fake.is_llama(list)
            kinds.append((await looker.freed(nothing, 5, clock())).kind)
            return kinds

    assert jumping(main()) == ["vLLM /metrics", "llama.cpp /slots"]


def test_what_does_not_work_is_tried_again_after_some_minutes() -> None:
    async def main() -> tuple[Seen, Seen]:
        async with faked() as fake:
            looker = Looker(fake.url)
            first = await looker.freed(nothing, 5, clock())
            fake.is_vllm(none, lambda: 0)
            await asyncio.sleep(600)
            return first, await looker.freed(nothing, 5, clock())

    first, later = jumping(main())
    assert (first.found, later.found) == (Found.UNKNOWN, Found.STOPPED)


def test_a_server_that_hangs_holds_nobody_for_long_and_proves_nothing() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            fake.answers = dict.fromkeys(("/slots", "/metrics"), lambda: None)
            return await Looker(fake.url).freed(nothing, 3, clock())

    seen = jumping(main())
    assert seen.found is Found.UNKNOWN
    assert seen.took < 5


def test_a_server_that_is_too_busy_for_one_look_is_looked_at_again() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            now = clock()
            fake.answers["/slots"] = lambda: (503, b"loading") if now() < 1 else (200, b'[{"is_processing": false}]')
            return await Looker(fake.url).freed(nothing, 5, now)

    seen = jumping(main())
    assert (seen.found, seen.kind) == (Found.STOPPED, "llama.cpp /slots")


def test_requests_that_are_cancelled_together_share_their_looks() -> None:
    async def main() -> tuple[list[Seen], Fake]:
        async with faked() as fake:
            now = clock()
            fake.think = 0.02
            fake.is_vllm(lambda: 40 if now() < 2 else 0, now)
            looker = Looker(fake.url)
            return await asyncio.gather(*(looker.freed(nothing, 5, now) for _ in range(40))), fake

    seen, fake = jumping(main())
    assert {one.found for one in seen} == {Found.STOPPED}
    assert fake.together == 1
    assert len(fake.asked) < 12


def test_who_comes_later_is_looked_for_soon_and_leaves_when_it_has_its_answer() -> None:
    async def main() -> list[Seen]:
        async with faked() as fake:
            now = clock()
            running = {"a": 60.0, "b": 4.0}
            fake.is_vllm(lambda: sum(now() < end for end in running.values()), lambda: now() * 100)
            looker = Looker(fake.url)
            long = asyncio.create_task(looker.freed(exactly(lambda: int(now() < 3.9)), 30, now))
            await asyncio.sleep(3.9)
            # The first one goes on: as long as it does, the second one cannot be told from it.
            short = await looker.freed(nothing, 2, now)
            return [short, await long]

    assert [seen.found for seen in jumping(main())] == [Found.RUNNING, Found.RUNNING]


def test_who_no_longer_wants_to_know_leaves_nothing_behind() -> None:
    async def main() -> int:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 2, lambda: now() * 100)
            looker = Looker(fake.url)
            looks = [asyncio.create_task(looker.freed(nothing, None, now)) for _ in range(2)]
            await asyncio.sleep(3)
            for look in looks:
                look.cancel()
            await asyncio.wait(looks)
            asked = len(fake.asked)
            await asyncio.sleep(60)
            return len(fake.asked) - asked

    assert jumping(main()) == 0


def test_without_a_limit_it_looks_until_the_server_stops() -> None:
    async def main() -> Seen:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 1 if now() < 100 else 0, now)
            return await Looker(fake.url).freed(nothing, None, now)

    seen = jumping(main())
    assert seen.found is Found.STOPPED
    assert seen.took >= 100


def test_a_server_where_others_were_seen_is_not_said_to_go_on() -> None:
    async def main() -> list[Found]:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 1, lambda: now() * 100)
            looker = Looker(fake.url)
            alone = await looker.freed(nothing, 2, now)
            looker = Looker(fake.url)
            for _ in range(2):
                await looker.glance(nothing, now)
                await asyncio.sleep(10)
            found = [alone.found, (await looker.freed(nothing, 2, now)).found]
            await asyncio.sleep(1200)
            return [*found, (await looker.freed(nothing, 2, now)).found]

    # After a while without a sign of them, they are taken to have left.
    assert jumping(main()) == [Found.RUNNING, Found.UNKNOWN, Found.RUNNING]


def test_what_is_counted_for_a_moment_longer_than_it_is_ours_is_nobody_elses() -> None:
    async def main() -> list[Found]:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 3 if now() < 0.3 else 1, lambda: now() * 100)
            looker = Looker(fake.url)
            return [(await looker.freed(nothing, 2, now)).found for _ in range(2)]

    assert jumping(main()) == [Found.RUNNING, Found.RUNNING]


def test_what_was_passed_through_is_not_taken_for_a_cancelled_one_that_goes_on() -> None:
    async def main(running: int) -> Found:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: running, lambda: now() * 100)
            return (await Looker(fake.url).freed(lambda: Range(0, 1), 2, now)).found

    assert [jumping(main(running)) for running in (0, 1, 2)] == [Found.STOPPED, Found.UNKNOWN, Found.RUNNING]


def test_each_look_after_which_we_may_not_be_alone_is_told() -> None:
    async def main() -> list[float]:
        told: list[float] = []
        async with faked() as fake:
            now = clock()
            began = now()
            fake.is_vllm(lambda: int(now() > began + 5), lambda: now() * 100)
            looker = Looker(fake.url, on_doubt=lambda: told.append(now() - began))
            for _ in range(3):
                await looker.glance(nothing, now)
                await asyncio.sleep(4)
        return told

    assert jumping(main()) == [pytest.approx(8, abs=0.5)]


def test_one_that_was_seen_running_is_not_taken_for_somebody_else_later() -> None:
    async def main() -> list[Found]:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 1 + (1 if now() < 20 else 0), lambda: now() * 100)
            looker = Looker(fake.url)
            return [(await looker.freed(ours, 2, now)).found for ours in (exactly(lambda: 1), nothing)]

    assert jumping(main()) == [Found.RUNNING, Found.RUNNING]


@pytest.mark.parametrize("ends", [0.5, 60.0])
def test_what_was_there_before_a_cancel_and_is_there_after_it_may_be_a_stranger(ends: float) -> None:
    async def main() -> Found:
        async with faked() as fake:
            now = clock()
            began = now()
            fake.is_vllm(lambda: 1 + (now() < began + ends), lambda: now() * 100)
            looker = Looker(fake.url)
            # Ours and another one, which may be one of ours that has just ended.
            await looker.glance(exactly(lambda: 1), now)
            await asyncio.sleep(1)
            await looker.glance(exactly(lambda: 1), now)
            return (await looker.freed(nothing, 2, now)).found

    assert jumping(main()) is (Found.RUNNING if ends < 1 else Found.UNKNOWN)


def test_one_glance_is_enough_for_a_doubt_that_a_cancel_does_not_end() -> None:
    async def main() -> Found:
        async with faked() as fake:
            now = clock()
            fake.is_vllm(lambda: 2 if now() < 0.3 else 1, lambda: now() * 100)
            looker = Looker(fake.url)
            await looker.glance(exactly(lambda: 1), now)
            return (await looker.freed(nothing, 2, now)).found

    assert jumping(main()) is Found.UNKNOWN


def test_who_looks_on_knows_which_tasks_were_there_at_the_cancel() -> None:
    async def main() -> list[Found]:
        async with faked() as fake:
            now = clock()
            fake.is_llama(lambda: [7] if now() < 3 else [7, 8] if now() < 6 else [8])
            looker, evidence = Looker(fake.url), Evidence()
            first = await looker.freed(nothing, 2, now, evidence)
            await asyncio.sleep(2)  # whoever helps takes a while, and somebody else comes
            return [first.found, (await looker.freed(nothing, 9, now, evidence)).found]

    assert jumping(main()) == [Found.RUNNING, Found.STOPPED]


def test_the_key_of_a_server_goes_with_each_look() -> None:
    async def main() -> list[str]:
        async with faked() as fake:
            fake.is_llama(list)
            await Looker(f"{fake.url}/v1/", {"authorization": "Bearer secret"}).freed(nothing, 5, clock())
            return fake.heads

    (head,) = jumping(main())
    assert "get /slots " in head
    assert "authorization: bearer secret" in head


def test_an_error_of_who_counts_ours_reaches_who_waits() -> None:
    def broken() -> Range:
        raise LookupError("no such server")

    async def main() -> None:
        async with faked() as fake:
            fake.is_vllm(none, lambda: 0)
            with pytest.raises(LookupError):
                await Looker(fake.url).freed(broken, 5, clock())

    jumping(main())


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    shared.reset()
    yield shared
    shared.reset()


def asking(url: str, model: str, *, stream: bool = True) -> Any:
    body: dict[str, Any] = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "?"}]}
    headers = {"content-type": "application/json"}
    return request("POST", f"{url}/v1/chat/completions", headers=headers, body=json.dumps(body).encode())


async def closed_in_the_middle(url: str, model: str, others: int = 0, within: float = 5.0) -> Seen:
    """Leave a stream after some of it came, while so many others of ours go on."""
    async with AsyncExitStack() as streams:
        for _ in range(others):
            await anext(await streams.enter_async_context(asking(url, model)))
        async with asking(url, model) as answer:
            for _ in range(3):
                await anext(answer)
        return await Looker(f"{url}/v1").freed(exactly(lambda: others), within, clock())


@pytest.mark.parametrize("others", [0, 2])
def test_a_model_of_the_lab_is_seen_to_stop(lab: Lab, others: int) -> None:
    seen = asyncio.run(closed_in_the_middle(lab.url, ENDLESS, others))
    assert (seen.found, seen.busy, seen.ours) == (Found.STOPPED, others, others)
    assert seen.kind == "lab /lab/counts"


@pytest.mark.parametrize("others", [0, 2])
def test_a_model_of_the_lab_that_ignores_a_cancel_is_found(lab: Lab, others: int) -> None:
    seen = asyncio.run(closed_in_the_middle(lab.url, f"{ENDLESS},ignores-cancel", others, within=0.4))
    assert (seen.found, seen.busy, seen.ours) == (Found.RUNNING, others + 1, others)


def test_a_request_of_the_lab_that_is_left_before_its_first_token_is_seen_to_stop(lab: Lab) -> None:
    async def main() -> Seen:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1), asking(lab.url, "silent", stream=False):
                pass
        return await Looker(lab.url).freed(nothing, 5, clock())

    assert asyncio.run(main()).found is Found.STOPPED


@pytest.mark.real
def test_a_real_llama_cpp_is_seen_to_stop(llama_cpp: LlamaCpp) -> None:
    llama_cpp.wait_idle()
    seen = asyncio.run(closed_in_the_middle(llama_cpp.url, "tiny"))
    assert (seen.found, seen.busy, seen.kind) == (Found.STOPPED, 0, "llama.cpp /slots")
    assert llama_cpp.busy() == 0


@pytest.mark.real
def test_a_real_llama_cpp_is_seen_to_stop_what_was_not_streamed(llama_cpp: LlamaCpp) -> None:
    async def main() -> Seen:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3), asking(llama_cpp.url, "tiny", stream=False):
                pass
        return await Looker(llama_cpp.url).freed(nothing, 20, clock())

    llama_cpp.wait_idle()
    assert asyncio.run(main()).found is Found.STOPPED
    assert llama_cpp.busy() == 0


def test_it_looks_in_the_loop_of_whoever_asks() -> None:
    """An app under test has one for each request."""
    looker = Looker(GONE)

    async def main() -> Seen:
        return await looker.freed(lambda: Range(0, 0), 0.2, clock())

    assert [asyncio.run(main()).found for _ in range(2)] == [Found.UNKNOWN, Found.UNKNOWN]
