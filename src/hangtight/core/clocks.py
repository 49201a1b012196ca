"""From resolved limits to the lengths that one generation really runs on, with the allowances that are due to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from hangtight.core.limits import FIRST_TOKEN_SHARE, IDLE_SHARE, Limits, length
from hangtight.core.time import FOREVER, Seconds
from hangtight.core.timers import Clocks, TotalFrom

if TYPE_CHECKING:
    from hangtight.core.layers import Resolved, Situation, Value

TOKENS_PER_SECOND_NEARBY = 50.0
TOKENS_PER_SECOND_FAR = 500.0
PREFILL_SHARE_OF_TOTAL = 0.5  # a prompt may lengthen first_token to at most half of total
UNSTREAMED_FOREIGN = Seconds(600.0)


def clocks_of(limits: Limits, values: Mapping[str, Value], situation: Situation) -> Clocks:
    cold = _cold(limits, situation)
    first = length(limits.first_token)
    cold_first = Seconds(0.0)
    if _may_wait_longer(values["first_token"]):
        first = _with_prefill(first, length(limits.total), situation)
        cold_first = cold
    total_from = TotalFrom.CALL
    if not values["total"].in_person:
        if situation.warm is False:
            total_from = TotalFrom.READY
        elif cold:
            total_from = TotalFrom.FIRST_PROGRESS
    unlimited = not situation.generates and not values["total"].in_person
    return Clocks(
        total=FOREVER if unlimited else length(limits.total),
        total_from=total_from,
        extend_to=FOREVER if unlimited else length(limits.extend_to),
        ceiling=min(length(situation.remaining), length(situation.left)),
        cold=cold_first,
        late=cold,
        first_token=Seconds(first + cold_first),
        reasons=situation.reasons,
        idle=length(limits.idle),
        thinking=length(limits.thinking),
        queue=length(limits.queue),
        load=length(limits.load),
        unstreamed=_unstreamed(limits, values, situation),
        cancel=length(limits.cancel),
        heartbeat=length(limits.heartbeat),
    )


def _unstreamed(limits: Limits, values: Mapping[str, Value], situation: Situation) -> Seconds:
    """Files, pictures and embeddings have the time that the SDKs give them, unless somebody gave another."""
    usual = values["unstreamed"].is_default and not situation.generates
    return UNSTREAMED_FOREIGN if usual else length(limits.unstreamed)


def _cold(limits: Limits, situation: Situation) -> Seconds:
    """The allowance for a load that nobody can see; `cold=None` switches it off, like a model known to be warm."""
    return Seconds(float(limits.cold or 0)) if situation.warm is None else Seconds(0.0)


def _may_wait_longer(first: Value) -> bool:
    """A number that somebody gave in person is meant; one that only follows another is not."""
    return not first.in_person or first.follows


def _with_prefill(first: Seconds, total: Seconds, situation: Situation) -> Seconds:
    usual = TOKENS_PER_SECOND_NEARBY if situation.nearby else TOKENS_PER_SECOND_FAR
    reading = situation.prompt_tokens / (situation.pace or usual)
    return Seconds(max(first, min(first + reading, PREFILL_SHARE_OF_TOTAL * total)))


def cut_clocks(whole: Resolved, situation: Situation, remaining: float) -> Clocks:
    """The clocks of this resolution, which was made for a parent with endless time, when it has so much left.

    What `resolve` gives for that remaining time, for a fraction of its cost; a property test holds that they agree.
    """
    clocks, limits = whole.clocks, whole.limits
    shorter = limits.total is None or limits.total > remaining
    effective = remaining if shorter or limits.total is None else limits.total
    first = FOREVER if limits.first_token is None else Seconds(limits.first_token)
    first = Seconds(min(first, FIRST_TOKEN_SHARE * effective))
    unstreamed = FOREVER if limits.unstreamed is None else limits.unstreamed
    if _may_wait_longer(whole.values["first_token"]):
        first = Seconds(_with_prefill(first, Seconds(effective), situation) + clocks.cold)
    return Clocks(
        total=Seconds(remaining) if shorter else clocks.total,
        total_from=TotalFrom.CALL if shorter else clocks.total_from,
        extend_to=Seconds(min(max(effective, clocks.extend_to), remaining)),
        ceiling=Seconds(min(clocks.ceiling, remaining)),
        cold=clocks.cold,
        late=clocks.late,
        first_token=first,
        reasons=clocks.reasons,
        idle=Seconds(min(clocks.idle, IDLE_SHARE * effective)),
        thinking=Seconds(min(clocks.thinking, remaining)),
        queue=Seconds(min(clocks.queue, remaining)),
        load=Seconds(min(clocks.load, remaining)),
        unstreamed=Seconds(remaining) if unstreamed > remaining else clocks.unstreamed,
        cancel=clocks.cancel,
        heartbeat=clocks.heartbeat,
    )


def capped(clocks: Clocks, most: float) -> Clocks:
    """The same where nothing is waited for longer before the first token, allowances included."""
    first = clocks.thinking if clocks.reasons else clocks.first_token
    if first <= most and clocks.load <= most:
        return clocks
    load = Seconds(min(clocks.load, most))
    if first <= most:
        return replace(clocks, load=load)
    plain = most if clocks.reasons else clocks.first_token - clocks.cold
    cold = Seconds(max(0.0, most - plain))
    return replace(clocks, load=load, first_token=Seconds(most), cold=cold, reasons=False)
