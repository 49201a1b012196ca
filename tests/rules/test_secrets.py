"""What may be somebody's secret is in no message: values of keys that nobody knows, passwords, queries."""

from __future__ import annotations

import json
import logging
import os
import pickle

import pytest

from hangtight.rules.errors import Problem, SettingsErrors, shown
from hangtight.rules.following import following
from tests.rules.kit import Place

SECRET = "s3cr3t"


def told(place: Place) -> str:
    """All that an error would show, to people and to programs."""
    with pytest.raises(SettingsErrors) as raised:
        place.load()
    error = raised.value
    return f"{error} {error!r} {error.found!r} {error.problems!r} {pickle.loads(pickle.dumps(error)).__dict__!r}"


@pytest.mark.parametrize(
    "text",
    [
        f"api_key: {SECRET}",
        f"jornal: postgresql://u:{SECRET}@h/d",
        f"models: {{m: {{apikey: {SECRET}}}}}",
        f"models: {{m: {{token: {{inner: {SECRET}}}}}}}",
        f"limits: {{password: [{SECRET}]}}",
        f"api_key: a\napi_key: {SECRET}",
        f"limits: {{<<: {SECRET}}}",
        f"modes: [{{key: {SECRET}}}]",
        f"models: {{m: {{proxy: {{token: {SECRET}}}}}}}",
        f"models: {{m: {{proxy: 'ftp://u:{SECRET}@h'}}}}",
        f"models: {{m: {{proxy: 'ftp://h/?a=1&token={SECRET}'}}}}",
        f"models: {{m: {{fallback: 'http://u:x/{SECRET}@h'}}}}",
        f"journal: 'mysql://u:{SECRET}@h/d'",
        f"journal: 'http://h/d?password={SECRET}'",
    ],
)
def test_a_secret_is_in_no_message(place: Place, text: str) -> None:
    place.write("hangtight.yaml", text)
    assert SECRET not in told(place)


def test_a_key_that_nobody_knows_is_told_without_its_value(place: Place) -> None:
    place.write("hangtight.yaml", f"\nlimits: {{idel: {SECRET}}}\n")
    (problem,) = place.problems()
    assert problem == Problem("hangtight.yaml", 2, "limits.idel", None, "a key that is known here; did you mean idle?")
    assert str(problem).startswith("hangtight.yaml:2: limits.idel cannot be used: it must be a key")


def test_a_key_that_is_known_and_set_to_nothing_still_says_so() -> None:
    assert str(Problem("f", 1, "learning.samples", None, "a number")).startswith("f:1: learning.samples = null cannot")


def test_the_warning_of_a_broken_edit_has_no_secret(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    path = place.write("hangtight.yaml", "limits: {idle: 1}")
    rules = following(config=None, environment={}, folder=place.folder, home=place.home)
    rules.settings(0)
    place.write("hangtight.yaml", f"api_key: {SECRET}\njournal: 'mysql://u:{SECRET}@h'")
    os.utime(path, (1, 1))
    with caplog.at_level(logging.WARNING, "hangtight.rules"):
        rules.settings(1)
        assert rules.settle()
    assert "api_key" in caplog.text
    assert SECRET not in caplog.text + str(rules.trouble)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@@/h@h:5/d?sslmode=x&a=b#c", "postgresql://u:***@h:5/d?sslmode=***&a=***#c"),
        ("//u:p@h", "//u:***@h"),
        ("http://h:80/a?b", "http://h:80/a?b"),
        ("a: b@c?d=e", "a: b@c?d=e"),
    ],
)
def test_addresses_are_shown_without_passwords_and_queries(text: str, masked: str) -> None:
    assert json.loads(shown(text)) == masked
    assert json.loads(shown([text])) == [masked]
