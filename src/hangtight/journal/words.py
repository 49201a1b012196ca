"""What the journal knows, in words: the receipt, what was armed, each decision, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hangtight.core.time import counted, plain, spoken
from hangtight.core.words import USUAL_TIMEOUT, at_work, seconds
from hangtight.journal.entries import Kind

if TYPE_CHECKING:
    from hangtight.journal.reading import Decision, Row

ALWAYS = ("first_token", "idle", "total")
DEFAULT = "default"
UNKNOWN_LIMITS = "nothing is known of its limits"
UNUSED = ("extend_to", "clocks")


# -- the product in one line ------------------------------------------------------------------------------------------


class Saved(Protocol):
    """What a `Receipt` says, whoever has counted it."""

    @property
    def answers(self) -> int: ...
    @property
    def would_have_died(self) -> int: ...
    @property
    def hangs(self) -> int: ...
    @property
    def hang_seconds(self) -> float: ...


def receipt_line(receipt: Saved, period: str, scale: float = 1.0) -> str:
    """`Today: 214 answers, 19 of which a 30 s timeout would have killed; 3 hangs ended after 45 s.`

    Where one second stands for `scale` of a real machine, what is told are those.
    """
    period += "" if scale == 1.0 else ", in the time of a real machine"
    killed = f"a {USUAL_TIMEOUT:.0f} s timeout would have killed"
    died = receipt.would_have_died
    line = f"{period}: {receipt.answers:,} answer{'' if receipt.answers == 1 else 's'}"
    if died and receipt.answers == 1:
        line += f", which {killed}"
    elif receipt.answers:
        line += f", {f'{died:,}' if died else 'none'} of which {killed}"
    if receipt.hangs:
        after = seconds(scale * receipt.hang_seconds / receipt.hangs)
        line += f"; {receipt.hangs:,} hang{'' if receipt.hangs == 1 else 's'} ended after {after}"
        line += " on average" if receipt.hangs > 1 else ""
    return f"{line}."


# -- what was armed ---------------------------------------------------------------------------------------------------


def armed(limits: Any) -> str:
    """The three limits with their allowances, and whatever else somebody set."""
    if not isinstance(limits, dict):
        return UNKNOWN_LIMITS
    clocks = limits.get("clocks")
    clocks = clocks if isinstance(clocks, dict) else {}
    told = []
    for name, said in limits.items():
        if name in UNUSED or not isinstance(said, dict):
            continue
        source = str(said.get("source", ""))
        if name in ALWAYS or source != DEFAULT:
            told.append(f"{name} {_number(said.get('value'))} ({source}){_allowed(name, said.get('value'), clocks)}")
    return ", ".join(told) or UNKNOWN_LIMITS


def _allowed(name: str, value: Any, clocks: Mapping[str, Any]) -> str:
    # `cold` is left out where it is the limit of that name; `late` is never left out and is as long.
    first, cold = clocks.get("first_token"), clocks.get("cold") or clocks.get("late") or 0.0
    if name != "first_token" or not _is_number(first) or not _is_number(value) or not _is_number(cold):
        return ""
    reading = first - value - cold
    load = f" + {plain(cold)} for a load" if cold else ""
    return load + (f" + {plain(round(reading, 1))} for the prompt" if reading > 0 else "")


def _number(value: Any) -> str:
    return plain(value) if _is_number(value) else "none"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- decisions --------------------------------------------------------------------------------------------------------


def in_words(decision: Decision) -> str:
    """One decision; of a kind that a later version writes, its name and nothing else."""
    tell = WORDS.get(decision.kind)
    if tell is None:
        return decision.kind
    told = decision.told
    return f"{decision.kind}{tell(told)}" if told is not None else decision.kind


def _length(before: str, after: str = "") -> Callable[[Any], str]:
    return lambda told: f"{before}{spoken(told)}{after}" if _is_number(told) else ""


def _heartbeat(told: Any) -> str:
    if not isinstance(told, dict):
        return ""
    now = told
    parts = [str(now.get("phase", ""))]
    if isinstance(doing := now.get("doing"), str):
        parts.append(at_work(doing))
    if _is_number(now.get("tokens")) and now["tokens"]:
        parts.append(counted(int(now["tokens"])))
    if now.get("in_contact") and _is_number(now.get("silence")):
        parts.append(f"pings, no content for {spoken(now['silence'])}")
    if now.get("nearest") and _is_number(now.get("rings_in")):
        parts.append(f"{now['nearest']} rings in {spoken(now['rings_in'])}")
    return f": {', '.join(filter(None, parts))}"


def _rang(told: Any) -> str:
    if not isinstance(told, dict) or not _is_number(told.get("waited")):
        return ""
    return f": {told.get('limit')}, after {spoken(told['waited'])}"


def _moved(told: Any) -> str:
    if not isinstance(told, dict) or not _is_number(told.get("before")) or not _is_number(told.get("after")):
        return ""
    return f": deadline {plain(told['before'])} s -> {plain(told['after'])} s, {told.get('why')}"


def _fallback(told: Any) -> str:
    """Which model failed, and how; what a server said is left out, for it may quote the model."""
    if not isinstance(told, dict):
        return ""
    after = f" after {spoken(told['elapsed'])}" if _is_number(told.get("elapsed")) else ""
    why = told.get("limit") or told.get("fault") or "unknown"
    return f": in place of {told.get('model')}, which failed{after} ({why})"


def _queued(told: Any) -> str:
    return f": number {told}" if isinstance(told, int) else ""


def _plainly(told: Any) -> str:
    return f": {told}" if isinstance(told, str | int | float) else ""


WORDS: Mapping[str, Callable[[Any], str]] = {
    Kind.QUEUED: _queued,
    Kind.ADMITTED: _length(" after "),
    Kind.LOADING: _plainly,
    Kind.READY: _plainly,
    Kind.HEARTBEAT: _heartbeat,
    Kind.EXTENDED: _moved,
    Kind.SHORTENED: _moved,
    Kind.SUSPECTED: _plainly,
    Kind.LOOPED: _plainly,
    Kind.LET_GO_ON: _plainly,
    Kind.RANG: _rang,
    Kind.CANCEL_SENT: _plainly,
    Kind.CANCEL_AGAIN: _plainly,
    Kind.CANCEL_CONFIRMED: _length(" after "),
    Kind.LEFT_RUNNING: _plainly,
    Kind.EXCUSED: _length(": our own alarm came ", " late"),
    Kind.FALLBACK: _fallback,
    Kind.PAUSED: _plainly,
    Kind.RESUMED: _plainly,
    Kind.WRAP_UP: _plainly,
    Kind.REMARK: _plainly,
}


def verdict(row: Row) -> str:
    """How it ended, in one line."""
    tokens = row.tokens if row.counted_answer is None else row.counted_answer
    broke = f": {row.broken_limit}" if row.broken_limit else ""
    waited = f" after {spoken(row.waited)} ({row.source})" if row.broken_limit and row.waited is not None else ""
    parts = [f"{row.outcome}{broke}{waited}", counted(tokens)]
    if row.first_token is not None:
        parts.append(f"first token after {spoken(row.first_token)}")
    if row.longest_gap is not None:
        parts.append(f"longest gap {spoken(row.longest_gap)}")
    if row.error:
        parts.append(row.error)
    return ", ".join(parts)
