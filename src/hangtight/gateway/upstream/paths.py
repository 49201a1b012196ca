"""/upstream/MODEL/...: a path at the server of one model, as llama-swap has it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from hangtight.gateway.upstream.targets import Targets

UPSTREAM: Final = "/upstream/"
MOST_PARTS: Final = 8
"""Names of models have slashes in them, and each of so many beginnings may be one."""


def behind(scope: MutableMapping[str, Any], path: str, targets: Targets) -> tuple[MutableMapping[str, Any], str] | None:
    """The request as the server of that model gets it, and the name of the model; None where no model is meant.

    The shortest beginning of the path that is a model: what follows it belongs to the server.
    """
    parts = path[len(UPSTREAM) :].split("/")
    for count in range(1, min(len(parts), MOST_PARTS) + 1):
        name = "/".join(parts[:count])
        if name and targets.find(name) is not None:
            return _moved(scope, count, "/" + "/".join(parts[count:])), name
    return None


def _moved(scope: MutableMapping[str, Any], count: int, path: str) -> MutableMapping[str, Any]:
    return {**scope, "path": path, "raw_path": _written(scope, count), "root_path": ""}


def _written(scope: MutableMapping[str, Any], count: int) -> bytes | None:
    """The rest as its client wrote it, behind a name of so many parts: what is escaped there stays so.

    None where it cannot be told apart: then it is escaped anew.
    """
    raw = (scope.get("raw_path") or b"").removeprefix(scope.get("root_path", "").encode())
    if not raw.startswith(UPSTREAM.encode()):
        return None
    rest = raw[len(UPSTREAM) :]
    while count > 0 and rest:
        part, _, rest = rest.partition(b"/")
        count -= 1 + unquote_to_bytes(part).count(b"/")  # a slash of the name may be escaped, too
    return b"/" + rest if not count else None
