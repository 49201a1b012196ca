"""A model server that answers one token, and may be another one after it slept: `python -I -S minded.py PORT [MANNER]`.

It prints each request. `lost` answers gibberish once it has slept, `silent` an error; `hangs` never falls asleep;
`tired` fails to wake up; `chat` has no plain completions, `mute` no completions at all.
"""

import json
import socket
import sys
import time
from contextlib import suppress


def main(port: int, *manners: str) -> None:
    listening = socket.create_server(("127.0.0.1", port), backlog=64)
    slept = False
    while True:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.settimeout(5)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            method, path, _ = head.decode().split("\r\n")[0].split(" ")
            print("asked", method, path, body.decode(), flush=True)
            slept = slept or path.startswith("/sleep")
            if path.startswith("/sleep") and "hangs" in manners:
                time.sleep(600)
            status, said = answer(path, slept, manners)
            data = json.dumps(said).encode()
            connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data))


def answer(path: str, slept: bool, manners: tuple[str, ...]) -> tuple[int, object]:
    if path == "/wake_up" and "tired" in manners:
        return 500, "no memory left"
    if path == "/models/sse" or ("mute" in manners and path.startswith("/v1/")):
        return 404, "no such path"
    if path == "/v1/completions":
        if "chat" in manners:
            return 404, "no such path"
        return (
            (500, "broken") if slept and "silent" in manners else (200, {"choices": [{"text": text(slept, manners)}]})
        )
    if path == "/v1/chat/completions":
        return 200, {"choices": [{"message": {"role": "assistant", "content": text(slept, manners)}}]}
    return 200, {"status": "ok"}


def text(slept: bool, manners: tuple[str, ...]) -> str:
    return "!!!!" if slept and "lost" in manners else " 8"


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
