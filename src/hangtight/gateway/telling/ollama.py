"""What Ollama's own command asks for, besides the list of models: whether anybody is there, and what is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from hangtight.drivers.servers import STANDS_IN
from hangtight.gateway.telling.answers import Receive, Scope, View, put, read

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State

HERE: Final = b"hangtight is running"
PLAIN: Final = (b"content-type", b"text/plain; charset=utf-8")
NOT_KNOWN: Final = "0001-01-01T00:00:00Z"
"""When it leaves memory: the zero of Ollama's language, which its command knows to be none."""
DETAILS: Final = {
    "parent_model": "", "format": "", "family": "", "families": None, "parameter_size": "", "quantization_level": "",
}  # fmt: skip
IN_MEMORY: Final = ("ready", "draining")


async def here(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    outlet.start(200, [PLAIN, (b"content-length", b"%d" % len(HERE))])
    await outlet.finish(HERE)


async def loaded(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Those that are known to be in memory: they get on, or we run them. Others may be there, too."""
    about = {"size": 0, "size_vram": 0, "digest": "", "details": DETAILS, "expires_at": NOT_KNOWN}
    told = [{"name": name, "model": name, **about} for name in dict.fromkeys(_in_memory(state))]
    await put(outlet, 200, {"models": told, STANDS_IN: "hangtight"})


def _in_memory(state: State) -> Iterator[str]:
    shown: list[Mapping[str, Any]] = [] if state.lanes.steward is None else list(state.lanes.steward.shown())
    yield from (each["model"] for each in shown if each["phase"] in IN_MEMORY)
    for lane in state.lanes.all():
        if any(reading.session.machine.tokens for reading in lane.readings):
            yield lane.name


VIEWS: Final[Mapping[str, Mapping[str, View]]] = {"/": read(here), "/api/ps": read(loaded)}
