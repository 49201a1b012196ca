"""Prints for people, between the bars of tqdm, on any terminal, at once; and says a trouble of ours once."""

from __future__ import annotations

import logging
import sys


class Voice:
    """What is printed, and told to a logger where one is given."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger
        self._said: set[str] = set()

    def say(self, text: str) -> None:
        """Prints, and flushes: somebody follows a file with `tail -f`."""
        out = sys.stdout
        if out is not None:
            encoding = getattr(out, "encoding", None) or "utf-8"
            fits = text.encode(encoding, "replace").decode(encoding)  # a Windows console may know no such pictures
            bars = sys.modules.get("tqdm")
            if bars is not None and getattr(bars.tqdm, "_instances", None):
                bars.tqdm.write(fits, file=out)
            else:
                out.write(fits + "\n")
            out.flush()
        if self._logger is not None:
            self._logger.info(text)

    def trouble(self, where: str, error: BaseException) -> None:
        """Says what failed, once for each kind, and never fails itself: it stands where training must go on."""
        kind = f"{where}: {type(error).__name__}"
        if kind in self._said:
            return
        self._said.add(kind)
        try:
            self.say(f"⚠️  hangtight: {kind}: {error}. Training goes on; this is said once.")
        except Exception:  # noqa: BLE001 - nobody listens: a closed output ends no training
            logging.getLogger("hangtight.training").warning("%s: %s", kind, error)
