"""Which step comes after which. Knows nothing but names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

Needs = Mapping[str, Sequence[str]]
"""What each one waits for; all of them are here."""


def ordered(needs: Needs) -> list[str]:
    """Each behind those it needs; as they were written, where that is free.

    Those in a circle, and behind one, are left out.
    """
    place = {name: number for number, name in enumerate(needs)}
    names, left = list(needs), {name: len(set(wanted)) for name, wanted in needs.items()}
    users: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in needs.items():
        for need in set(wanted):
            users[need].append(name)
    ready = [place[name] for name, count in left.items() if not count]
    heapify(ready)
    order: list[str] = []
    while ready:
        order.append(names[heappop(ready)])
        for user in users[order[-1]]:
            left[user] -= 1
            if not left[user]:
                heappush(ready, place[user])
    return order


def circle(needs: Needs) -> list[str]:
    """One way round, each waiting for the next, its first name at both ends; empty where there is none."""
    done = set(ordered(needs))
    here = next((name for name in needs if name not in done), None)
    if here is None:
        return []
    walked: dict[str, None] = {}
    while here not in walked:
        walked[here] = None
        here = next(need for need in needs[here] if need not in done)
    around = list(walked)[list(walked).index(here) :]
    return [*around, here]
