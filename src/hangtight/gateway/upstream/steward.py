"""Who runs the model servers, as the gateway knows him. Without one, servers are there or are not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hangtight.core.process.facts import Ending
from hangtight.errors import BackendError

if TYPE_CHECKING:
    from hangtight.core.time import Instant
    from hangtight.rules.settings import Settings


class PutAway(BackendError):
    """Its server was put away while this request was there, and could not wait for it any longer."""


class Lease(Protocol):
    """One request is at a server, which stays up until that has ended."""

    def end(self, end: Ending = Ending.OTHER) -> None:
        """The request has ended, and what that says about its server."""


class Waiting(Protocol):
    """One request waits for its server. What it is told, it is told in the loop that it runs in."""

    @property
    def patience(self) -> float:
        """The silence that it is ready to bear, once it is in."""

    def loading(self) -> None:
        """The load gets on."""

    def cut(self, why: str) -> None:
        """It has a lease, and its server cannot wait for it any longer."""


class Steward(Protocol):
    """Starts a server when it is wanted, and puts it away when it is not."""

    on_change: Callable[[Mapping[str, Any]], object]
    """Told when a server of his comes into another phase: how it stands then, as in `shown`."""

    def runs(self, model: str) -> bool:
        """Whether the server of this model is his."""

    def base(self, model: str) -> str:
        """Where this model is asked, if it is a process for each request."""

    def lease(self, model: str, who: Waiting) -> Lease | None:
        """At once, where its server is ready; None where that has to be waited for."""

    async def ready(self, model: str, who: Waiting) -> Lease:
        """When its server is ready. Who is cancelled waits no longer; the load goes on.

        Raises BackendError, with `retry_after`.
        """

    async def still_running(self, model: str, base: str, since: Instant) -> None:
        """The server goes on with a request of this model that was cancelled then. Asked only for a model that is his.

        Cancelled as soon as the server is seen to have stopped: until then he may wait, and need not do anything.
        """

    def renew(self, settings: Settings) -> None:
        """The settings have changed."""

    # -- for people ---------------------------------------------------------------------------------------------

    def shown(self) -> list[dict[str, Any]]:
        """Each of his models, as it stands."""

    async def put(self, model: str, into: str) -> Mapping[str, Any]:
        """`wake`, `sleep` or `stop` it, and tell how that ended: `ok`, `phase`, `why`."""

    async def unload(self) -> None:
        """Stop all."""

    def log(self, model: str | None) -> bytes:
        """What the server of this model has printed lately; of all of them, and of ourselves, where none is named."""

    def follow(self, model: str | None, *, history: bool) -> AsyncIterator[bytes]:
        """The same as it comes."""
