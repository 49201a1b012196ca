"""What the lab counted: written on the server's loop alone, read and waited for from any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Condition


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the requests for one model.

    `cancelled` are those whose client left before the end, `wasted` the tokens made for nobody after
    that, `open` those being served at this moment. What the script itself refused, cut or failed is in
    `asked` only.
    """

    asked: int = 0
    streamed: int = 0
    finished: int = 0
    cancelled: int = 0
    tokens: int = 0
    wasted: int = 0
    open: int = 0


NOTHING = Counts()


class Books:
    """The counts of every model since the last reset."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._counts: dict[str, Counts] = {}
        self._page = 0

    def entry(self, model: str, *, streamed: bool) -> Entry:
        """A request came in: it is open from now on, until its entry is closed."""
        entry = Entry(self, model, self._page)
        self.add(entry, asked=1, streamed=int(streamed), open=1)
        return entry

    def add(self, entry: Entry, **more: int) -> None:
        with self._changed:
            if entry.page == self._page:  # a request from before the reset no longer counts
                old = self._counts.get(entry.model, NOTHING)
                new = {name: getattr(old, name) + number for name, number in more.items()}
                self._counts[entry.model] = replace(old, **new)
                self._changed.notify_all()

    def reset(self) -> None:
        with self._changed:
            self._page += 1
            self._counts.clear()
            self._changed.notify_all()

    def models(self) -> dict[str, Counts]:
        with self._changed:
            return dict(self._counts)

    def finished(self) -> int:
        """How many requests were answered to their end, whatever the model."""
        return sum(counts.finished for counts in self.models().values())

    def is_open(self) -> bool:
        """Whether a request is being served at this moment."""
        return any(counts.open for counts in self.models().values())

    def of(self, model: str) -> Counts:
        with self._changed:
            return self._counts.get(model, NOTHING)

    def when(self, model: str, holds: Callable[[Counts], bool], timeout: float) -> Counts:
        """Wait in another thread until this holds for the model's counts; a TimeoutError says what they were."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self._counts.get(model, NOTHING)), timeout):
                last = self._counts.get(model, NOTHING)
                raise TimeoutError(f"timed out after {timeout:g}s waiting for the lab's {model!r}: {last}")
            return self._counts.get(model, NOTHING)


class Entry:
    """One request in the books. It ends once: finished, left, or spoiled by its script."""

    def __init__(self, books: Books, model: str, page: int) -> None:
        self.model = model
        self.page = page
        self._books = books
        self._ended = False

    def token(self, *, wasted: bool) -> None:
        self._books.add(self, **{"wasted" if wasted else "tokens": 1})

    def finished(self) -> None:
        if not self._end():
            self._books.add(self, finished=1)

    def left(self) -> None:
        if not self._end():
            self._books.add(self, cancelled=1)

    def spoiled(self) -> None:
        self._end()

    def close(self) -> None:
        self._books.add(self, open=-1)

    def _end(self) -> bool:
        ended, self._ended = self._ended, True
        return ended
