"""Sockets to listen on, and what to type where there are none to be had."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hangtight.errors import HangtightError

HIGHEST_PORT = 65535
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
"""An address that this machine has not, such as ::1 in a container without IPv6."""
GROUP_TOO = 0o660  # who may connect to a socket of the file system: the proxy in front is mostly another user
HERE_ONLY = "to listen on this machine only:  hangtight serve --host 127.0.0.1"
WANTED_DESCRIPTORS = 65536  # two for each stream; many systems give 1,024 unless asked


class CannotListen(HangtightError):
    """The address is taken, forbidden or none of this machine. Says what to type instead."""

    def __init__(self, where: str, why: str, line: str) -> None:
        super().__init__(f"cannot listen on {where}: {why}\n{line}")


@contextmanager
def bound(host: str, port: int, uds: str | None = None) -> Iterator[tuple[str, list[socket.socket]]]:
    """Bound sockets, and the address to tell people; closed at the end. A name with two addresses has two."""
    enough_descriptors()
    sockets = [_in_the_file_system(uds)] if uds is not None else _on_the_network(host, port)
    try:
        yield _address(host, sockets[0], uds), sockets
    finally:
        for each in sockets:
            each.close()
        if uds is not None:
            with suppress(OSError):
                os.unlink(uds)


def own_names() -> tuple[str, ...]:
    """What this machine calls itself: names by which its neighbours rightly ask for it."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return tuple(dict.fromkeys(each for each in (name, short, f"{short}.local") if short))


def enough_descriptors() -> None:
    """Ask for as many open files as thousands of streams need; what is not granted is not missed before they come."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _on_the_network(host: str, port: int) -> list[socket.socket]:
    if not 0 <= port <= HIGHEST_PORT:
        raise CannotListen(f"{host}:{port}", "there is no such port", "to take any free one:  hangtight serve --port 0")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as unknown:
        raise CannotListen(f"{host}:{port}", "this host is not known", HERE_ONLY) from unknown
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, place in dict.fromkeys(found):
            # A port that was left to the system is one and the same for all addresses of a name.
            taken = sockets[0].getsockname()[1] if sockets else port
            with _leaving_out_the_absent(last=not sockets and place == found[-1][4]):
                sockets.append(_listener(family, (place[0], taken, *place[2:])))
    except OSError as refused:
        for each in sockets:
            each.close()
        raise _told(host, port, refused) from refused
    return sockets


@contextmanager
def _leaving_out_the_absent(*, last: bool) -> Iterator[None]:
    try:
        yield
    except OSError as refused:
        if last or refused.errno not in ABSENT:
            raise


def _listener(family: int, place: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR lets others take the port over.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        # Here, not when the loop takes it over: two may bind to one port, and only the second to listen is told.
        made.listen()
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _told(host: str, port: int, refused: OSError) -> CannotListen:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if refused.errno == errno.EADDRINUSE:
        other = port + 1 if port < HIGHEST_PORT else port - 1
        line = f"to take another one:  hangtight serve --port {other}      or any free one: --port 0"
        return CannotListen(where, "another program has this port, perhaps a gateway that runs already", line)
    if refused.errno == errno.EACCES:
        line = f"to take another one:  hangtight serve --port {port + 8000}"
        return CannotListen(where, "this port is for the administrator", line)
    if refused.errno in ABSENT:
        return CannotListen(where, "this machine has no such address", HERE_ONLY)
    return CannotListen(where, refused.strerror or str(refused), "to take another one:  hangtight serve --port 0")


def _in_the_file_system(path: str) -> socket.socket:
    if sys.platform == "win32":
        raise CannotListen(path, "Python has no sockets of the file system on Windows", "give a --host and a --port")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_what_is_left(path)
        made.bind(path)
        os.chmod(path, GROUP_TOO)
        made.listen()
        made.setblocking(False)
    except OSError as refused:
        made.close()
        why = "another program has it" if refused.errno == errno.EADDRINUSE else refused.strerror or str(refused)
        raise CannotListen(path, why, "to take another one:  give another path, or --port") from refused
    return made


def _remove_what_is_left(path: str) -> None:
    """A socket that nobody listens on any more; never a file, nor a socket of somebody who lives."""
    if sys.platform == "win32" or not (os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _address(host: str, listener: socket.socket, uds: str | None) -> str:
    if uds is not None:
        return f"unix:{uds}"
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
