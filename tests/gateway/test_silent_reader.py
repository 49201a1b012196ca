"""A client that reads nothing any more: after the verdict it is told why; if it does not take that, it is cut off."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import PATIENCE, Served, all_at

pytestmark = pytest.mark.real


def test_who_reads_nothing_after_the_verdict_is_cut_off(tmp_path: Path) -> None:
    with Lab() as lab, Served(tmp_path, all_at(lab.url) + "gateway: {patience: 0.5}\n") as served:
        place = urlsplit(served.url)
        body = json.dumps({"model": "healthy-code,rate=100000", "stream": True, "messages": []}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
            f"X-Hangtight-Total: 3\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((place.hostname or "", place.port or 0)) as client:
            client.sendall(head.encode() + body)
            deadline = time.monotonic() + PATIENCE
            seen = False
            while time.monotonic() < deadline:
                flying = served.get("/hangtight/generations")["generations"]
                seen = seen or bool(flying)
                if seen and not flying:
                    break
                time.sleep(0.05)
            assert seen
            assert not flying, "it waits for a client that reads nothing"
            ours = {getattr(c.raddr, "port", None) for c in psutil.Process(served.process.pid).net_connections()}
            assert client.getsockname()[1] not in ours
        assert "Traceback" not in served.said
        assert "ASGI" not in served.said
