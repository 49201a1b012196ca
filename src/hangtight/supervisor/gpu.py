"""Whether the memory of a GPU is free again, where NVIDIA's library can tell. Never an error, never a long wait.

Where `pynvml` is not installed, there is no driver, or it does not answer in time, the answer is None: unknown. In a
container the driver may know the processes by other ids; then it knows of none of ours, and the answer is unknown too.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

SECONDS = 2.0
LOOK = 0.05


async def held_by(pids: Collection[int], seconds: float = SECONDS) -> int | None:
    """The bytes of GPU memory that these processes hold together. None is unknown, and 0 none."""
    table = await _asked(seconds)
    return None if table is None else sum(table.get(pid, 0) for pid in pids)


async def freed(pids: Collection[int], seconds: float = SECONDS) -> bool | None:
    """Waits until these processes hold none of it, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            while held := await held_by(pids, seconds):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(LOOK)
    except TimeoutError:
        return False
    return None if held is None else True


async def _asked(seconds: float) -> dict[int, int] | None:
    """In a thread that nobody waits for at the end: a driver that hangs must not hold up our exit."""
    try:
        library = import_module("pynvml")
    except Exception:  # noqa: BLE001 - whatever it is, the answer is the same
        return None
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[dict[int, int] | None] = loop.create_future()

    def tell(table: dict[int, int] | None) -> None:
        if not answer.done():
            answer.set_result(table)

    def ask() -> None:
        table = None
        with suppress(Exception):
            table = _table(library)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, table)

    threading.Thread(target=ask, name="hangtight-gpu", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        return None


def _table(library: Any) -> dict[int, int]:
    """Bytes by process, over all GPUs."""
    library.nvmlInit()
    try:
        table: dict[int, int] = {}
        for index in range(library.nvmlDeviceGetCount()):
            device = library.nvmlDeviceGetHandleByIndex(index)
            for process in library.nvmlDeviceGetComputeRunningProcesses(device):
                table[process.pid] = table.get(process.pid, 0) + (process.usedGpuMemory or 1)  # None: some, not told
        return table
    finally:
        library.nvmlShutdown()
