"""Healthy text that is made of what every Python has: for the kinds that a machine may have no files of."""

from __future__ import annotations

import ast
import base64
import binascii
import difflib
import dis
import io
import json
import random
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Named = Iterator[tuple[str, str]]
TEXTS = 12
"""Of each kind; each of about `SIZE` characters."""
SIZE = 150_000
CHARACTERS = range(0x20, 0x1FFFF)


def until(size: int, lines: Iterable[str]) -> str:
    found: list[str] = []
    for line in lines:
        found.append(line)
        size -= len(line)
        if size <= 0:
            break
    return "".join(found)


def logs() -> Named:
    for seed in range(TEXTS):
        yield f"log {seed}", until(SIZE, log(random.Random(seed)))


def log(chance: random.Random) -> Iterator[str]:
    """A service that mostly does the same: what tells its lines apart is time, ids, sizes and paths."""
    at = 1_760_000_000.0
    paths = ["/api/v1/users", "/api/v1/orders", "/health", "/metrics", "/static/app.js", "/login"]
    while True:
        at += chance.expovariate(2)
        path = chance.choices(paths, (20, 30, 40, 8, 20, 5))[0]
        status = chance.choices((200, 204, 304, 404, 500), (80, 5, 9, 4, 2))[0]
        took, size = chance.lognormvariate(3, 1), chance.randint(0, 90_000)
        request = f"{chance.getrandbits(64):016x}"
        yield f'{at:.3f} INFO  http: "GET {path} HTTP/1.1" {status} {size} {took:.1f}ms req={request}\n'
        if chance.random() < 0.2:
            slot, host = chance.randint(1, 16), chance.randint(1, 9)
            yield f"{at:.3f} DEBUG pool: checked out connection {slot} of 16 to 10.0.0.{host}\n"
        if status == 500:
            line = chance.randint(10, 400)
            yield f'{at:.3f} ERROR http: Traceback (most recent call last):\n  File "app.py", line {line}, in handle\n'


def characters(start: int) -> Iterator[tuple[int, str]]:
    for code in [*range(start, CHARACTERS.stop), *range(CHARACTERS.start, start)]:
        name = unicodedata.name(chr(code), "")
        if name:
            yield code, name


def starts() -> Iterator[int]:
    return iter(range(CHARACTERS.start, CHARACTERS.stop, (CHARACTERS.stop - CHARACTERS.start) // TEXTS))


def csv() -> Named:
    for start in starts():
        rows = (
            f'{code:04X},"{name}",{unicodedata.category(chr(code))},{unicodedata.combining(chr(code))},'
            f"{unicodedata.bidirectional(chr(code))},{len(name)},{code}\n"
            for code, name in characters(start)
        )
        yield f"characters from {start:x}", until(SIZE, rows)


def tables() -> Named:
    """Markdown tables of characters; every third has no header, and every second is padded."""
    for index, start in enumerate(starts()):
        width = 48 if index % 2 else 0
        head = f"| Code | {'Name':{width}} | Category | Width |\n|------|{'-' * (width + 2)}|----------|-------|\n"
        rows = (
            f"| {code:04X} | {name:{width}} | {unicodedata.category(chr(code))} | "
            f"{unicodedata.east_asian_width(chr(code))} |\n"
            for code, name in characters(start)
        )
        yield f"table from {start:x}", ("" if index % 3 == 0 else head) + until(SIZE, rows)


def trees(paths: Iterable[Path]) -> Named:
    """Programs as JSON, written as a model writes it: by two, by four, or in one line."""
    for index, path in enumerate(paths):
        tree = as_json(ast.parse(path.read_text(encoding="utf-8", errors="replace")))
        yield f"tree of {path.name}", json.dumps(tree, indent=(None, 2, 4)[index % 3])


def as_json(node: object) -> Any:
    if isinstance(node, ast.AST):
        return {"type": type(node).__name__, **{name: as_json(value) for name, value in ast.iter_fields(node)}}
    if isinstance(node, list):
        return [as_json(each) for each in node]
    return node if isinstance(node, str | int | float | bool | None) else repr(node)


def chinese() -> Named:
    """Sentences of frequent characters, with the punctuation that goes with them."""
    for seed in range(TEXTS):
        chance = random.Random(seed)
        known = [chr(0x4E00 + chance.randrange(0x51A5)) for _ in range(800)]
        kana = [chr(code) for code in range(0x3041, 0x3094)]
        yield f"sentences {seed}", until(SIZE // 2, sentences(chance, known + kana * (seed % 3) * 3))


def sentences(chance: random.Random, known: list[str]) -> Iterator[str]:
    weights = [1 / (rank + 1) for rank in range(len(known))]
    while True:
        length = chance.randint(4, 30)
        yield "".join(chance.choices(known, weights, k=length)) + chance.choice(",。。、!?\n")


def base64s(paths: Iterable[Path]) -> Named:
    """In lines of 76, or in one word, as data in a page is."""
    for index, path in enumerate(paths):
        raw = path.read_bytes()[:120_000]
        text = base64.encodebytes(raw) if index % 2 else base64.b64encode(raw)
        yield f"base64 of {path.name}", text.decode()


def dumps(paths: Iterable[Path]) -> Named:
    for index, path in enumerate(paths):
        raw = path.read_bytes()[:40_000]
        yield f"dump of {path.name}", plain_dump(raw) if index % 3 == 0 else dump(raw)


def plain_dump(raw: bytes) -> str:
    return binascii.hexlify(raw, " ").decode()


def dump(raw: bytes) -> str:
    """As `hexdump -C` prints it; a line that is the same as the one before is a star there, too."""
    found: list[str] = []
    before = b""
    for at in range(0, len(raw), 16):
        line = raw[at : at + 16]
        if line == before:
            if found[-1] != "*\n":
                found.append("*\n")
            continue
        before = line
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        found.append(f"{at:08x}  {line[:8].hex(' ')}  {line[8:].hex(' ')}  |{shown}|\n")
    return "".join(found)


def disassembled(paths: Iterable[Path]) -> Named:
    for path in paths:
        output = io.StringIO()
        dis.dis(compile(path.read_text(encoding="utf-8", errors="replace"), path.name, "exec"), file=output)
        yield f"disassembly of {path.name}", output.getvalue()


def diffs(paths: Iterable[Path]) -> Named:
    """What a change of every seventh line looks like."""
    for path in paths:
        old = path.read_text(encoding="utf-8", errors="replace").splitlines()
        new = [line.upper() if index % 7 == 3 else line for index, line in enumerate(old)]
        yield f"diff of {path.name}", "\n".join(difflib.unified_diff(old, new, "a", "b", lineterm=""))


def numbers() -> Named:
    """Multiplication tables, squares, a matrix, a walk: rows that are alike, of values that are not."""
    for seed in range(TEXTS):
        chance = random.Random(seed)
        products = [f"{seed + 2} x {n} = {(seed + 2) * n}\n" for n in range(1, 5_000)]
        matrix = [f"{chance.gauss(0, 1):9.4f}" + " \n"[n % 8 == 7] for n in range(5_000)]
        bits = [f"{chance.getrandbits(8):08b} " for _ in range(5_000)]
        steps = [f"{n:>6} {n * n % 97:>3} {n**3 % 1009:>5}\n" for n in range(seed, seed + 3_000)]
        for name, rows in (("products", products), ("matrix", matrix), ("bits", bits), ("steps", steps)):
            yield f"{name} {seed}", "".join(rows)


def emoji() -> Named:
    """A list with a sign before each line, and some words about it."""
    signs = [chr(code) for code in (*range(0x1F300, 0x1F64F), *range(0x2600, 0x26FF))]
    for seed in range(TEXTS):
        chance = random.Random(seed)
        yield f"signs {seed}", until(SIZE, signed(chance, signs))


def signed(chance: random.Random, signs: list[str]) -> Iterator[str]:
    while True:
        sign = chance.choice(signs)
        name = unicodedata.name(sign, "a sign").title()
        yield f"{chance.choice('-*')} {chance.choice(signs)} **{name}** {sign * chance.randint(1, 5)}\n"
