"""`python -m benchmarks.intent`: the whole proof in minutes, `--quick` in one. Exits 1 where something is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence

from benchmarks.intent import baselines
from benchmarks.intent.proof import FULL, QUICK, Loops, Report, Row, proof

COST, WORST_COST, KILOBYTES = 0.2, 0.5, 16.0
LISTED = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intent", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the text, and some of the periods")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument("--no-baselines", action="store_true", help="without the rules of others")
    parser.add_argument("--all", action="store_true", help="list every excluded passage and every error")
    parser.add_argument("--characters", type=int, help="how much of each kind")
    asked = parser.parse_args()
    size = (QUICK if asked.quick else FULL)._replace(baselines=not asked.no_baselines)
    if asked.characters:
        size = size._replace(characters=asked.characters)
    report = proof(size)
    if asked.json:
        print(json.dumps(dataclasses.asdict(report), indent=2, ensure_ascii=False))
    else:
        show(report, None if asked.all else LISTED)
    return 1 if report.errors else 0


def show(report: Report, most: int | None) -> None:
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores\n")
    show_kinds(report.kinds)
    show_loops(report.loops)
    print(f"\n{'cost on adversarial text':<34} {'us/char':>8}   goal {WORST_COST}")
    for name, figure in report.adversaries.items():
        print(f"{name:<34} {figure:>8.3f}   {'ok' if figure <= WORST_COST else 'MISSED'}")
    print(f"\n{'memory per stream':<34} {'KB':>8}   goal {KILOBYTES:g}")
    for name, figure in report.kilobytes.items():
        print(f"{name:<34} {figure:>8.1f}   {'ok' if figure <= KILOBYTES else 'MISSED'}")
    listed("passages that are loops, and were left out", report.excluded, most)
    listed("errors", report.errors, most)


def listed(what: str, lines: Sequence[str], most: int | None) -> None:
    print(f"\n{len(lines)} {what}")
    for line in lines[:most]:
        print(f"  {line}")
    if most is not None and len(lines) > most:
        print(f"  and {len(lines) - most} more (--all)")


def show_kinds(rows: Sequence[Row]) -> None:
    names = list(baselines.RULES)
    head = f"{'healthy text (* made)':<26} {'texts':>6} {'MB':>6} {'cuts':>5} {'think':>5} {'wrong':>5} {'held':>5} "
    head += f"{'loops':>6} {'owed':>5} {'missed':>6} "
    print(head + f"{'us/char':>8}  " + " ".join(f"{name:>14}" for name in names))
    for row in [*rows, total(rows)]:
        figures = (
            f"{row.texts:>6} {row.characters / 1e6:>6.2f} {row.cuts:>5} {row.cuts_in_reasoning:>5} {row.wrong:>5} "
        )
        found = f"{row.held:>5} {row.loops:>6} {row.owed:>5} {row.missed:>6} {row.microseconds:>8.3f}  "
        others = " ".join(f"{row.others.get(name, 0):>14}" for name in names)
        print(f"{row.kind + ' *' * row.made:<26} {figures}{found}{others}")
    print(
        "cuts: outside of loops; think: the same, read as reasoning; wrong: cuts in loops with a number that is wrong;"
    )
    print("held: texts with a suspicion outside of loops; owed: loops so long that they must be cut; right: texts that")
    print("the rules of others would have ended where there is no loop")
    print("suspicions by rule:", ", ".join(f"{rule} {count}" for rule, count in rows_by_rule(rows)) or "none")


def rows_by_rule(rows: Sequence[Row]) -> list[tuple[str, int]]:
    return sum((Counter(row.holds) for row in rows), Counter[str]()).most_common()


def total(rows: Sequence[Row]) -> Row:
    whole = Row("all")
    for row in rows:
        for name in ("texts", "characters", "cuts", "cuts_in_reasoning", "wrong", "held", "loops", "owed", "missed"):
            setattr(whole, name, getattr(whole, name) + getattr(row, name))
        whole.microseconds += row.microseconds / len(rows)
        for name, count in row.others.items():
            whole.others[name] = whole.others.get(name, 0) + count
    return whole


def show_loops(rows: Sequence[Loops]) -> None:
    names = list(baselines.RULES)
    head = f"\n{'loops':<26} {'count':>6} {'owed':>6} {'caught':>6} {'worst':>6} {'mean':>5} {'wrong':>8} "
    head += f"{'cuts':>5} {'held':>5}  "
    print(head + " ".join(f"{name:>14}" for name in names))
    for row in rows:
        wrong = f"{row.wrong_period}/{row.wrong_start}/{row.wrong_kept}"
        figures = (
            f"{row.count:>6} {row.owed:>6} {row.caught:>6} {row.worst:>6} {row.mean:>5.0f} {wrong:>8} {row.cuts:>5} "
        )
        others = " ".join(f"{row.others.get(name, '-'):>14}" for name in names)
        print(f"{row.sort:<26} {figures}{row.held:>5}  {others}")
    print("owed: must be cut; worst, mean: characters late; wrong: period/start/length kept; cuts: where no loop was;")
    print("right: texts ended by the rules of others")


if __name__ == "__main__":
    sys.exit(main())
