"""A model server that is there within milliseconds: `python -I -S quick.py PORT [deaf]` answers 200 to everything.

A POST is answered as by OpenAI, and takes a moment; with `once=FILE` the first one of all takes for ever.

`deaf` hears no SIGTERM. It imports no more than it must, because tests start hundreds of it.
"""

import os
import socket
import sys
import time
from contextlib import suppress

MOMENT = 0.02


def is_first(*manners: str) -> bool:
    """Whether no life of this server was asked before, where that matters."""
    for name in (manner.removeprefix("once=") for manner in manners if manner.startswith("once=")):
        with suppress(FileExistsError):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
            return True
    return False


def main(port: int, *manners: str) -> None:
    if "deaf" in manners:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listening = socket.create_server(("127.0.0.1", port), backlog=64)
    body = str(os.getpid()).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    told = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}]}' % body
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    completion = head % len(told) + told
    while True:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.settimeout(5)
            asks = connection.recv(65536).startswith(b"POST")
            if asks:
                time.sleep(600 if is_first(*manners) else MOMENT)
            connection.sendall(completion if asks else answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
