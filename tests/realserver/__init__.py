"""A real model server for tests: llama.cpp's own HTTP server from a wheel, with a tiny model made on the spot.

Its weights are random, so it says word salad and never ends: an endless generation. Asked with a required tool it
makes one call, which the server's grammar keeps valid.
"""

from __future__ import annotations

from typing import Any

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "paint",
        "description": "Paint the sky.",
        "parameters": {
            "type": "object",
            "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "loud": {"type": "boolean"}},
            "required": ["colour", "loud"],
        },
    },
}
"""A function that can be called without a word of one's own, in the shape of OpenAI's chat."""
