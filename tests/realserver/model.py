"""Writes a tiny GGUF model file with random weights: always the same bytes, with the standard library alone."""

from __future__ import annotations

import random
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

SEED = 7
CONTEXT, WIDTH, LAYERS, HEADS, INNER = 2048, 32, 2, 2, 64
WORDS = 300
LOUD = 4.0
"""How far the words stand out from the pieces of which we do not want to hear unless a grammar asks for them."""

SPACE = "\u2581"
READY, CALL, BRACKET = "<ready>", "<tool_call>", ">"
"""The prompt of a request with tools ends with the first, after which the model says the second. A call ends with the
third, after which the model says that it is done. A grammar alone would let it talk for ever before it calls."""
SURE = 30.0

LETTERS = "".join(chr(code) for code in range(33, 127)) + "\n"
NORMAL, UNKNOWN, CONTROL, MARK, BYTE = 1, 2, 3, 4, 6
U32, I32, F32, BOOL, TEXT, ARRAY = 4, 5, 6, 7, 8, 9
ALIGNMENT = 32

TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}
{% endfor %}
{%- for message in messages %}{{ '<' + message.role + '>' + (message.content or '') }}
{%- for call in message.tool_calls or [] -%}
{{ '<tool_call>{"name": "' + call.function.name + '", "arguments": ' }}{{ call.function.arguments | tojson }}{{ '}</tool_call>' }}
{%- endfor %}{{ '</s>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% if tools %}{{ '<ready>' }}{% endif %}{% endif %}"""  # noqa: E501
"""The server finds out from the template how a call looks. No new line after the mark: the grammar would need it."""

Token = tuple[str, int]
Tensor = tuple[str, tuple[int, ...], "array[float]"]
"""Name, shape, weights."""


def words() -> list[str]:
    """Made-up words, each of two syllables."""
    syllables = ["".join(pair) for pair in product("bdfgklmnprst", "aeiou")]
    return ["".join(pair) for pair in random.Random(SEED).sample(list(product(syllables, repeat=2)), WORDS)]


def vocabulary() -> tuple[list[Token], set[int]]:
    """All tokens, and which of them are whole words. A word can only be read if each of its beginnings is a token."""
    tokens: list[Token] = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), (READY, MARK), (CALL, MARK)]
    tokens += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    whole = {SPACE + word for word in words()}
    beginnings = (word[:end] for word in sorted(whole) for end in range(2, len(word) + 1))
    tokens += [(piece, NORMAL) for piece in dict.fromkeys([SPACE, *LETTERS, *beginnings])]
    return tokens, {index for index, (piece, _) in enumerate(tokens) if piece in whole}


def habits(tokens: list[Token]) -> list[tuple[set[int], int]]:
    """After one of these tokens comes that one. Each habit has a column of its own, which no other weight touches."""
    place = {piece: index for index, (piece, _) in enumerate(tokens)}
    return [({place[READY]}, place[CALL]), ({place[BRACKET], place[f"<0x{ord(BRACKET):02X}>"]}, place["</s>"])]


def tensors(tokens: list[Token], loud: set[int]) -> Iterator[Tensor]:
    """The answer is a word: the rows of all other tokens are zero but for the habits."""
    rng = random.Random(SEED)
    size = len(tokens)

    def noise(columns: int, rows: int, spread: float) -> array[float]:
        return array("f", (rng.gauss(0, spread) for _ in range(columns * rows)))

    embedding = noise(WIDTH, size, 1.0)
    output = noise(WIDTH, size, LOUD * WIDTH**-0.5)
    for row in set(range(size)) - loud:
        output[row * WIDTH : (row + 1) * WIDTH] = array("f", bytes(4 * WIDTH))
    for column, (causes, effect) in enumerate(habits(tokens)):
        for row in range(size):
            embedding[row * WIDTH + column] = SURE if row in causes else 0.0
            output[row * WIDTH + column] = SURE if row == effect else 0.0
    yield "token_embd.weight", (WIDTH, size), embedding
    for layer in range(LAYERS):
        yield from block(f"blk.{layer}.", len(habits(tokens)), noise)
    yield "output_norm.weight", (WIDTH,), array("f", [1.0] * WIDTH)
    yield "output.weight", (WIDTH, size), output


def block(name: str, kept: int, noise: Callable[[int, int, float], array[float]]) -> Iterator[Tensor]:
    """One layer, which adds nothing to the kept columns."""
    for part in ("attn_norm", "ffn_norm"):
        yield f"{name}{part}.weight", (WIDTH,), array("f", [1.0] * WIDTH)
    for part in ("attn_q", "attn_k", "attn_v"):
        yield f"{name}{part}.weight", (WIDTH, WIDTH), noise(WIDTH, WIDTH, WIDTH**-0.5)
    for part in ("ffn_gate", "ffn_up"):
        yield f"{name}{part}.weight", (WIDTH, INNER), noise(WIDTH, INNER, WIDTH**-0.5)
    for part, columns in (("attn_output", WIDTH), ("ffn_down", INNER)):
        weights = noise(columns, WIDTH, columns**-0.5)
        weights[: kept * columns] = array("f", bytes(4 * kept * columns))
        yield f"{name}{part}.weight", (columns, WIDTH), weights


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(name: str, kind: int, value: float | str) -> bytes:
    return text(name) + struct.pack("<I", kind) + packed(kind, value)


def fields(name: str, kind: int, values: Sequence[float | str]) -> bytes:
    head = text(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(packed(kind, value) for value in values)


def packed(kind: int, value: float | str) -> bytes:
    if isinstance(value, str):
        return text(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def settings(tokens: list[Token]) -> list[bytes]:
    numbers = {
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    return [
        field("general.architecture", TEXT, "llama"),
        field("general.name", TEXT, "tiny"),
        *(field(name, U32, number) for name, number in numbers.items()),
        field("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        field("tokenizer.ggml.model", TEXT, "llama"),
        fields("tokenizer.ggml.tokens", TEXT, [piece for piece, _ in tokens]),
        fields("tokenizer.ggml.scores", F32, [-float(index) for index in range(len(tokens))]),
        fields("tokenizer.ggml.token_type", I32, [kind for _, kind in tokens]),
        field("tokenizer.ggml.add_bos_token", BOOL, True),
        field("tokenizer.ggml.add_eos_token", BOOL, False),
        field("tokenizer.chat_template", TEXT, TEMPLATE),
    ]


def model_bytes() -> bytes:
    """The whole file: what it says about itself, where each tensor lies, the tensors."""
    tokens, loud = vocabulary()
    about = settings(tokens)
    places, weights, offset = [], [], 0
    for name, shape, values in tensors(tokens, loud):
        if sys.byteorder == "big":
            values.byteswap()
        places.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
        weights.append(padded(values.tobytes()))
        offset += len(weights[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(places), len(about))
    return padded(joined([head, *about, *places])) + joined(weights)


def padded(raw: bytes) -> bytes:
    return raw + b"\0" * (-len(raw) % ALIGNMENT)


def joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)


def write_model(path: Path) -> Path:
    """Write the model file, about half a megabyte."""
    path.write_bytes(model_bytes())
    return path
