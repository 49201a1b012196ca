"""How a server of ours begins and ends: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.gateway.door.listening import CannotListen, bound, own_names
from hangtight.gateway.door.serving import DIED_OF, Served, Stops, run, serve
from tests.gateway.doors import BYE, HELLO, App, exchanged, read_all, status
from tests.journal.kit import soon

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]

SOURCES = str(Path(hangtight.__file__).parents[1])
DRAIN = 0.3
SLOW = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROGRAM = """
import asyncio, sys
from hangtight.errors import HangtightError
from hangtight.gateway.door.serving import run, serve

class App:
    def __init__(self):
        self.over = asyncio.Event()
        self.stubborn = False
    async def startup(self): print("startup", flush=True)
    def draining(self, seconds): print("draining", seconds, flush=True)
    async def ending(self): self.over.set()
    async def shutdown(self): print("shutdown", flush=True)
    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wait = {"/slow": 3, "/ever": 3600, "/deaf": 3600}.get(scope["path"])
        if wait:
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            over = asyncio.ensure_future(self.over.wait() if scope["path"] == "/ever" else asyncio.sleep(wait))
            await asyncio.wait([over], timeout=wait)
            word = b"cut" if self.over.is_set() else b"whole"
            await send({"type": "http.response.body", "body": word, "more_body": True})
        await send({"type": "http.response.body", "body": b"ended"})

try:
    drain, port, patience = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    served = run(serve(App(), port=port, drain=drain, patience=patience, on_ready=lambda url: print(url, flush=True)))
    print(served, flush=True)
    sys.exit(served.code)
except HangtightError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


class Child:
    """The program in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines = process.stdout
        assert self.lines.readline() == "startup\n"
        self.port = int(self.lines.readline().strip().rpartition(":")[2])

    def connect(self, request: bytes) -> socket.socket:
        """A client that has the beginning of its answer."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.sendall(request)
        got = b""
        while b"begun" not in got and b"ended" not in got:
            got += client.recv(65536)
        return client

    def ended(self) -> tuple[int, str, str]:
        """The exit code, and what it said."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def child(drain: float = 20.0, port: int = 0, patience: float = 0.2) -> Iterator[Child]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(drain), str(port), str(patience)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SOURCES},
    ) as process:  # fmt: skip
        try:
            yield Child(process)
        finally:
            process.kill()


def rest(client: socket.socket) -> bytes:
    got = b""
    with client, suppress(ConnectionError):
        while piece := client.recv(65536):
            got += piece
    return got


def is_read(client: socket.socket) -> bool:
    """The other end has taken all that was sent to it: its program tells nobody, the system does."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        time.sleep(0.5)
        return True
    own, peer = (f":{end[1]:04X}" for end in (client.getsockname(), client.getpeername()))
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    theirs = [row[4] for row in rows if row[1].endswith(peer) and row[2].endswith(own)]
    return [queued.partition(":")[2].strip("0") for queued in theirs] == [""]


# Ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_come_to_its_end_and_waits_for_nobody_who_comes_later(number: signal.Signals) -> None:
    with child() as running:
        client = running.connect(SLOW)
        resting = running.connect(HELLO)
        running.process.send_signal(number)
        assert running.lines.readline() == "draining 20.0\n"
        assert rest(resting).strip() in (b"", b"0")
        looking = socket.create_connection(("127.0.0.1", running.port), timeout=20)
        looking.sendall(HELLO)
        looked = rest(looking)
        assert (status(looked), b"connection: close" in looked) == (200, True)
        late = running.connect(SLOW.replace(b"/slow", b"/deaf"))
        assert b"whole" in rest(client)
        assert b"ended" not in rest(late)
        assert running.ended() == (0, "shutdown\nServed(cut=0, code=0)\n", "")


def test_what_still_runs_when_the_time_is_over_may_say_so_and_is_ended() -> None:
    with child(DRAIN) as running:
        clients = [running.connect(SLOW.replace(b"/slow", path)) for path in (b"/ever", b"/deaf")]
        running.process.send_signal(signal.SIGTERM)
        said = [rest(client) for client in clients]
        assert b"cut" in said[0]
        assert b"ended" in said[0]
        assert b"ended" not in said[1]
        code, out, err = running.ended()
        assert (code, err) == (0, "")
        assert "Served(cut=2, code=0)" in out


def test_a_second_signal_ends_at_once() -> None:
    with child(3600.0) as running:
        client = running.connect(SLOW.replace(b"/slow", b"/deaf"))
        running.process.send_signal(signal.SIGTERM)
        assert running.lines.readline().startswith("draining")
        running.process.send_signal(signal.SIGTERM)
        assert b"ended" not in rest(client)
        code, out, err = running.ended()
        assert (code, err) == (DIED_OF + signal.SIGTERM, "")
        assert "shutdown" in out


def test_a_request_that_is_on_its_way_when_the_signal_comes_gets_its_answer() -> None:
    with child(patience=20) as running:
        client = running.connect(HELLO)
        late, body = b"GET /late HTTP/1.1\r\nHo", b"st: a\r\n\r\n"
        client.sendall(late)
        assert soon(lambda: is_read(client)), "nobody reads what is on its way"
        running.process.send_signal(signal.SIGTERM)
        assert running.lines.readline().startswith("draining")
        client.sendall(body)
        answered = rest(client)
        assert b"connection: close" in answered
        assert b"ended" in answered
        assert running.ended()[0] == 0


def test_stopping_with_nobody_there_is_quick_and_quiet() -> None:
    with child(3600.0) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.ended() == (0, "draining 3600.0\nshutdown\nServed(cut=0, code=0)\n", "")


# Abuse


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"\x00\xff" * 100, 400),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 408),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na", 408),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
    ids=["garbage", "100 KB header", "slow head", "slow body", "chunked garbage"],
)
def test_a_client_that_means_no_good_is_sent_away_without_a_word_in_the_log(sent: bytes, wanted: int) -> None:
    with child() as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            client.sendall(sent)
            answered = rest(client)
        running.process.send_signal(signal.SIGTERM)
        code, _, err = running.ended()
        assert (code, err) == (0, "")
        # The child's app does not read bodies to their end: it has answered a broken one already, or has not.
        assert status(answered) in (wanted, 200) if b"POST" in sent else status(answered) == wanted


# Places


def test_a_port_that_is_taken_is_told_with_what_to_type() -> None:
    with child() as running, pytest.raises(CannotListen) as refused, bound("127.0.0.1", running.port):
        pass
    what, line = str(refused.value).splitlines()
    assert f"127.0.0.1:{running.port}" in what
    assert "--port" in line


def test_the_process_whose_port_is_taken_ends_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "1", port, "0.2"],
            capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "PYTHONPATH": SOURCES},
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "--port" in done.stderr


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("203.0.113.7", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_is_none_of_ours_is_told_too(host: str, port: int) -> None:
    with pytest.raises(CannotListen, match="hangtight serve"), bound(host, port):
        pass


def test_all_addresses_of_a_name_have_one_port() -> None:
    with bound("localhost", 0) as (address, sockets):
        assert {each.getsockname()[1] for each in sockets} == {int(address.rpartition(":")[2])}


def test_a_machine_knows_its_own_names() -> None:
    names = own_names()
    assert socket.gethostname().lower() in names
    assert all(name == name.lower() for name in names)


def test_a_socket_of_the_file_system_is_served_and_removed(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no such sockets")
    path = tmp_path / "gateway.sock"
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(path))
    leftover.close()

    async def play() -> tuple[bytes, Served]:
        stops = Stops()
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve(App(), uds=str(path), on_ready=ready.set_result, stops=stops))
        assert await ready == f"unix:{path}"
        with pytest.raises(CannotListen), bound("", 0, str(path)):
            pass
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(BYE)
        answered = await read_all(reader)
        writer.close()
        stops.heard()
        return answered, await serving

    answered, served = run(play())
    assert answered.endswith(b"0")
    assert served == Served()
    assert not path.exists()


# Inside of another program


def test_who_serves_inside_of_a_program_stops_it_without_a_signal_and_gets_his_signals_back() -> None:
    async def play() -> tuple[bytes, Served]:
        stops = Stops()
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve(App(), port=0, on_ready=ready.set_result, stops=stops))
        answered = await exchanged(int((await ready).rpartition(":")[2]), BYE)
        stops.heard()
        return answered, await serving

    before = signal.getsignal(signal.SIGTERM)
    answered, served = run(play())
    assert answered.endswith(b"0")
    assert served == Served()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_app_that_cannot_start_is_not_served_and_one_that_is_stopped_meanwhile_neither() -> None:
    class Broken(App):
        async def startup(self) -> None:
            raise ZeroDivisionError

    class Slow(App):
        stops: Any = None
        was_shut = False

        async def startup(self) -> None:
            self.stops.heard()
            await asyncio.sleep(3600)

        async def shutdown(self) -> None:
            self.was_shut = True

    async def play() -> Slow:
        slow = Slow()
        slow.stops = Stops()
        assert await serve(slow, port=0, stops=slow.stops, on_ready=pytest.fail) == Served()
        return slow

    with pytest.raises(ZeroDivisionError):
        run(serve(Broken(), port=0))
    assert run(play()).was_shut
