"""The history of an agent in the body of a request: which tools it called of late, and what came of it.

All the APIs repeat the whole conversation in each request, and each writes calls and results in its own way. The
walk goes from the end and knows all the ways at once, so that nobody has to say which API it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from hangtight.dialects.dialect import Body
from hangtight.dialects.reading import inside, text_of
from hangtight.intent.tools import UNKNOWN

MOST_EXCHANGES: Final = 32  # six copies of the longest cycle are 30; more is asked only of tools that wait
LONGEST_WALK: Final = 256  # messages, and parts of one message
LONGEST_PROMPT: Final = 4_000  # characters
TEXTS: Final = frozenset(("text", "input_text"))


class Exchange(NamedTuple):
    """One call of a tool, and what came of it."""

    name: str
    arguments: object
    """As the request has them: JSON as text, or a dict."""
    result: object = UNKNOWN


Asked = tuple[object, str, object]
"""A call whose result is still looked for: its id, the tool, the arguments. No class, for it lives a microsecond."""


def exchanges(body: Body) -> list[Exchange]:
    """The newest exchanges of the task at hand, the oldest first. A message of plain text from the user began it."""
    walk = Walk()
    for message in islice(_newest_first(body), LONGEST_WALK):
        if not walk.goes_on_past(message):
            break
    return walk.found[MOST_EXCHANGES - 1 :: -1]


def last_prompt(body: Body) -> str:
    """The text that the user wrote last, or its end; nothing where there is none."""
    for message in _newest_first(body):
        if isinstance(message, str):
            return message[-LONGEST_PROMPT:]
        if isinstance(message, dict) and message.get("role") == "user" and (text := _written(message)):
            return text
    return ""


def _newest_first(body: Body) -> Iterator[Any]:
    """Messages, items, or the texts of a completion."""
    fields = inside(body)
    for name in ("messages", "input", "prompt"):
        told = fields.get(name)
        if told and isinstance(told, list | str):
            return iter((told,)) if isinstance(told, str) else reversed(told)
    return iter(())


class Walk:
    """From the end of a conversation to its start: results are met before their calls."""

    __slots__ = ("_bare", "_results", "found")

    def __init__(self) -> None:
        self.found: list[Exchange] = []
        """The newest first."""
        self._results: dict[str, object] = {}
        """By the id of the call."""
        self._bare: list[tuple[str, object]] = []
        """Those without an id, the newest first, with the tool's name where they have one."""

    def goes_on_past(self, message: Any) -> bool:
        """Reads one message or item. False where the walk is at its end."""
        if not isinstance(message, dict):
            return True
        role = message.get("role")
        if role == "assistant":
            self._add_calls(message)
        elif role in ("tool", "function"):
            name = text_of(message.get("tool_name") or message.get("name"))
            self._keep(message.get("tool_call_id"), message.get("content"), name)
        elif role == "user":
            return self._keep_results(_parts(message)) or not _written(message).strip()
        elif role is None:
            self._read_item(message)
        return len(self.found) < MOST_EXCHANGES

    def _keep(self, call: object, result: object, name: str = "") -> None:
        if isinstance(call, str) and call:
            self._results[call] = result
        else:
            self._bare.append((name, result))

    def _keep_results(self, parts: list[Any]) -> bool:
        kept = False
        for part in reversed(parts):
            if _is(part, "tool_result"):
                self._keep(part.get("tool_use_id"), part.get("content"))
                kept = True
        return kept

    def _add_calls(self, message: dict[str, Any]) -> None:
        calls = _calls_of(message)
        if isinstance(message.get("content"), list):
            parts = _parts(message)
            self._keep_results(parts)  # of tools that the server itself has run
            calls += [_used(part) for part in parts if _is(part, "tool_use")]
        if calls:
            self._settle(calls)
            self._bare.clear()  # a result has its call in the nearest message before it

    def _settle(self, calls: list[Asked]) -> None:
        bare = self._bare[::-1]
        made: list[Exchange] = []
        for call in calls:
            exchange = Exchange(call[1], call[2], self._result_of(call, bare))
            # equal calls of one message are asked side by side: no result made the model call again
            if call[1] and exchange not in made:
                made.append(exchange)
        self.found += reversed(made)

    def _result_of(self, call: Asked, bare: list[tuple[str, object]]) -> object:
        mark, tool, _ = call
        if isinstance(mark, str) and mark in self._results:
            return self._results.pop(mark)  # some servers use the same ids in every turn
        for place, (name, result) in enumerate(bare):
            if not name or name == tool:
                del bare[place]
                return result
        return UNKNOWN

    def _read_item(self, item: dict[str, Any]) -> None:
        """An item of the responses API, which keeps calls and results apart from messages."""
        kind, call = text_of(item.get("type")), item.get("call_id")
        if kind.endswith("_call_output"):
            if isinstance(call, str) and call:
                self._results[call] = item.get("output")
        elif kind.endswith("_call"):
            arguments = next((item[name] for name in ("arguments", "input", "action", "operation") if name in item), "")
            tool = text_of(item.get("name")) or kind
            if kind == "mcp_call" and item.get("output") is not None:
                self.found.append(Exchange(tool, arguments, item["output"]))
            else:
                self._settle([(call, tool, arguments)])


def _calls_of(message: dict[str, Any]) -> list[Asked]:
    """The calls of a message in OpenAI's shape and in Ollama's."""
    calls: list[Asked] = []
    told = message.get("tool_calls")
    for call in told[-LONGEST_WALK:] if isinstance(told, list) else ():
        if isinstance(call, dict):
            inner = call.get("function") or call.get("custom")
            if isinstance(inner, dict):
                arguments = inner["arguments"] if "arguments" in inner else inner.get("input")
                calls.append((call.get("id"), text_of(inner.get("name")), arguments))
    if isinstance(inner := message.get("function_call"), dict):
        calls.append((None, text_of(inner.get("name")), inner.get("arguments")))
    return calls


def _used(part: dict[str, Any]) -> Asked:
    return part.get("id"), text_of(part.get("name")), part.get("input")


def _parts(message: dict[str, Any]) -> list[Any]:
    content = message.get("content")
    return content[-LONGEST_WALK:] if isinstance(content, list) else []


def _is(part: Any, kind: str) -> bool:
    """Also those of the server's own tools, as `mcp_tool_use` and `web_search_tool_result`."""
    return isinstance(part, dict) and text_of(part.get("type")).endswith(kind)


def _written(message: dict[str, Any]) -> str:
    """The text of a message. Beside a result it is the program's, not the user's."""
    content = message.get("content")
    if isinstance(content, str):
        return content[-LONGEST_PROMPT:]
    parts = _parts(message)
    if any(_is(part, "tool_result") for part in parts):
        return ""
    texts = [text_of(part.get("text")) for part in parts if isinstance(part, dict) and part.get("type") in TEXTS]
    return "\n".join(text[-LONGEST_PROMPT:] for text in texts)[-LONGEST_PROMPT:]
