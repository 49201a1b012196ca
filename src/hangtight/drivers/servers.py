"""Where a model can be asked: the server that was named, or the one that listens at a usual place on this machine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from hangtight.dialects.chat import Shape, complaint
from hangtight.drivers.http11 import Address, ConnectFailed, HTTPError, request
from hangtight.errors import BackendError, SettingsError

PORTS: Mapping[int, str] = {
    11434: "Ollama",
    8080: "llama.cpp, llamafile, llama-swap, LocalAI",
    8000: "vLLM, transformers serve",
    1234: "LM Studio",
    8383: "hangtight",
    8399: "hangtight lab",
    5001: "KoboldCpp",
    1337: "Jan",
    4891: "GPT4All",
}
"""The usual ports on loopback, in the order in which they win."""

OLLAMA_PORT = 11434
HIGHEST_PORT = 65535
CONNECT, LOOK = 0.5, 2.0  # seconds that a port of this machine has to connect, and to show what it is
CONNECT_NAMED, LOOK_NAMED = 10.0, 10.0  # the same for a server that somebody named
LIST_LIMIT = 4 * 1024 * 1024
MODELS_SHOWN = 12

OK, UNAUTHORIZED, FORBIDDEN, UNAVAILABLE = 200, 401, 403, 503
VERSIONED = re.compile(r"/v[0-9]+$")
NOTHING_THERE = "nothing there"
"""Why there is no server where nobody listens."""
STANDS_IN = "served_by"
"""In an answer to /api/ps: a gateway gives it in Ollama's place, and does not know all that is in memory."""
ANOTHER = (
    'url="http://HOST:PORT", `hangtight ask --url http://HOST:PORT`, or in hangtight.yaml: '
    'models: {"*": {proxy: "http://HOST:PORT"}}'
)
PASSWORD = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be asked. `url` is what an SDK calls its base: with /v1 where it speaks OpenAI's API."""

    url: str
    shape: Shape
    models: tuple[str, ...] = ()
    key: str = field(default="", repr=False)
    is_loading: bool = field(default=False, compare=False)
    """It says that it is not ready yet, and no names."""

    @property
    def chat_url(self) -> str:
        return self.url + ("/api/chat" if self.shape is Shape.OLLAMA else "/chat/completions")

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def is_nearby(self) -> bool:
        return is_nearby(Address.parse(self.url).host)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look. A named one is asked whatever it shows of itself; a port must show that it is a model server."""

    url: str
    source: str
    named: bool = True
    key: str = field(default="", repr=False)


def is_nearby(host: str) -> bool:
    """This machine or its own network: a loopback, private or link-local address, or a name that only works there."""
    with suppress(ValueError):
        address = ip_address(host)
        return address.is_loopback or address.is_private or address.is_link_local
    return "." not in host or host.endswith((".local", ".localhost"))


def places(url: str | None, environment: Mapping[str, str]) -> Iterator[Place]:
    """Where to look, in order. A key is only for the server that was named with it, never for one that was found."""
    seen: set[str] = set()
    for place in _all_places(url, environment):
        if place.url not in seen:
            seen.add(place.url)
            yield place


def _all_places(url: str | None, environment: Mapping[str, str]) -> Iterator[Place]:
    key = environment.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingsError("$OPENAI_API_KEY", "(not shown)", "made of plain characters")
    if url is not None:
        yield Place(_base(url, "--url"), "--url", key=key)
        return
    if host := environment.get("OLLAMA_HOST", "").strip():
        yield Place(_base(ollama_url(host), "$OLLAMA_HOST"), "$OLLAMA_HOST")
    if base := environment.get("OPENAI_BASE_URL", "").strip():
        yield Place(_base(base, "$OPENAI_BASE_URL"), "$OPENAI_BASE_URL", key=key)
    for port, owners in PORTS.items():
        yield Place(f"http://127.0.0.1:{port}", owners, named=False)


def ollama_url(host: str) -> str:
    """What $OLLAMA_HOST means, read as Ollama reads it; an address to listen on everywhere is asked on loopback."""
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "http", host
    usual = {"http": 80, "https": 443}.get(scheme, OLLAMA_PORT) if found else OLLAMA_PORT
    name, slash, path = rest.partition("/")
    bracketed = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::([^:]*))?", name)
    literal = bracketed[1] if bracketed else f"[{name}]"
    port = bracketed[2] if bracketed else None
    number = int(port) if port and port.isdecimal() and int(port) <= HIGHEST_PORT else usual
    if literal in ("", "0.0.0.0", "[::]"):
        literal = "127.0.0.1"
    return f"{scheme}://{literal}:{number}{slash}{path}"


def _base(url: str, source: str) -> str:
    """A URL as somebody writes it, checked and without what is added to it anyway."""
    base = url.strip()
    base = (base if "://" in base else f"http://{base}").rstrip("/").removesuffix("/chat/completions")
    try:
        Address.parse(base)
    except ValueError as wrong:
        shown = PASSWORD.sub("//...@", url)
        raise SettingsError(source, shown, f"like http://127.0.0.1:8080, or end in /v1 ({wrong})") from wrong
    return base


async def find_server(url: str | None, environment: Mapping[str, str]) -> Server:
    """The named server, or the first in the order that shows itself; all are asked at once.

    Raises BackendError that lists where it looked, and SettingsError for an address that cannot be meant.
    """
    there = list(places(url, environment))
    looks = [asyncio.create_task(seen_at(place)) for place in there]
    try:
        seen = []
        for place, look in zip(there, looks, strict=True):
            found = await look
            if isinstance(found, Server):
                return found
            seen.append((place, found))
    finally:
        for look in looks:
            look.cancel()
        await asyncio.wait(looks)
    raise BackendError(_nowhere(seen))


async def find_servers(ports: Mapping[int, str] = PORTS) -> list[tuple[Place, Server | str]]:
    """Each usual place on this machine, with the server that is there, or in a few words why there is none."""
    there = [Place(f"http://127.0.0.1:{port}", owners, named=False) for port, owners in ports.items()]
    return list(zip(there, await asyncio.gather(*map(seen_at, there)), strict=True))


def _nowhere(seen: list[tuple[Place, str]]) -> str:
    if len(seen) == 1:
        [(place, why)] = seen
        return f"no model server at {place.url}: {why}\nto ask another:  {ANOTHER}"
    lines = [f"  {place.url:<24} {why}  ({place.source})" for place, why in seen]
    return "\n".join(
        [
            "no model server found; looked at",
            *lines,
            "start one (ollama serve, llama-server -m MODEL.gguf), or say where one is:",
            f"  {ANOTHER}",
        ]
    )


async def seen_at(place: Place) -> Server | str:
    """The server at a place, or in a few words why there is none."""
    connect, patience = (CONNECT_NAMED, LOOK_NAMED) if place.named else (CONNECT, LOOK)
    try:
        async with asyncio.timeout(patience):
            return await _recognise(place, connect)
    except TimeoutError:
        # A busy server may have no time for this question; the one that matters has clocks of its own.
        return _taken_at_its_word(place) if place.named else f"connects, but does not answer within {patience:g} s"
    except ConnectFailed as failed:
        return NOTHING_THERE if isinstance(failed.__cause__, ConnectionRefusedError) else str(failed)
    except HTTPError as broken:
        return _taken_at_its_word(place) if place.named else str(broken)


async def _recognise(place: Place, connect: float) -> Server | str:
    versioned = VERSIONED.search(place.url) is not None
    if not versioned:
        status, tags = await get_json(f"{place.url}/api/tags", connect)
        if status == OK and (names := _ollama_names(tags)) is not None:
            return Server(place.url, Shape.OLLAMA, names)
    why = "answers, but not like Ollama or OpenAI"
    for base in _openai_bases(place, versioned):
        server = Server(base, Shape.OPENAI, key=place.key)
        status, listed = await get_json(f"{base}/models", connect, server.headers)
        if status == OK and (names := _openai_names(listed)) is not None:
            return Server(base, Shape.OPENAI, names, place.key)
        if is_loading(status, json.dumps(listed)):
            return replace(server, is_loading=True)
        if status in (UNAUTHORIZED, FORBIDDEN):
            why = "asks for a key: give it as $OPENAI_API_KEY, with --url"
    return _taken_at_its_word(place) if place.named else why


def _openai_bases(place: Place, versioned: bool) -> list[str]:
    if versioned:
        return [place.url]
    return [f"{place.url}/v1", place.url] if place.named else [f"{place.url}/v1"]


def _taken_at_its_word(place: Place) -> Server:
    """Somebody said that a server is there: some list no models, and one that fails can say so itself."""
    base = place.url if VERSIONED.search(place.url) else f"{place.url}/v1"
    return Server(base, Shape.OPENAI, key=place.key)


async def get_json(url: str, connect: float, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and body of a GET; a body that is no JSON is None. Has no limit but the one for connecting."""
    async with request("GET", url, headers=headers, connect_timeout=connect) as response:
        body = await response.read(LIST_LIMIT)
    try:
        return response.status, json.loads(body)
    except (ValueError, RecursionError):
        return response.status, None


def is_loading(status: int, body: str) -> bool:
    """llama.cpp's way to say that the model is still being loaded."""
    return status == UNAVAILABLE and "loading" in complaint(body).lower()


def _ollama_names(tags: Any) -> tuple[str, ...] | None:
    """llama.cpp answers this too, with OpenAI's list beside Ollama's, and without Ollama's way to chat."""
    if not isinstance(tags, dict) or "object" in tags or "data" in tags:
        return None
    return names_of(tags.get("models"), "name", "model")


def _openai_names(listed: Any) -> tuple[str, ...] | None:
    return names_of(listed.get("data") if isinstance(listed, dict) else listed, "id")


def names_of(entries: Any, *keys: str) -> tuple[str, ...] | None:
    """The names in a list of models; None where it is no such list."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    found = (next((entry[key] for key in keys if isinstance(entry.get(key), str)), "") for entry in entries)
    return tuple(filter(None, found))


async def choose_model(server: Server, wanted: str | None) -> str:
    """The model that was asked for, else the one in memory, else the first that can chat, by its name.

    Empty where a server of this machine lists none: it has one and knows which. Far away nothing is chosen for
    anybody among several: there it costs money.
    """
    if wanted:
        return wanted
    able = [name for name in server.models if "embed" not in name.lower()] or list(server.models)
    if server.shape is Shape.OLLAMA:
        able = [name for name in await _in_memory(server) if name in able] or able
        if not able:
            raise BackendError(f"{server.url} has no model yet\nto get one:  ollama pull qwen3:1.7b")
    if server.is_nearby:
        return able[0] if able else ""
    if len(able) == 1:
        return able[0]
    raise BackendError(f'which model?  model="NAME", or on the command line --model NAME{listed(server)}')


def listed(server: Server) -> str:
    """The models of a server as one more line; nothing where it lists none."""
    if not server.models:
        return ""
    more = len(server.models) - MODELS_SHOWN
    return f"\n{server.url} has: {', '.join(server.models[:MODELS_SHOWN])}{f' and {more} more' if more > 0 else ''}"


async def _in_memory(server: Server) -> tuple[str, ...]:
    with suppress(HTTPError, TimeoutError):
        async with asyncio.timeout(LOOK):
            status, resident = await get_json(f"{server.url}/api/ps", CONNECT)
            if status == OK and isinstance(resident, dict):
                return names_of(resident.get("models"), "name", "model") or ()
    return ()
