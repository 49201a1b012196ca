"""What a failed attempt means for the next one, whoever raised the error."""

from __future__ import annotations

from hangtight.core.attempts import Attempt, Fault, Unfit
from hangtight.errors import BackendError, GenerationTimeout, HangtightError, Looping

WORTH_ANOTHER = frozenset({404, 408, 409, 425, 429})
"""Refusals that are about this model or this moment; the others of the 400s are about the request."""
SERVER_FAILED = 500
OF_THE_SERVER = frozenset({"APIError", "TransportError", "ResponseError"})
"""The bases of what clients raise for connections that fail and for streams that report an error."""


def fault_of(error: BaseException) -> Fault | None:
    """None for an error that has nothing to do with a model."""
    if isinstance(error, Looping) and not error.may_fall_back:
        return Fault.REQUEST
    if isinstance(error, GenerationTimeout):
        return Fault.TIMEOUT
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int) and status > 0:
        return fault_of_status(status)
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, BackendError | OSError) or names & OF_THE_SERVER:
        return Fault.SERVER
    return None


def failure_of(error: BaseException) -> str:
    """What went wrong, in a word or two. Not the message: it may quote the model, or a key."""
    theirs = f" ({error.generation} at the gateway)" if isinstance(error, BackendError) and error.generation else ""
    if isinstance(error, BackendError) and error.code:
        return f"{error.code}{theirs}"
    status: object = getattr(error, "status", None) or getattr(error, "status_code", None)
    code: object = getattr(error, "returncode", None)
    told = f" {status}" if isinstance(status, int) else f" {code}" if isinstance(code, int) else ""
    return f"{type(error).__name__}{told}{theirs}"


def fault_of_status(status: int) -> Fault:
    return Fault.SERVER if status in WORTH_ANOTHER or status >= SERVER_FAILED else Fault.REQUEST


def attempt_of(error: BaseException, fault: Fault, *, model: str, elapsed: float, tokens: int = 0) -> Attempt:
    """What is told of it afterwards."""
    first, _, _ = str(error).partition("\n")
    limit = ""
    if isinstance(error, GenerationTimeout):
        limit, tokens = error.limit, error.tokens
    return Attempt(model, fault, first or type(error).__name__, elapsed, limit, tokens)


def tell(error: BaseException, told: tuple[Attempt, ...], unfit: tuple[Unfit, ...] = ()) -> None:
    """Write into an error of ours what was tried before it, and what was not tried because it would not have fitted."""
    if isinstance(error, HangtightError):
        error.attempts = told
        for attempt in told[:-1]:
            error.add_note(f"before that: {attempt}")
        for other in unfit:
            error.add_note(str(other))
