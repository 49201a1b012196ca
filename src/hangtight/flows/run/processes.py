"""How the process of a step ends: it is asked, then killed; at once where nobody waits for it any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hangtight.drivers.child import ChildOutput


async def ended(output: ChildOutput) -> None:
    """It is gone, with all that it started. Who is cancelled in here kills it, and still sees it go."""
    closing = asyncio.ensure_future(output.aclose())
    stop: asyncio.CancelledError | None = None
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError as cancelled:
            stop = cancelled
            if output.tree is not None:
                output.tree.kill()
    if not closing.cancelled():
        closing.result()
    if stop is not None:
        raise stop
