"""The parts of an answer where an API gives each a place of its own: reasoning, text and a call, in a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

from hangtight.testing.lab.words import Token


@dataclass
class Block:
    """One part of an answer, as far as it was said."""

    index: int
    kind: Literal["reasoning", "answer", "tool"]
    pieces: list[str] = field(default_factory=list)
    open: bool = True

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Step:
    """What one token does: it ends blocks, and continues one that may be new."""

    ended: list[Block]
    block: Block
    began: bool


class Blocks:
    """All parts of one answer. A streamed answer and an unstreamed one have the same, made token by token."""

    def __init__(self) -> None:
        self.all: list[Block] = []

    @classmethod
    def of(cls, said: Iterable[Token]) -> Self:
        """The parts of an answer that is over."""
        blocks = cls()
        for token in said:
            blocks.take(token)
        blocks.end()
        return blocks

    def take(self, token: Token) -> Step:
        # a call stays open when something else comes in between: half of its JSON would be of no use
        ended = self._close([block for block in self._open() if block.kind not in (token.kind, "tool")])
        block = next((block for block in self._open() if block.kind == token.kind), None)
        began = block is None
        if block is None:
            block = Block(len(self.all), token.kind)
            self.all.append(block)
        if token.text:
            block.pieces.append(token.text)
        return Step(ended, block, began)

    def end(self) -> list[Block]:
        """Close what is still open; returns it."""
        return self._close(self._open())

    def count(self, kind: str) -> int:
        """How many tokens of this kind there were."""
        return sum(len(block.pieces) for block in self.all if block.kind == kind)

    def _open(self) -> list[Block]:
        return [block for block in self.all if block.open]

    def _close(self, blocks: list[Block]) -> list[Block]:
        for block in blocks:
            block.open = False
        return blocks
