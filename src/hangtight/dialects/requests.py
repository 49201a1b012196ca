"""What a request asks for: how long its prompt is, whether it wants reasoning, whether it wants a stream."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from hangtight.dialects.dialect import Body

CHARACTERS_PER_TOKEN: Final = 4
TOKENS_PER_MEDIUM: Final = 1000  # an image or a sound, whatever its size
MOST_COUNTED: Final = 50_000  # parts that are looked at: some ten milliseconds, whatever somebody sends

PROMPT: Final = ("messages", "system", "instructions", "input", "prompt", "suffix", "context", "tools", "functions")
MEDIA: Final = frozenset(
    (
        *("image", "image_url", "input_image"),
        *("input_audio", "audio", "audio_url", "video_url"),
        *("file", "input_file", "document"),
    )
)
"""The types of parts that are no text, in all the APIs."""
SILENT: Final = frozenset(("role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "status", "cache_control"))
"""Fields that are for the server and not for the model."""
PLAIN: Final = frozenset(
    ("content", "text", "parts", "function", "arguments", "name", "tool_calls", "input", "thinking")
)
"""Names of the wrapping around text. Others are part of a schema, and the model reads them."""
IMAGES: Final = "images"


def tokens_in(body: Body) -> int:
    """About how many tokens the prompt is. Past `MOST_COUNTED` parts it is a guess, rather too low than too high."""
    characters = tokens = counted = 0
    waiting: list[Any] = [body[name] for name in PROMPT if name in body]
    if isinstance(images := body.get(IMAGES), list):
        tokens += TOKENS_PER_MEDIUM * len(images)
    while waiting and counted < MOST_COUNTED:
        value = waiting.pop()
        counted += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, int | float):
            tokens += 1  # a prompt may be given as the numbers of its tokens
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if isinstance(kind := value.get("type"), str) and kind in MEDIA:
                tokens += TOKENS_PER_MEDIUM
                continue
            counted += len(value)
            for name, inner in islice(value.items(), MOST_COUNTED):
                if name == IMAGES and isinstance(inner, list):
                    tokens += TOKENS_PER_MEDIUM * len(inner)
                elif name not in SILENT:
                    characters += 0 if name in PLAIN else len(name)
                    waiting.append(inner)
    tokens += characters // CHARACTERS_PER_TOKEN
    return tokens + tokens * len(waiting) // counted if waiting else tokens


def streams(body: Body) -> bool:
    """Whether a stream is asked for, in an API that does not stream by itself."""
    return bool(body.get("stream"))


def openai_reasons(body: Body) -> bool:
    """Whether the request asks for reasoning, in the ways of OpenAI, OpenRouter and the chat templates."""
    effort = body.get("reasoning_effort")
    if effort is not None and effort != "none":
        return True
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and reasoning:
        return reasoning.get("effort") != "none" and reasoning.get("enabled") is not False
    template = body.get("chat_template_kwargs")
    return isinstance(template, dict) and template.get("enable_thinking") is True


def is_asked(value: object) -> bool:
    """A field that is set to something: of some, 0 is a wish too."""
    return value is not None and value is not False
