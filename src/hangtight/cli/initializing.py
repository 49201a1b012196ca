"""How `hangtight init` finds servers, writes the file, and tells what it did."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hangtight.cli.first_file import Found, Seen, first_file, fitted
from hangtight.cli.gateways import is_gateway
from hangtight.cli.printing import line_of, put, put_json
from hangtight.cli.process import FAILED, OK, say
from hangtight.cli.settings import USAGE, fail
from hangtight.cli.sizes import Sized, size_of
from hangtight.dialects.chat import Shape
from hangtight.drivers.http11 import Address, HTTPError
from hangtight.drivers.servers import (
    CONNECT_NAMED,
    LOOK_NAMED,
    NOTHING_THERE,
    UNAUTHORIZED,
    Place,
    Server,
    get_json,
    names_of,
    places,
    seen_at,
)
from hangtight.drivers.servers import OK as ANSWERED
from hangtight.errors import HangtightError
from hangtight.rules.running import GATEWAY_PORT

SHOWN = 6
OURS = f"http://127.0.0.1:{GATEWAY_PORT}"
USUAL_NAME = "hangtight.yaml"
NAMES = {Shape.OLLAMA: "Ollama", Shape.OPENAI: "a server with OpenAI's API"}
BY_ENVIRONMENT = "$OLLAMA_HOST"


def init_command(output: str, urls: tuple[str, ...], *, to_stdout: bool, as_json: bool) -> int:
    """Find, write and tell; returns the exit code."""
    if to_stdout and as_json:
        fail("--stdout prints the file and --json what was found: give one of them", USAGE)
    if not output.strip():
        fail("--output needs the name of a file", USAGE)
    path = Path(output)
    if not to_stdout and os.path.lexists(path):
        _there_already(path)
    try:
        seen = asyncio.run(survey(urls))
    except HangtightError as error:
        fail(str(error), USAGE)
    text = first_file(seen, Path(output).name)
    if to_stdout:
        put(text)
        return OK
    _write(path, text)
    if as_json:
        put_json({"file": str(path), **_object(seen)})
        return OK
    _tell(seen, path)
    return OK


def _there_already(path: Path) -> None:
    if path.is_dir():
        inside = shlex.quote(line_of(str(path / USUAL_NAME)))
        fail(
            f"{line_of(str(path.absolute()))} is a folder\nto write into it:  hangtight init --output {inside}", FAILED
        )
    more = "to write another one:  hangtight init --output FILE      or to see it: hangtight init --stdout"
    fail(f"{line_of(str(path.absolute()))} is there already, and is left as it is\n{more}", FAILED)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and never over another one, also where that came only now."""
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                with suppress(OSError):
                    path.unlink()
                raise
    except FileExistsError:
        _there_already(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        fail(f"{line_of(str(path))} cannot be written: {why}", FAILED)


async def survey(urls: tuple[str, ...]) -> Seen:
    """What is at these addresses, else on the usual ports of this machine. A gateway is not put behind itself."""
    there: list[Place] = []
    for url in urls:
        there += places(url, os.environ)
    if not urls:
        there = [each for each in places(None, os.environ) if _is_meant(each)]
    looking, ours = asyncio.gather(*map(_look, there)), [] if urls else [OURS]
    beside = [url for url in ours if await is_gateway(url)]
    looked = await looking
    servers = [(place, server) for place, server in zip(there, looked, strict=True) if isinstance(server, Server)]
    sizes = await asyncio.gather(*(_sizes(server) for _, server in servers))
    found = tuple(
        Found(server.url, _kind(place, server), _sized(server.models, told), server.key != "")
        for (place, server), told in zip(servers, sizes, strict=True)
    )
    pairs = zip(there, looked, strict=True)
    elsewhere = tuple((place.url, why) for place, why in pairs if isinstance(why, str) and _is_told(place, why))
    return Seen(found, elsewhere, tuple(beside))


async def _look(place: Place) -> Server | str:
    """The one that lists models, has none yet or loads; of a named one that fails at that we ask why."""
    found = await seen_at(place)
    if isinstance(found, str) or not place.named or found.models or found.is_loading or found.shape is Shape.OLLAMA:
        return found
    why = await _why_no_list(found)
    return f"answers, but lists no models: {why}" if why else found


async def _why_no_list(server: Server) -> str:
    """Empty where it does list them, and has none."""
    try:
        async with asyncio.timeout(LOOK_NAMED):
            status, listed = await get_json(f"{server.url}/models", CONNECT_NAMED, server.headers)
    except TimeoutError:
        return f"its list did not come within {LOOK_NAMED:g} s"
    except HTTPError as broken:
        return str(broken)
    if status == UNAUTHORIZED:
        key = "it refuses the key of $OPENAI_API_KEY" if server.key else "give its key as $OPENAI_API_KEY, with --url"
        return f"HTTP {status}: {key}"
    if status != ANSWERED:
        return f"HTTP {status}"
    entries = listed.get("data") if isinstance(listed, dict) else listed
    return "what came is no such list" if names_of(entries, "id") is None else ""


def _is_meant(place: Place) -> bool:
    """$OPENAI_BASE_URL is mostly our own gateway, or a service with hundreds of models: that one is named by --url."""
    if place.named:
        return place.source == BY_ENVIRONMENT
    return Address.parse(place.url).port != GATEWAY_PORT


def _is_told(place: Place, why: str) -> bool:
    return place.named or why != NOTHING_THERE


def _kind(place: Place, server: Server) -> str:
    return NAMES[server.shape] if place.named else place.source.partition(",")[0]


def _sized(names: Iterable[str], told: dict[str, str]) -> tuple[Sized, ...]:
    return tuple(size_of(name, told.get(name, "")) for name in dict.fromkeys(names))


async def _sizes(server: Server) -> dict[str, str]:
    """What Ollama says of the size of each model. No other server says it."""
    if server.shape is not Shape.OLLAMA:
        return {}
    with suppress(HTTPError, TimeoutError):
        async with asyncio.timeout(LOOK_NAMED):
            status, tags = await get_json(f"{server.url}/api/tags", CONNECT_NAMED)
            return _of_tags(tags) if status == ANSWERED else {}
    return {}


def _of_tags(tags: Any) -> dict[str, str]:
    told: dict[str, str] = {}
    listed = tags.get("models") if isinstance(tags, dict) else None
    for each in listed if isinstance(listed, list) else ():
        details = each.get("details") if isinstance(each, dict) else None
        size = details.get("parameter_size") if isinstance(details, dict) else None
        name = next((each[key] for key in ("name", "model") if isinstance(each.get(key), str)), "") if details else ""
        if isinstance(size, str) and name:
            told[name] = size
    return told


def _object(seen: Seen) -> dict[str, Any]:
    servers = [
        {
            "url": each.url,
            "kind": each.kind,
            "models": [model.as_data() for model in each.models],
            "left_out": less.left_out,
        }
        for each, less in zip(seen.servers, fitted(seen).servers, strict=True)
    ]
    return {
        "servers": servers,
        "elsewhere": [{"url": url, "why": why} for url, why in seen.elsewhere],
        "gateways": list(seen.gateways),
    }


def _tell(seen: Seen, path: Path) -> None:
    for each, less in zip(seen.servers, fitted(seen).servers, strict=True):
        names = [line_of(model.name) for model in each.models]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        say(f"found {line_of(each.url)} ({each.kind}): {', '.join(names[:SHOWN]) or 'no model yet'}{more}\n")
        if less.left_out:
            say(f"left out {less.left_out} of them: a file of settings may not be that large\n")
    for url, why in seen.elsewhere:
        say(f"left out {line_of(url)}: {line_of(why)}\n")
    for url in seen.gateways:
        say(f"a gateway of hangtight answers at {url}: it is not written down\n")
    if not seen.servers:
        say("no model server found; the file shows how to add one\n")
    name = line_of(str(path))
    say(f"wrote {name}\nto use it:  hangtight serve --config {shlex.quote(name)}\n")
