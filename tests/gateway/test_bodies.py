"""The model that a request is for is found wherever it stands, and looking for it keeps nobody busy."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hangtight.gateway.bodies import (
    FORM_SEARCHED,
    MOST_CONTAINERS,
    MOST_PARTS,
    SMALL,
    is_too_fine,
    model_of,
    parsed,
)

FORM = "multipart/form-data; boundary=b"
JSON = "application/json"


def form(*parts: tuple[str, bytes]) -> bytes:
    said = b"".join(b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (n.encode(), d) for n, d in parts)
    return said + b"--b--\r\n"


def found(body: bytes, kind: str = JSON, query: bytes = b"") -> str:
    return model_of(parsed(body, kind), body, kind, query)


@given(some.text(min_size=1, max_size=20), some.sampled_from(["model", "name"]))
def test_the_model_of_a_json_body_is_found(name: str, key: str) -> None:
    assert found(json.dumps({"a": [1], key: name}).encode()) == name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b' \n\t{"model": "m"}', "m"),
        (b'{"model": "m", "x": NaN, "y": 1e999}', "m"),
        (b'{"model": "m", "name": "other"}', "m"),
        (b'{"model": 5}', ""),
        (b'{"model": null}', ""),
        (b"{}", ""),
        (b'["model", "m"]', ""),
        (b'"model"', ""),
        (b'{"model": "m"', ""),
        (b"", ""),
        (b"\xff\xfe", ""),
        (b'{"a": ' * 100_000, ""),
        (b'{"a":' + b"[" * 100_000, ""),
    ],
)
def test_what_is_no_object_names_no_model(body: bytes, name: str) -> None:
    assert found(body) == name


def holding(part: bytes, count: int) -> bytes:
    return b'{"messages": [' + b",".join([part] * count) + b"]}"


@pytest.mark.parametrize(
    ("body", "is_fine"),
    [
        (holding(b"{}", MOST_CONTAINERS + 1), True),
        (holding(b"[]", MOST_CONTAINERS + 1), True),
        (holding(b"1", MOST_PARTS + 2), True),
        (holding(b"{}", MOST_CONTAINERS - 10), False),
        (holding(b"123", MOST_PARTS - 10), False),
        (holding(b"{}", SMALL // 3 - 10), False),
        (holding(b'"' + b"A" * 32 * SMALL + b'"', 1), False),
    ],
    ids=["objects", "lists", "numbers", "just so many objects", "just so many numbers", "small", "an image"],
)
def test_what_would_become_too_many_objects_is_not_read(body: bytes, is_fine: bool) -> None:
    assert is_too_fine(body) is is_fine


@given(some.binary(max_size=300))
def test_no_bytes_at_all_are_an_error(body: bytes) -> None:
    for kind in (JSON, FORM, ""):
        assert isinstance(found(body, kind, body), str)


@pytest.mark.parametrize("quotes", ['"model"', "model"])
@pytest.mark.parametrize("behind", [False, True])
def test_the_model_of_a_form_is_found_before_a_file_and_behind_it(quotes: str, behind: bool) -> None:
    parts = [(f"name={quotes}", b"whisper-1"), ('name="file"; filename="a.wav"', bytes(range(256)) * 9000)]
    assert len(parts[1][1]) > 2 * FORM_SEARCHED
    assert found(form(*(reversed(parts) if behind else parts)), FORM) == "whisper-1"


def test_lines_between_the_name_of_a_part_and_its_text_are_passed_over() -> None:
    assert found(form(('name="model"\r\nContent-Type: text/plain\r\nX-A: b', b"whisper-1")), FORM) == "whisper-1"


@pytest.mark.parametrize(
    "part",
    [
        ('name="file"; filename="model"', b"this is what stands in the file"),
        ('name="submodel"', b"x"),
        ('name="model"', b""),
        ('name="models"', b"x"),
        ('name="model"', b"x" * 513),
    ],
)
def test_what_is_not_the_name_of_a_model_is_not_taken_for_it(part: tuple[str, bytes]) -> None:
    assert found(form(part), FORM) == ""


def test_a_get_names_its_model_in_its_query() -> None:
    assert found(b"", "", b"x=1&model=org%2Fsmall&model=b") == "org/small"
    assert found(b"", "", b"x=1") == ""


@pytest.mark.parametrize(
    "line", [b'; name="model"\r\n', b"; name=model\r\nx", b"\r\n", b"a: b\r\n", b'; name="model"\r\n' + b"a\r\n" * 8]
)
def test_a_form_made_to_keep_us_busy_does_not(line: bytes) -> None:
    """By comparison: four times as much takes about four times as long, and not sixteen."""

    def cost(size: int) -> float:
        body = line * (size // len(line))
        took = []
        for _ in range(3):
            began = time.process_time()
            found(body, FORM)
            took.append(time.process_time() - began)
        return min(took)

    assert cost(400_000) < 10 * max(cost(100_000), 0.001)


def test_a_name_that_is_no_utf_8_is_still_a_name() -> None:
    name: Any = found(form(('name="model"', b"\xff\xfe")), FORM)
    assert name == "��"
