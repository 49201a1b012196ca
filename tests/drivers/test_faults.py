"""What went wrong, in the word or two that stand in the journal."""

from __future__ import annotations

import pytest

from hangtight.drivers.faults import failure_of
from hangtight.errors import BackendError, Truncated


def error_of(kind: type[BackendError], **told: object) -> BackendError:
    error = kind("the words of a server")
    error.__dict__.update(told)
    return error


class Foreign(Exception):
    """As clients raise them: its code is a word of the server."""

    code = "the words of a server"
    status_code = 400


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (error_of(BackendError, status=503, code="circuit_open"), "circuit_open"),
        (error_of(BackendError, status=503), "BackendError 503"),
        (error_of(BackendError, returncode=-9), "BackendError -9"),
        (error_of(Truncated), "Truncated"),
        (ConnectionResetError("the words of a server"), "ConnectionResetError"),
        (Foreign(), "Foreign 400"),
    ],
)
def test_a_failure_is_told_by_our_own_word_for_it_else_by_type_and_number(error: Exception, told: str) -> None:
    assert failure_of(error) == told
