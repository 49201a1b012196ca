"""How `hangtight lab intent` shows what the analyser sees: JSON lines for programs, a time line for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hangtight.cli import INTERRUPTED
from hangtight.cli.printing import has_colours, put, put_lines, width
from hangtight.cli.process import OK
from hangtight.cli.settings import USAGE, fail
from hangtight.cli.sight import Sight, summed_up
from hangtight.cli.texts import Progress, Text, Texts, opened
from hangtight.core.time import Instant
from hangtight.intent.analyser import Analyser
from hangtight.intent.findings import LONGEST_UNIT_SHOWN, Act, Channel, Finding

ARRIVES = 64
"""Characters at a time: what would be kept is asked for right where the cut is."""
UNTIMED = Instant(0.0)
"""A file does not say when its text arrived."""


def intent_command(file: str | None, field: str | None, *, as_json: bool) -> int:
    """Show it, and return the exit code: what is found never changes it, a line that cannot be used does."""
    if not file:
        fail("lab intent needs a file:  hangtight lab intent answer.txt", USAGE)
    if field is not None and not field.strip():
        fail("--field needs the name of a field", USAGE)
    with opened(file) as (source, size):
        progress = Progress(file, size)
        texts = Texts(file, source, progress)
        try:
            (_tell if as_json else _show)(texts, field, progress)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            progress.clear()
    return USAGE if texts.skipped else OK


def _tell(texts: Texts, field: str | None, progress: Progress) -> None:
    for text in texts.each(field):
        for findings in _findings(text):
            lines = [as_line(text, finding) for finding in findings if finding.act is not Act.KEEP]
            if lines:
                progress.clear()
                put_lines(lines)


def _findings(text: Text) -> Iterator[list[Finding]]:
    """What is found, as soon as it is."""
    analyser = Analyser()
    for piece in text.pieces:
        analyser.feed(piece, Channel.ANSWER, UNTIMED)
        yield analyser.drain()
    analyser.close()
    yield analyser.drain()


def as_line(text: Text, finding: Finding) -> str:
    """One finding as an object in one line, with nothing in it that a terminal would obey."""
    told: dict[str, Any] = {
        "index": text.index,
        **({} if text.line is None else {"line": text.line}),
        "offset": finding.offset,
        "kind": finding.kind,
        "advice": finding.act.value,
        "rule": finding.rule.value,
        "period": finding.period,
        "copies": finding.copies,
        "start": finding.start,
        "channel": finding.channel.value,
        "unit": finding.unit[:LONGEST_UNIT_SHOWN],
        "confidence": finding.confidence,
    }
    line = json.dumps(told, ensure_ascii=False)
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _show(texts: Texts, field: str | None, progress: Progress) -> None:
    room, colours = width(), has_colours()
    count = length = held = ended = 0
    for text in texts.each(field):
        sight = _seen(text)
        name = texts.name if text.line is None else f"text {text.index} (line {text.line:,})"
        progress.clear()
        put_lines(sight.lines(name, room=room, colours=colours, whole=text.line is None))
        count, length = count + 1, length + sight.length
        held, ended = held + sight.is_held, ended + sight.is_cut
    if field is not None:
        put(summed_up(count, length, held, ended) + "\n")


def _seen(text: Text) -> Sight:
    """All of it up to the cut; what comes after that would not have come."""
    analyser, sight = Analyser(), Sight()
    for piece in text.pieces:
        for at in range(0, len(piece), ARRIVES):
            if sight.is_cut:
                break
            analyser.feed(piece[at : at + ARRIVES], Channel.ANSWER, UNTIMED)
            _look(analyser, sight, sight.length + min(at + ARRIVES, len(piece)))
        sight.length += len(piece)
    if not sight.is_cut:
        analyser.close()
        _look(analyser, sight, sight.length)
    return sight


def _look(analyser: Analyser, sight: Sight, read: int) -> None:
    """What was found in the last piece, and how it stands: a suspicion that is over is no finding."""
    for finding in analyser.drain():
        sight.take(finding)
        read = finding.offset
    if sight.is_cut:
        sight.useful = analyser.useful_length(Channel.ANSWER)
    else:
        sight.stands(read, analyser.advice())
