"""Requests at a server that is run: who waits for it, who is in, and who is sent away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hangtight.core.process.facts import Ending
from hangtight.errors import BackendError

if TYPE_CHECKING:
    from hangtight.supervisor.server import ModelServer

UNAVAILABLE = 503
LEAST, MOST = 1.0, 3600.0  # seconds: what a client is told to wait


class Waiting(Protocol):
    """One request."""

    @property
    def patience(self) -> float:
        """The silence that it is ready to bear, once it is in."""

    def loading(self) -> None:
        """The load gets on."""

    def cut(self, why: str) -> None:
        """It is in, and is not waited for any longer."""


class Refused(BackendError):
    """The server will not be ready in time: why, and when it is worth asking again."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.status, self.code = UNAVAILABLE, "not_running"
        self.retry_after: float = min(max(retry_after, LEAST), MOST)


class Held:
    """A place in a server, held by one request: the server stays up until it is given back."""

    __slots__ = ("_server", "patience", "who")

    def __init__(self, server: ModelServer, who: Waiting) -> None:
        self._server = server
        self.who = who
        self.patience = who.patience
        """As it was when it was let in."""

    def end(self, end: Ending = Ending.OTHER) -> None:
        """The request has ended. Once is enough, more does no harm."""
        self._server.left(self, end)
