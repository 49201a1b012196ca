"""Runs a program and counts where its main thread is, some hundred times in each second of CPU that it spends.

`python -m benchmarks.gateway.sampled FILE -m MODULE ARGUMENT...`: SIGUSR1 begins, SIGUSR2 ends and writes FILE, with a
count for each place. Time in the kernel and in C counts for the Python code that goes on after it, so what is spent
on reading a socket shows at the function that gets the bytes. Other threads are not seen.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

EACH = 0.001
"""Asked for; the kernel rounds it up to its own tick, often 4 ms."""
DEEP = 12
"""Callers that are remembered with a place: whoever called into a library is one of them."""


class Sampler:
    """Samples of one program."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.places: Counter[tuple[str, ...]] = Counter()

    def begin(self, number: int, frame: FrameType | None) -> None:
        self.places.clear()
        signal.setitimer(signal.ITIMER_PROF, EACH, EACH)

    def sample(self, number: int, frame: FrameType | None) -> None:
        place: list[str] = []
        while frame is not None and len(place) < DEEP:
            place.append(f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        self.places[tuple(place)] += 1

    def end(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps([[list(place), count] for place, count in self.places.most_common()]))
        os.replace(part, self.file)  # whoever waits for it sees it whole

    def listen(self) -> None:
        for number, obey in ((signal.SIGUSR1, self.begin), (signal.SIGUSR2, self.end), (signal.SIGPROF, self.sample)):
            signal.signal(number, obey)
            signal.siginterrupt(number, False)


def main() -> None:
    """The program sees the arguments that it would have without us."""
    _, file, *program = sys.argv
    Sampler(Path(file)).listen()
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
