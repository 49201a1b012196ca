"""The journal's address: what it means, and how much of it may be shown. Only the standard library is loaded here."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

SQLITE = "sqlite:///"
HIDDEN = "..."
NO_PATH = re.compile(
    r"password\s*=|(?:^|[/\\])(?:host(?:addr)?\s*=|(?:postgres|postgresql|mysql|mariadb)(?:\+\w+)?(?::|/[^/]*:[^/]*@))",
    re.IGNORECASE,
)
"""A server's address that lacks something: as a path it would become a file with the password in its name. By the
time it is read it may stand below the folder of the settings."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Refused(Exception):
    """This database cannot be used by this program, today or later."""


def path_of(url: str) -> Path | None:
    """The file that is meant, or None where the address is of a server."""
    if url[: len(SQLITE)].lower() == SQLITE:
        url = url[len(SQLITE) :]
    elif "://" in url:
        return None
    return Path(os.path.expanduser(url))


def file_of(url: str) -> Path | None:
    """The same. Raises Refused for what can only be a server's address with something missing."""
    path = path_of(url)
    if path is not None and NO_PATH.search(str(path)):
        raise Refused("the journal's address is neither a path nor a URL: it must be a path or postgresql://...")
    if path is None and url.partition("?")[0].count("@") > 1:
        raise Refused("the journal's address has more than one @: in a password write @ as %40")
    return path


def standing_at(url: str) -> str:
    """The same, wherever whoever reads it stands."""
    path = path_of(url)
    return url if path is None else os.path.abspath(path)


def shown_address(url: str) -> str:
    """The address as it may be shown: no password, no query, and nothing where it is not clear what is a password."""
    path = path_of(url)
    if path is not None:
        return HIDDEN if NO_PATH.search(str(path)) else url
    scheme, _, rest = url.partition("://")
    known, _, query = rest.partition("?")
    if "@" in query:  # it may be in a query, or the question mark in a password
        return f"{scheme}://{HIDDEN}"
    _, at, server = known.rpartition("@")
    port = server.partition("/")[0].rpartition("]")[2].rpartition(":")[2] if ":" in server.partition("/")[0] else ""
    if not at and port and not port.isdigit():  # a password whose host is missing
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{HIDDEN}@{server}" if at else f"{scheme}://{server}"


def file_is_there(path: Path) -> bool:
    """False where nothing is. Raises OSError where that cannot be known, or where what stands there is no file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except ValueError as odd:  # a NUL, or half a character
        raise OSError(str(odd)) from odd
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {KINDS.get(stat.S_IFMT(mode), 'no file')}")
    return True
