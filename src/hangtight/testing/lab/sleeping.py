"""vLLM's routes for putting a server to sleep and waking it, and the lab's own for looking at it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from urllib.parse import parse_qs

from hangtight.testing.lab.http import Request
from hangtight.testing.lab.standing import Standing, State
from hangtight.testing.lab.wire import compact

LEVELS = ("1", "2")
CHANGES = ("/sleep", "/wake_up", "/collective_rpc", "/reset_prefix_cache")

Answer = tuple[int, bytes]


async def answer(standing: Standing, request: Request, busy: bool) -> Answer | None:
    """What is answered on these routes; None on any other."""
    match request.method, request.path:
        case "GET", "/is_sleeping":
            return 200, compact({"is_sleeping": standing.state is State.ASLEEP})
        case "GET", "/lab/process":
            return 200, compact({"pid": os.getpid(), "state": standing.state.value, **asdict(standing.record)})
        case "POST", path if path in CHANGES:
            return await _change(standing, request, busy)
        case _:
            return None


async def _change(standing: Standing, request: Request, busy: bool) -> Answer:
    refused = standing.refusal()
    if standing.state is State.LOADING and refused is not None:
        return 503, refused
    match request.path:
        case "/sleep":
            return await _sleep(standing, request, busy)
        case "/wake_up":
            return (200, b"") if await standing.wake() else _failed("wake up")
        case "/collective_rpc":
            return _rpc(standing, request)
        case _:
            standing.record.calls.append("reset_prefix_cache")
            return 200, b""


async def _sleep(standing: Standing, request: Request, busy: bool) -> Answer:
    level = parse_qs(request.query).get("level", ["1"])[-1]
    if level not in LEVELS:
        return 400, _error(400, f"there is no sleep level {level}: 1 or 2")
    return (200, b"") if await standing.sleep(int(level), busy=busy) else _failed("sleep")


def _rpc(standing: Standing, request: Request) -> Answer:
    """It does nothing, and says so as vLLM does: one result for its one worker."""
    try:
        method = json.loads(request.body)["method"]
    except (ValueError, TypeError, KeyError):
        return 400, _error(400, "Missing 'method' in request body")
    standing.record.calls.append(str(method))
    return 200, compact({"results": [None]})


def _failed(what: str) -> Answer:
    return 500, _error(500, f"could not {what}: this server fails at it on request")


def _error(status: int, message: str) -> bytes:
    kind = "InternalServerError" if status >= 500 else "BadRequestError"
    return compact({"error": {"message": message, "type": kind, "param": None, "code": status}})
