"""JSON from bytes: by msgspec where it is installed, which is four times as fast, else by Python's own reader.

Annotations are not put off here: msgspec reads them.
"""

import json
from collections.abc import Callable
from functools import cache
from math import copysign, isfinite
from sys import float_info
from types import ModuleType
from typing import Any, Final, Literal, Protocol

from hangtight.core.facts import Calling, Content, Reasoning
from hangtight.dialects.reading import Piece

Load = Callable[[str | bytes], Any]
Steady = Callable[[str | bytes], Piece | None]

WITH_CHOICES: Final = ("openai-chat", "openai-completions")


@cache
def msgspec() -> ModuleType | None:
    try:
        import msgspec
    except ImportError:
        return None
    return msgspec


def loader() -> Load:
    """What reads any JSON. Where it refuses a text, `patient_load` may still take it."""
    return patient_load if msgspec() is None else _quick_load()


@cache
def _quick_load() -> Load:
    from msgspec.json import Decoder

    return Decoder().decode


def patient_load(data: str | bytes) -> Any:
    """Python's own reader, which takes some numbers and broken UTF-8 that msgspec does not."""
    return json.loads(data if isinstance(data, str) else data.decode("utf-8", "replace"), parse_float=_finite)


def _finite(written: str) -> float:
    """`1e999` is JSON, and `Infinity`, which Python would make of it, is not."""
    number = float(written)
    return number if isfinite(number) else copysign(float_info.max, number)


def steady_for(name: str) -> Steady | None:
    """What reads only the chunk that comes a thousand times, in half the time; None for any other chunk.

    Where the dialect's own reader is fast enough there is none.
    """
    return _steady() if name in WITH_CHOICES and msgspec() is not None else None


@cache
def _steady() -> Steady:
    decode = _choices_decoder()

    def read(data: str | bytes) -> Piece | None:
        try:
            choice = decode(data).choices[0]
        except (ValueError, RecursionError):
            return None
        delta = choice.delta
        text = choice.text if delta is None else delta.content
        if text:
            return Content, text, False
        if delta is None:
            return None
        if calls := delta.tool_calls:
            return Calling, "".join([call.function.arguments or "" for call in calls]), False
        if thought := delta.reasoning_content or delta.reasoning:
            return Reasoning, thought, False
        return None

    return read


class _Steady(Protocol):
    choices: tuple[Any]


@cache
def _choices_decoder() -> Callable[[str | bytes], _Steady]:
    """Takes more text, reasoning or arguments of the only choice. Whatever else says something has another type.

    So has the name of a call that begins. Some servers go on with an empty one.
    """
    from msgspec import Struct
    from msgspec.json import Decoder

    class Function(Struct, gc=False):
        arguments: str | None = None
        name: Literal["", None] = None

    class Call(Struct, gc=False):
        function: Function
        custom: None = None

    class Delta(Struct, gc=False):
        content: str | None = None
        reasoning_content: str | None = None
        reasoning: str | None = None
        tool_calls: list[Call] | None = None
        function_call: None = None
        refusal: None = None

    class Choice(Struct, gc=False):
        index: Literal[0]
        delta: Delta | None = None
        text: str | None = None
        finish_reason: None = None

    class Chunk(Struct, gc=False):
        choices: tuple[Choice]
        error: None = None

    return Decoder(Chunk).decode
