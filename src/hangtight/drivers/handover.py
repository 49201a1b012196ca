"""From `watch` to a client of ours beneath it: one generation has one machine, and it is the one nearest to the wire.

While a watch opens its source, it stands in `HANDED`. A client of ours that asks a model then takes the watch's
terms, which rank above its own, and its session is the watch's from there on.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hangtight.drivers.session import Session

HANDED: ContextVar[weakref.ref[Session] | None] = ContextVar("hangtight-handed", default=None)
"""Weak, because a thread keeps the context in which it was made."""


@contextmanager
def handing(session: Session) -> Iterator[None]:
    """While the block runs a client of ours may take this session over."""
    token = HANDED.set(weakref.ref(session))
    try:
        yield
    finally:
        HANDED.reset(token)


def handed() -> Session | None:
    """The session of the watch in whose opening we are."""
    watching = HANDED.get()
    return watching() if watching is not None else None


ASKERS: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()


def announce(session: Session) -> str:
    """A word that nobody guesses: our own gateway finds this session by it, for whom it asks a model then."""
    word = os.urandom(16).hex()
    ASKERS[word] = session
    return word


def announced(word: str) -> Session | None:
    """The session of this process that asks our gateway with that word."""
    return ASKERS.get(word) if word else None


WITNESS: ContextVar[Callable[[Session], object] | None] = ContextVar("hangtight-witness", default=None)
"""Told of each generation that begins here, in whatever thread that is: by a workflow, for its heartbeats."""
