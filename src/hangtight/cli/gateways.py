"""How a command asks a gateway, and what it says where none answers."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from typing import Any, NamedTuple

from hangtight.cli.settings import USAGE, fail
from hangtight.cli.top import GATEWAY, KEY
from hangtight.drivers.http11 import Address, ConnectFailed, HTTPError, request
from hangtight.drivers.servers import FORBIDDEN, UNAUTHORIZED
from hangtight.errors import HangtightError

AT_ONCE = 1.0  # seconds, where nobody waits for it
PATIENCE = 5.0  # seconds in which a gateway must answer
MOST = 16 * 1024 * 1024  # bytes of an answer


class NoGateway(HangtightError):
    """Nobody answers there who knows what is asked. Says what to type."""


class NeedsKey(NoGateway):
    """One is there, and it knows who may ask."""


class Gateway(NamedTuple):
    """Where it is, what opens it, and which command asks."""

    url: str
    key: str
    command: str

    @classmethod
    def of(cls, url: str, key: str | None, command: str) -> Gateway:
        """As somebody writes it. What cannot be meant ends the command."""
        base = url.strip().rstrip("/").removesuffix("/v1")
        base = base if "://" in base else f"http://{base}"
        try:
            Address.parse(base)
        except ValueError as wrong:
            fail(f"--url {url!r} cannot be used: it must be like {GATEWAY} ({wrong})", USAGE)
        shown = (key or "").strip()
        if not (shown.isascii() and shown.isprintable()):
            fail("--key (not shown) cannot be used: it must be made of plain characters", USAGE)
        return cls(base, shown, command)

    async def ask(self, method: str, path: str, patience: float | None = PATIENCE) -> tuple[int, Any]:
        """Status and JSON; None where it is no JSON. Raises NoGateway."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        body = b"" if method == "POST" else None
        try:
            async with asyncio.timeout(patience):
                asked = request(
                    method, f"{self.url}{path}", headers=headers, body=body, connect_timeout=PATIENCE
                )  # fmt: skip
                async with asked as response:
                    status, told = response.status, await response.read(MOST)
        except TimeoutError:
            raise self.missing(f"nothing within {patience:g} s") from None
        except (HTTPError, OSError) as error:
            if patience is None and not isinstance(error, ConnectFailed):
                raise NoGateway(f"{self.url}: the gateway was stopped meanwhile, and ends what it runs") from error
            refused = isinstance(error.__cause__, ConnectionRefusedError)
            raise self.missing("nothing there" if refused else str(error)) from error
        if status in (UNAUTHORIZED, FORBIDDEN):
            why = "the key is not one of its keys" if self.key else "it wants a key"
            raise NeedsKey(f"{self.url}: {why}\nto show one:  {KEY}=... hangtight {self.command} --url {self.url}")
        return status, _parsed(told)

    def missing(self, why: str) -> NoGateway:
        lines = (
            f"no gateway at {self.url}: {why}",
            "to start one:  hangtight serve",
            f"to ask another:  hangtight {self.command} --url http://HOST:PORT",
        )
        return NoGateway("\n".join(lines))


def kept_by_a_gateway() -> str:
    """The journal of the gateway that runs here at its usual port; empty where none does, or tells none."""
    told: Any = None
    with suppress(NoGateway):
        _, told = asyncio.run(Gateway.of(GATEWAY, os.environ.get(KEY), "log").ask("GET", "/health", AT_ONCE))
    there = told.get("journal") if isinstance(told, dict) else None
    return there if isinstance(there, str) else ""


async def is_gateway(url: str) -> bool:
    """Whether one of ours answers there, to whomever."""
    try:
        _, told = await Gateway.of(url, None, "top").ask("GET", "/hangtight/generations", AT_ONCE)
    except NoGateway as seen:
        return isinstance(seen, NeedsKey)
    return isinstance(told, dict) and "generations" in told


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
