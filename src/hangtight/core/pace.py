"""How long calls take, learned from those that were: what stands behind a limit that is `auto`.

A learned limit ends at most 1 % of the healthy calls. Each one does: where `first_token`, `idle` and `total` are all
`auto`, up to 3 % may end by one of them. It is the share over many calls of a steady kind, not a promise about each
hundred of them, and it holds for calls like those of the level that speaks: where that is wider than the call, the
level's words say so. It rests on the (n + 1) rank in the latest 1,000 calls, with those that were ended counted as
longer than what they were given. When the pace changes, the share is missed until the window has seen it: for some
tens of calls where the limit must rise, and by being too generous for up to a window where it may fall.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from hangtight.core.limits import Limit
from hangtight.core.pace_samples import FALSE_KILLS, MARGIN, Observation, Window, samples_of

__all__ = ["FALSE_KILLS", "SAMPLES", "Learned", "Learner", "Observation", "Paces", "Predicted"]

SAMPLES = 100  # a bound of 1 % needs 99
BUCKETS = (0, 256, 1024, 4096, 16384, 65536)  # tokens; 0 is a prompt of which nothing is known
LEVELS = 512  # kept at once: names of models come from outside, and may be many

_WINDOW_OF: Mapping[str, int] = {Limit.FIRST_TOKEN: 0, Limit.IDLE: 1, Limit.TOTAL: 2}
_TOTAL = _WINDOW_OF[Limit.TOTAL]


class Learned(NamedTuple):
    """A limit that history supports."""

    value: float
    samples: int
    """How many waits that ended by themselves are behind it."""
    level: str
    """Which calls these were, in words."""
    pooled: bool
    """They are of other models too: the value has a margin for that."""


class Predicted(NamedTuple):
    """How long a call will take."""

    seconds: float
    """Half of them take no longer."""
    least: float
    """Only one in a hundred is faster."""
    samples: int
    level: str
    pooled: bool = False


class Learner(Protocol):
    """Whatever learns how long calls take. One thread teaches it, any number may ask at the same time."""

    @property
    def version(self) -> int:
        """It grows when an answer may have changed."""

    def fill(self, observations: Iterable[Observation]) -> None:
        """What is known from before, oldest first."""

    def observe(self, seen: Observation) -> None:
        """A call is over."""

    def learned(  # noqa: PLR0917
        self,
        limit: str,
        model: str,
        mode: str,
        prompt_tokens: int,
        floors: Mapping[str, float],
        samples: int = SAMPLES,
    ) -> Learned | None:
        """The value for a limit that is `auto`, never under its floor; None where too little is known."""

    def predicted(self, model: str, mode: str, prompt_tokens: int, samples: int = SAMPLES) -> Predicted | None:
        """How long such a call will take; None where too little is known."""


Key = tuple[str | None, str | None, int | None]
"""Model, mode, bucket of the prompt; None is any."""


class _Level:
    """A group of calls that are taken to be alike."""

    __slots__ = ("margin", "pooled", "seen", "windows", "words")

    def __init__(self, key: Key) -> None:
        self.words = _words(key)
        self.pooled = key[0] is None
        self.margin = MARGIN if self.pooled else 1.0
        self.windows = (Window(), Window(), Window())
        self.seen = 0


class Paces:
    """The `Learner` that looks at rolling quantiles: by model, mode and prompt size, pooled upwards."""

    def __init__(self) -> None:
        self.version = 0
        self._levels: dict[Key, _Level] = {}
        self._seen = 0

    def fill(self, observations: Iterable[Observation]) -> None:
        """What is known from before, oldest first."""
        for seen in observations:
            self._add(seen)
        for level in self._levels.values():
            for window in level.windows:
                window.tell()
        self.version += 1

    def observe(self, seen: Observation) -> None:
        """A call is over."""
        untold = self._add(seen)
        for window in untold:
            window.tell()
        if untold:
            self.version += 1

    def _add(self, seen: Observation) -> list[Window]:
        """Take a call in at each of its levels; what has to be told anew."""
        samples = samples_of(seen)
        untold = []
        self._seen += 1
        for key in _keys(seen.model, seen.mode, seen.prompt_tokens):
            level = self._levels.get(key)
            if level is None:
                level = self._levels[key] = _Level(key)
            level.seen = self._seen
            for window, sample in zip(level.windows, samples, strict=True):
                if sample is not None and window.add(sample):
                    untold.append(window)
        if len(self._levels) > LEVELS:
            self._forget_levels()
        return untold

    def _forget_levels(self) -> None:
        """The quarter that was not seen for longest; one at a time would cost a search for each new name."""
        oldest = sorted(self._levels, key=lambda key: self._levels[key].seen)
        for key in oldest[: LEVELS // 4]:
            del self._levels[key]

    def learned(  # noqa: PLR0917
        self,
        limit: str,
        model: str,
        mode: str,
        prompt_tokens: int,
        floors: Mapping[str, float],
        samples: int = SAMPLES,
    ) -> Learned | None:
        """The value for `first_token`, `idle` or `total`, never under its floor; None where too little is known.

        None also where half of the latest calls were ended by this limit: the pace has changed by more than the window
        can follow, or the backend stands still, or a wider level does not fit calls like this. The defaults know
        better then. Under 99 samples there is no 1 % to be had, and the value is the longest wait with a margin.
        """
        which = _WINDOW_OF[limit]
        for key in _keys(model, mode, prompt_tokens):
            level = self._levels.get(key)
            if level is None:
                continue
            table = level.windows[which].table
            if table.shaken:
                return None
            if table.limit is not None and table.samples >= samples:
                value = max(level.margin * table.limit, floors.get(limit, 0.0))
                return Learned(value, table.samples, level.words, level.pooled)
        return None

    def predicted(self, model: str, mode: str, prompt_tokens: int, samples: int = SAMPLES) -> Predicted | None:
        """How long such a call will take, were it left alone; None where too little is known.

        Where most calls are ended before their time, `seconds` is the longest that was seen: it is at least that.
        """
        for key in _keys(model, mode, prompt_tokens):
            level = self._levels.get(key)
            if level is None:
                continue
            told = level.windows[_TOTAL].table
            if told.usual is not None and told.least is not None and told.samples >= samples:
                return Predicted(level.margin * told.usual, told.least, told.samples, level.words, level.pooled)
        return None


def _keys(model: str, mode: str, prompt_tokens: int) -> tuple[Key, ...]:
    """The levels of a call, nearest first. Models without a name are not one model."""
    wide: tuple[Key, ...] = ((None, mode, None), (None, None, None))
    if not model:
        return wide
    return ((model, mode, bisect_left(BUCKETS, prompt_tokens)), (model, mode, None), (model, None, None), *wide)


def _words(key: Key) -> str:
    """A level for people.

    >>> _words(("qwen3-coder", "deep", 3))
    'qwen3-coder, deep, prompts up to 4,096 tokens'
    """
    model, mode, bucket = key
    words = ["all models" if model is None else model]
    if mode is not None:
        words.append(mode or "no mode")
    elif model is not None:
        words.append("all modes")
    if bucket is not None:
        words.append(_prompts(bucket))
    return ", ".join(words)


def _prompts(bucket: int) -> str:
    if bucket == 0:
        return "prompts of unknown length"
    if bucket == len(BUCKETS):
        return f"prompts of more than {BUCKETS[-1]:,} tokens"
    return f"prompts up to {BUCKETS[bucket]:,} tokens"
