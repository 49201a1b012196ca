"""The examples that are shown while a model trains: what they may look like, and whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hangtight.errors import SettingsError

ANSWERS = ("completion", "golden", "answer", "response", "output")
LOOKS_LIKE = (
    '(prompt, golden) pairs, {"prompt": ..., "completion": ...}, {"messages": [...]} that end with the assistant, '
    "or a function of a number that returns one of these"
)
Message = Mapping[str, Any]
Samples = Any
"""Anything with a length and an index, or a function of the number of the evaluation."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One example: what is asked, and what should come."""

    prompt: str | Sequence[Message]
    golden: str

    @property
    def shown(self) -> str:
        """The prompt for people."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(f"{message.get('role', '?')}: {message.get('content', '')}" for message in self.prompt)


def sample_of(raw: Any) -> Sample:
    """One example out of what data sets are made of."""
    if isinstance(raw, Sample):
        return raw
    if isinstance(raw, Mapping):
        if "messages" in raw:
            return _of_messages(raw["messages"])
        answer = next((raw[name] for name in ANSWERS if name in raw), None)
        if "prompt" in raw and answer is not None:
            return _checked(raw["prompt"], answer, raw)
    elif isinstance(raw, Sequence) and not isinstance(raw, str | bytes) and len(raw) == len(("prompt", "golden")):
        if isinstance(raw[0], Mapping):  # a conversation of two, without a mapping around it
            return _of_messages(raw)
        return _checked(raw[0], raw[1], raw)
    raise SettingsError("samples", raw, LOOKS_LIKE)


def _of_messages(messages: Sequence[Message]) -> Sample:
    if not messages or messages[-1].get("role") != "assistant":
        raise SettingsError("samples", messages, LOOKS_LIKE)
    return Sample(tuple(messages[:-1]), str(messages[-1].get("content", "")))


def _checked(prompt: Any, answer: Any, raw: Any) -> Sample:
    if isinstance(answer, Sequence) and not isinstance(answer, str) and answer and isinstance(answer[-1], Mapping):
        answer = answer[-1].get("content")  # TRL's prompt and completion, both conversations
    conversation = isinstance(prompt, Sequence) and all(isinstance(message, Mapping) for message in prompt)
    if not isinstance(answer, str) or not (isinstance(prompt, str) or conversation):
        raise SettingsError("samples", raw, LOOKS_LIKE)
    return Sample(prompt, answer)


class Rotation:
    """Another example each time; with a seed each round has its own order. The turn alone decides which one."""

    def __init__(self, samples: Samples, *, seed: int | None = None) -> None:
        self._ask: Callable[[int], Any] | None = None
        self._samples = samples
        self._seed = seed
        if hasattr(samples, "__len__") and hasattr(samples, "__getitem__"):
            if not len(samples):
                raise SettingsError("samples", samples, "at least one example")
            sample_of(samples[0])  # a mistake is told before hours of training, not after
        elif callable(samples):
            self._ask = samples
        else:
            raise SettingsError("samples", samples, LOOKS_LIKE)

    def at(self, turn: int) -> Sample:
        """The example of this turn, the first is 0."""
        if self._ask is not None:
            return sample_of(self._ask(turn))
        around, place = divmod(turn, len(self._samples))
        if self._seed is not None:
            place = self._order(around)[place]
        return sample_of(self._samples[place])

    def _order(self, around: int) -> list[int]:
        order = list(range(len(self._samples)))
        Random(f"{self._seed}:{around}").shuffle(order)
        return order
