"""Waits that are not the model's: each has an owner."""

from __future__ import annotations

from hangtight.core.time import NEVER, Instant, Seconds, between

PERSON = "person"
"""The one owner that also stops `total` and the budget."""


class Pauses:
    """The pauses that are open now. They may overlap; time in two of them counts once."""

    __slots__ = ("_owners", "_person_since")

    def __init__(self) -> None:
        self._owners: list[str] = []
        self._person_since = NEVER

    def __bool__(self) -> bool:
        return bool(self._owners)

    @property
    def by_person(self) -> bool:
        return PERSON in self._owners

    def by_person_until(self, now: Instant) -> Seconds:
        """How long the pause of a person that is open now has lasted."""
        return between(self._person_since, now)

    def begin(self, owner: str, now: Instant) -> None:
        if owner == PERSON and not self.by_person:
            self._person_since = now
        self._owners.append(owner)

    def end(self, owner: str, now: Instant) -> Seconds:
        """One pause of this owner is over. Returns what a person who was waited for gives back to `total`.

        Raises ValueError for an owner that has none.
        """
        self._owners.remove(owner)
        if owner != PERSON or self.by_person:
            return Seconds(0.0)
        ended, self._person_since = self.by_person_until(now), NEVER
        return ended
