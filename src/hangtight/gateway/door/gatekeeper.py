"""The gate as the settings have it now: an edit of the file is obeyed, except where it would let in everybody."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from hangtight.drivers.standing import settings
from hangtight.gateway.door.gate import Bounds, Exposed, Gate, is_loopback, may_listen
from hangtight.gateway.door.listening import own_names

if TYPE_CHECKING:
    from hangtight.rules.serving import Gateway as Said

LOG = logging.getLogger("hangtight.gateway")
KEPT = "apiKeys is gone from the settings, and others can reach this address: the keys before still hold"


class Gatekeeper:
    """Of one gateway. `bound` is the address that we listen on; None where somebody else's server carries us.

    `insecure`: somebody said that strangers may come in without a key.
    """

    def __init__(self, bound: str | None = None, *, insecure: bool = False) -> None:
        self._bound = bound
        self._insecure = insecure
        self._said: Said | None = None
        self._gate: Gate | None = None
        self.trouble: str | None = None
        """Why the settings as they stand now are not obeyed."""

    @property
    def gate(self) -> Gate:
        """Made anew where the settings have changed. Raises Exposed where the first one would let in everybody."""
        said = settings().gateway
        if self._gate is None or said is not self._said:
            self._gate, self._said = self._made(said), said
        return self._gate

    def _made(self, said: Said) -> Gate:
        bounds = Bounds(body=said.body, head=said.head)
        hosts = (*said.hosts, *self._own_names)
        gate = Gate.of(self._bound, keys=said.keys, hosts=hosts, origins=said.origins, bounds=bounds)
        try:
            if self._bound is not None:
                may_listen(self._bound, said.keys, insecure=self._insecure)
        except Exposed as exposed:
            if self._gate is None:
                raise
            if self.trouble is None:
                LOG.warning("%s\n%s", KEPT, exposed)
            self.trouble = KEPT
            return replace(gate, keys=self._gate.keys)
        self.trouble = None
        return gate

    @property
    def _own_names(self) -> tuple[str, ...]:
        """The names by which other machines rightly ask for this one, where it listens to them."""
        return () if self._bound is None or is_loopback(self._bound) else own_names()
