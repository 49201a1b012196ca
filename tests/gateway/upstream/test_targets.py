"""A model is found by each of its names, at the server that the settings name, or that was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.dialects.chat import Shape
from hangtight.drivers.servers import Server
from hangtight.drivers.standing import settings
from hangtight.gateway.upstream.targets import Target, Targets, place_of

SAID = """
models:
  qwen3-coder: {proxy: "http://127.0.0.1:8080/", aliases: [coder, gpt], useModelName: "org/coder", key: secret}
  no-server: {limits: {idle: 3}}
"""
ANY = 'models: {"org/*": {proxy: "http://10.0.0.2/v1"}, "*": {proxy: "http://10.0.0.1"}}'


def server(shape: Shape, *models: str, url: str = "http://127.0.0.1:11434") -> Server:
    more: dict[str, Any] = {"url": url, "shape": shape, "models": models}
    return Server(**more)


@pytest.fixture
def said(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = tmp_path / "hangtight.yaml"
    file.write_text(request.param)
    hangtight.configure(file, "off")


def targets(*found: Server) -> Targets:
    return Targets(settings(), found)


# -- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("http://h:1", "/v1/chat/completions", "/v1/chat/completions"),
        ("http://h:1/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("http://h:1/v1/", "/v1/chat/completions", "/v1/chat/completions"),
        ("http://h:1/api/v1", "/v1/messages", "/api/v1/messages"),
        ("http://h:1/openai", "/v1/models", "/openai/v1/models"),
        ("http://h:1/v1", "/api/chat", "/v1/api/chat"),
        ("http://h:1/v1", "/v1x", "/v1/v1x"),
    ],
)
def test_a_version_that_stands_in_both_is_said_once(base: str, path: str, url: str) -> None:
    assert Target("m", "m", base.rstrip("/")).address(path, b"").target == url


@pytest.mark.parametrize(
    "bases",
    [
        ("http://127.0.0.1:8000", "http://LocalHost:8000/", "http://[::1]:8000/v1", "http://localhost.:8000/v1/"),
        ("http://gpu", "http://GPU:80/v1"),
        ("https://gpu/llm/v1", "https://gpu:443/llm"),
    ],
)
def test_a_server_has_one_name_however_its_address_is_written(bases: tuple[str, ...]) -> None:
    assert len({place_of(base) for base in bases}) == 1


def test_other_servers_have_other_names() -> None:
    others = ("http://gpu", "https://gpu", "http://gpu:81", "http://gpu/a", "http://gpu/b", "http://127.0.0.2")
    assert len({place_of(base) for base in others}) == len(others)


def test_an_address_has_the_query_as_it_came() -> None:
    address = Target("m", "m", "https://h/p").address("/v1/x", b"a=%20&b=\xe9")
    assert (address.tls, address.host, address.port, address.target) == (True, "h", 443, "/p/v1/x?a=%20&b=\xe9")


def test_nobody_sees_a_key_by_looking_at_a_target() -> None:
    target = Target("m", "m", "http://h:1", "secret", (("authorization", "hidden"),))
    assert "secret" not in repr(target)
    assert "hidden" not in repr(target)
    assert target.place == "h:1"


# -- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [SAID], indirect=True)
@pytest.mark.parametrize("name", ["qwen3-coder", "coder", "gpt"])
def test_a_model_is_known_by_each_of_its_names(said: None, name: str) -> None:
    found = targets().find(name)
    assert found == Target("qwen3-coder", "org/coder", "http://127.0.0.1:8080", "secret", (), found.connect)  # type: ignore[union-attr]


@pytest.mark.parametrize("said", [SAID], indirect=True)
def test_a_model_without_a_server_is_asked_where_it_was_found_and_is_unknown_else(said: None) -> None:
    assert targets().find("no-server") is None
    assert targets().find("nobody") is None
    found = targets(server(Shape.OLLAMA, "no-server", "other")).find("no-server")
    assert found is not None
    assert (found.base, found.upstream_name) == ("http://127.0.0.1:11434", "no-server")


@pytest.mark.parametrize("said", [ANY], indirect=True)
def test_a_pattern_is_a_server_for_all_that_it_fits(said: None) -> None:
    org, any_other = targets().find("org/x"), targets().find("x")
    assert org is not None
    assert any_other is not None
    assert (org.name, org.base) == ("org/x", "http://10.0.0.2/v1")
    assert (any_other.name, any_other.base) == ("x", "http://10.0.0.1")
    assert targets().only is None


@pytest.mark.parametrize("said", ["limits: {idle: 9}"], indirect=True)
def test_without_settings_the_models_are_those_of_the_servers_that_were_found_the_first_before_the_second(
    said: None,
) -> None:
    both = targets(
        server(Shape.OLLAMA, "qwen3:latest", "a"), server(Shape.OPENAI, "a", "b", url="http://127.0.0.1:8080/v1")
    )
    assert both.names == ("qwen3:latest", "a", "b")
    assert not both.are_written
    bases = {name: target.base for name in ("qwen3", "qwen3:latest", "a", "b") if (target := both.find(name))}
    assert bases == {
        "qwen3": "http://127.0.0.1:11434", "qwen3:latest": "http://127.0.0.1:11434",
        "a": "http://127.0.0.1:11434", "b": "http://127.0.0.1:8080",
    }  # fmt: skip
    assert both.find("qwen3") == both.find("qwen3:latest")


@pytest.mark.parametrize("said", ["limits: {idle: 9}"], indirect=True)
def test_who_names_no_model_gets_the_only_one(said: None) -> None:
    alone = targets(server(Shape.OPENAI, "a")).only
    assert alone is not None
    assert alone.name == "a"
    assert targets(server(Shape.OPENAI, "a", "b")).only is None
    assert targets().only is None
