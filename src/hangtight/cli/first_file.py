"""The text of a first hangtight.yaml: what was found, the defaults behind #, and one line of why for each block."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from hangtight.cli.sizes import TABLE, Sized
from hangtight.core.layers import MODES
from hangtight.core.limits import Limits
from hangtight.rules.errors import on_one_line
from hangtight.rules.reading import MOST_BYTES

LONGEST_NAME: Final = 512  # as long as the gateway takes them
LATEST: Final = ":latest"
VERSION: Final = "/v1"
PLAIN: Final = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)
WORDS: Final = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))
"""What a reader of YAML may take for something else than text."""
MOST_IN_A_MODE: Final = 3
ROOM: Final = MOST_BYTES * 3 // 4
"""Bytes for the models. The rest is for what stands around them, and for whoever adds something."""
EXAMPLE: Final = "http://127.0.0.1:11434"


class Found(NamedTuple):
    """A server, and what it has."""

    url: str
    kind: str
    models: tuple[Sized, ...] = ()
    wants_key: bool = False
    left_out: int = 0
    """Models for which the file has no room."""

    @property
    def proxy(self) -> str:
        """As the file names it: the gateway adds /v1 by itself."""
        return self.url.removesuffix(VERSION)


class Seen(NamedTuple):
    """All that was found, and where something is that cannot be used as it is."""

    servers: tuple[Found, ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()
    gateways: tuple[str, ...] = ()
    """Ours, which are not put behind themselves."""


def first_file(seen: Seen, name: str = "hangtight.yaml") -> str:
    """The whole file, never larger than one may be."""
    seen = fitted(seen)
    models = _usable(seen)
    parts = (_head(name), _limits(), _heartbeat(), _modes([model for _, model in models]), _sleep(), _models(seen))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def fitted(seen: Seen) -> Seen:
    """The same, without the models for which a file has no room; the first ones stay."""
    room, servers = ROOM, []
    for server in seen.servers:
        kept = []
        for model in server.models:
            lines = _model(model, server, set()) if _can_be_written(model.name) else _not_written(model)
            room -= sum(len(line.encode("utf-8", "replace")) + 1 for line in lines)
            if room >= 0:
                kept.append(model)
        servers.append(server._replace(models=tuple(kept), left_out=server.left_out + len(server.models) - len(kept)))
    return seen._replace(servers=tuple(servers))


def _head(name: str) -> Iterator[str]:
    rows = (
        (f"check {on_one_line(name)}", "what is wrong with this file, and what of it does nothing"),
        (f"serve --config {on_one_line(name)}", "one address in front of all models below"),
        ("explain --model NAME", "every limit of a model, and where it comes from"),
    )
    yield "# Written by `hangtight init`. All times are seconds. What stands behind # is an example, or a default."
    yield "#"
    yield from (f"#   hangtight {command:<32} {why}" for command, why in rows)
    yield "#"
    yield "# docs/settings.md has every key; docs/configuration.md those of models that hangtight runs."


def _limits() -> Iterator[str]:
    limits = Limits()
    yield "# Silence is what ends a call, not length. These are the defaults: take the # away to change one."
    yield "# A number, null for no limit, or auto: learned from what was measured."
    yield "# limits:"
    rows = (
        ("first_token", limits.first_token, f"silence before the first piece; {limits.cold} more where it may load"),
        ("idle", limits.idle, "silence in the middle; every piece restarts it"),
        ("total", limits.total, "the whole call; in a mode a model that gets on may have twice as long"),
    )
    yield from (f"#   {f'{name}: {value}':<20} # {why}" for name, value, why in rows)


def _heartbeat() -> Iterator[str]:
    yield "# A sign of life for whoever waits, so that a slow model is not taken for a dead one; 0 is off."
    yield f"heartbeat: {Limits().heartbeat:g}"


def _modes(models: Iterable[Sized]) -> Iterator[str]:
    """The small models for what must be fast. A model of which nobody knows the size is in no list."""
    sized = [model for model in models if model.billions is not None and model.is_for_chats]
    rising = sorted(sized, key=lambda model: model.billions or 0.0)
    falling = rising[::-1]
    chosen = {"fast": rising[:1], "deep": _stairs(falling)} if len(rising) > 1 else {}
    yield "# A mode is the time for one kind of work. The first model is preferred, the next takes over for it."
    yield "modes:"
    for name, total in MODES.items():
        listed = ", ".join(_scalar(model.name) for model in chosen.get(name, ()))
        yield f"  {name}: {{total: {total:g}{f', models: [{listed}]' if listed else ''}}}"
    if not chosen:
        yield "  # with models:  deep: {total: 120, models: [the-large-one, the-small-one]}"


def _stairs(falling: list[Sized]) -> list[Sized]:
    """The largest, the smallest, and one between: a fallback of the same size would be no lighter."""
    if len(falling) <= MOST_IN_A_MODE:
        return falling
    return [falling[0], falling[len(falling) // 2], falling[-1]]


def _sleep() -> Iterator[str]:
    yield "# How long a server that hangtight runs may take to sleep and to wake, before it is stopped or started anew."
    yield f"# By size: {'; '.join(f'{each.sizes} {each.sleep} and {each.wake}' for each in TABLE)}."
    yield "# A model may have its own. A slow disk needs more: see config.example.yaml."
    yield "cmdSleepTimeout: 60"
    yield "cmdWakeTimeout: 60"


def _models(seen: Seen) -> Iterator[str]:
    yield "# Where each model is. A `proxy` is a server that runs already; one with a `cmd` hangtight starts and stops."
    own = list(_of_servers(seen))
    if any(not line.lstrip().startswith("#") for line in own):
        yield "models:"
        yield from own
    else:
        yield "# No model was found. Start a server (ollama serve, llama-server -m MODEL.gguf), and write this again,"
        yield "# or name one here. Until then `hangtight serve` looks for servers on the usual ports by itself."
        yield from own
        yield "# models:"
        yield "#   my-model:"
        yield f"#     proxy: {EXAMPLE}"
    yield "#"
    yield "#   # This one is started when it is asked for. Commands run only from a file that was named with --config."
    yield "#   my-other-model:"
    yield "#     cmd: llama-server --port ${PORT} -m my-other-model.gguf"
    yield "#     ttl: 600               # stopped after so long without a request"


def _of_servers(seen: Seen) -> Iterator[str]:
    taken: dict[str, Found] = {}
    written = {model.name for _, model in _usable(seen)}
    for server in seen.servers:
        yield f"  # {on_one_line(server.kind)} at {on_one_line(server.proxy)}"
        if not server.models and not server.left_out:
            yield from _nameless(server, taken)
        for model in server.models:
            if not _can_be_written(model.name):
                yield from _not_written(model)
            elif (before := taken.setdefault(model.name, server)) is not server:
                yield f"  # {_scalar(model.name)} is here too; the one at {on_one_line(before.proxy)} is asked"
            else:
                yield from _model(model, server, written)
        if server.left_out:
            yield f"  # left out, because a file may not be larger: {server.left_out} more; name here what you need"
    for url, why in seen.elsewhere:
        yield f"  # left out: {on_one_line(url)}: {on_one_line(why)}"


def _nameless(server: Found, taken: dict[str, Found]) -> Iterator[str]:
    """It loads, or lists nothing. Whatever is asked for and is not named goes there."""
    if "*" in taken:
        yield "  # it lists no model now: add it by its name, as above"
        return
    taken["*"] = server
    yield "  # it lists no model now: every name that is not written below is asked there"
    yield '  "*":'
    yield f"    proxy: {_scalar(server.proxy)}"
    yield from _key(server)


def _model(model: Sized, server: Found, written: set[str]) -> Iterator[str]:
    clocks, short = model.clocks, model.name.removesuffix(LATEST)
    yield f"  {_scalar(model.name)}:"
    yield f"    proxy: {_scalar(server.proxy)}"
    yield from _key(server)
    if short and short != model.name and short not in written:
        yield f"    aliases: [{_scalar(short)}]"
    for_size = f"the defaults: {model.told}" if model.billions is None else f"for {clocks.sizes}: {model.told}"
    yield f"    # cmdSleepTimeout: {clocks.sleep:<4} # {for_size}; once it has a cmd"
    yield f"    # cmdWakeTimeout: {clocks.wake}"


def _not_written(model: Sized) -> Iterator[str]:
    yield f"  # left out, because its name cannot be a key here: {on_one_line(model.name[:LONGEST_NAME])}"


def _key(server: Found) -> Iterator[str]:
    if server.wants_key:
        yield "    key: ${env.OPENAI_API_KEY}"


def _usable(seen: Seen) -> list[tuple[Found, Sized]]:
    """The models that the file has, each once."""
    found: dict[str, tuple[Found, Sized]] = {}
    for server in seen.servers:
        for model in server.models:
            if _can_be_written(model.name):
                found.setdefault(model.name, (server, model))
    return list(found.values())


def _can_be_written(name: str) -> bool:
    """A `*` would be a pattern, and `${` a macro."""
    fits = 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()
    return fits and "*" not in name and "${" not in name


def _scalar(text: str) -> str:
    """As it is where YAML takes it for text, else in quotes."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
