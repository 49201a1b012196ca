"""`python -m benchmarks.gateway [NAME...]`: the figures of the gateway, the short ones or those named; `all` is all.

Exits 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys

from benchmarks.gateway.load import told
from benchmarks.gateway.measure import ROWS, SHORT, measured
from benchmarks.gateway.parts import SAMPLED, shown
from benchmarks.gateway.peers import SERVE, Stage, Wanted, nginx_program
from benchmarks.row import Row


def main() -> int:
    asked = arguments()
    names = list(ROWS) if "all" in asked.rows else asked.rows or list(SHORT)
    wanted = Wanted(asked.gateway)
    if asked.profile:
        print(shown(wanted, asked.profile))
        return 0
    if nginx_program() is None:
        told("nginx: not there, not run")
    if "LITELLM" not in os.environ:
        told("LiteLLM: not run; $LITELLM may name a python that has litellm[proxy]")
    with Stage(wanted) as stage:
        found = [row for name in names for row in measured(name, stage)]
    if asked.json:
        print(json.dumps([row._asdict() for row in found], indent=2))
    else:
        show(found)
    return 0 if all(row.reached for row in found) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    names = f"{', '.join(ROWS)}, or all; without a name: {' '.join(SHORT)}"
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*ROWS, "all", []], help=names)
    parser.add_argument(
        "--gateway", default=SERVE, help="its command; {config} {port} {upstream} {folder} are filled in"
    )
    why = "instead: where the time of one goes; the command must begin with a python then"
    parser.add_argument("--profile", nargs="?", choices=list(SAMPLED), const="token", help=why)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def show(rows: list[Row]) -> None:
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    for row in rows:
        has_goal = row.goal < float("inf")
        verdict = f"goal {row.goal:>7g}  {'ok' if row.reached else 'MISSED'}" if has_goal else ""
        print(f"{row.what:<66} {row.figure:>9.2f} {row.unit:<4} {verdict}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
