"""A model server that is there within milliseconds: `python -I -S quick.py PORT [deaf]` answers 200 to everything.

`deaf` hears no SIGTERM. It imports no more than it must, because tests start hundreds of it.
"""

import os
import socket
import sys
from contextlib import suppress


def main(port: int, *manners: str) -> None:
    if "deaf" in manners:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listening = socket.create_server(("127.0.0.1", port), backlog=64)
    body = str(os.getpid()).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    while True:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
