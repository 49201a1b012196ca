"""Writes the table of `docs/sdks.md`: runs each SDK on a client of ours against every fault of the lab.

Run it as `make docs`. `tests/clients/test_sdks.py` fails if the table is not what those tests hold.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("sdks.md")
MADE = re.compile(r"(<!-- made: what each raises -->\n).*?(<!-- end -->)", re.DOTALL)

sys.path.insert(0, str(PAGE.parent.parent))

from hangtight.testing.lab import Lab  # noqa: E402 - the tests beside us must be found first
from tests.clients.matrix import found  # noqa: E402


def page(table: str) -> str:
    """The page with this table."""
    text, times = MADE.subn(lambda marks: marks[1] + table + marks[2], PAGE.read_text(encoding="utf-8"))
    if times != 1:
        raise RuntimeError(f"{PAGE.name} has {times} places for the table, not one")
    return text


if __name__ == "__main__":
    with Lab() as lab:
        made = page(found(lab))
    PAGE.write_text(made, encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is up to date\n")
