"""Waits that are not the model's: each has an owner."""

from __future__ import annotations

from dataclasses import dataclass

from hangtight.core.time import NEVER, Instant, Seconds, between

PERSON = "person"
"""The one owner that also stops `total` and the budget."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What the end of one pause gives back; nothing while another pause goes on."""

    paused: Seconds
    by_person: Seconds


class Pauses:
    """The pauses that are open now. They may overlap; time in two of them counts once."""

    __slots__ = ("_owners", "_person_since", "_since")

    def __init__(self) -> None:
        self._owners: list[str] = []
        self._since = NEVER
        self._person_since = NEVER

    def __bool__(self) -> bool:
        return bool(self._owners)

    @property
    def by_person(self) -> bool:
        return PERSON in self._owners

    def begin(self, owner: str, now: Instant) -> None:
        if not self._owners:
            self._since = now
        if owner == PERSON and not self.by_person:
            self._person_since = now
        self._owners.append(owner)

    def end(self, owner: str, now: Instant) -> Ended:
        """One pause of this owner is over. An owner that has none is an error of the caller's."""
        self._owners.remove(owner)
        person_done = owner == PERSON and not self.by_person
        return Ended(
            paused=Seconds(0.0) if self._owners else between(self._since, now),
            by_person=between(self._person_since, now) if person_done else Seconds(0.0),
        )
