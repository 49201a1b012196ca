"""Run every benchmark and print one table."""

from __future__ import annotations

import json
import os
import platform
import sys

from benchmarks import (
    alarms,
    dialects,
    flows,
    gateway,
    imports,
    intent,
    journal,
    memory,
    settling,
    supervisor,
    tokens,
    training,
    transport,
)


def main() -> int:
    """Exit 1 if a goal is missed, so that a regression is seen."""
    measured = (
        imports, tokens, dialects, intent, transport, settling, alarms, memory, journal, gateway, supervisor, flows,
        training,
    )  # fmt: skip
    rows = [row for each in measured for row in each.rows()]
    if "--json" in sys.argv:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    for row in rows:
        verdict = "ok" if row.reached else "MISSED"
        print(f"{row.what:<66} {row.figure:>9.2f} {row.unit:<6} goal {row.goal:>7g}  {verdict}")
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
