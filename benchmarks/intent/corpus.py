"""Healthy text of many kinds, from what is on the machine: whatever of it looks like a loop to us is a false alarm.

Which files are taken does not depend on the day: they are ordered by the checksum of their path, so that the first of
them are from everywhere. Each is one answer, as a model would have written it, of at most 200,000 characters.
"""

from __future__ import annotations

import gettext
import gzip
import os
import re
import shutil
import subprocess
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.intent import made

LONGEST = 200_000
SHORTEST = 200
"""Less than that cannot be cut anyway."""

STANDARD = Path(sysconfig.get_paths()["stdlib"])
HERE = Path(sysconfig.get_paths()["purelib"])
"""What pip installed beside whoever runs this."""
THERE = STANDARD / "site-packages"
SHARED = Path("/usr/share")
DOC = SHARED / "doc"
LIBRARIES = Path("/usr/lib")
PROGRAMS = Path("/usr/bin")
INCLUDED = (Path("/usr/include"), Path(sysconfig.get_paths()["include"]))
CJK = ("ja", "ko", "zh_CN", "zh_TW", "zh_HK")
LOGS = Path("/var/log")
IN_ENGLISH = r"/man/man[1-8]/.*\.gz$"
RENDERED_AT_ONCE = 2


class Text(NamedTuple):
    """One answer, and where it is from."""

    name: str
    text: str


class Kind(NamedTuple):
    """A kind of text. Made is what the machine has no files of, and was made of what it has."""

    name: str
    texts: Callable[[], Iterator[Text]]
    made: bool = False


@cache
def everything(root: Path) -> list[str]:
    """Each file below a folder, and not what is linked from elsewhere."""
    found = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    return [name for name in found if not os.path.islink(name)]


def files(*roots: Path, ends: tuple[str, ...] = ("",), called: str = "", without: str = "\0") -> list[Path]:
    """Files whose paths are like that, in an order that is the same each time and favours no folder."""
    like = re.compile(called)
    all_of_them = chain.from_iterable(map(everything, roots))
    found = {name for name in all_of_them if name.endswith(ends) and without not in name and like.search(name)}
    in_order = sorted(found, key=lambda name: (zlib.crc32(os.fsencode(name)), name))
    return [path for path in map(Path, in_order) if path.is_file()]


def read(path: Path) -> str:
    """The beginning of a file, unpacked; nothing if it is no text, or not for us."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(4 * LONGEST)
    except (OSError, EOFError):
        return ""
    return "" if b"\0" in raw else raw.decode("utf-8", "replace")


def texts(paths: Iterable[Path], accept: Callable[[str], bool] = lambda text: True) -> Iterator[Text]:
    for path in paths:
        text = read(path)[:LONGEST]
        if len(text) >= SHORTEST and accept(text):
            yield Text(str(path), text)


def of(*roots: Path, ends: tuple[str, ...] = ("",), called: str = "", without: str = "\0") -> Iterator[Text]:
    return texts(files(*roots, ends=ends, called=called, without=without))


def sources() -> Iterator[Text]:
    return texts(path for path in files(STANDARD, ends=(".py",), without="site-packages") if not is_test(path))


def tests() -> Iterator[Text]:
    return texts(path for path in files(STANDARD, ends=(".py",), without="site-packages") if is_test(path))


def is_test(path: Path) -> bool:
    return "test" in path.parts or "tests" in path.parts


def scripts() -> Iterator[Text]:
    paths = [*files(PROGRAMS), *files(SHARED, LIBRARIES, ends=(".sh", ".bash", ".zsh"))]
    return texts(paths, lambda text: text.startswith("#!") or "\nfi\n" in text or "\nesac\n" in text)


def licences() -> Iterator[Text]:
    plain = files(SHARED / "common-licenses")
    return texts([*plain, *files(DOC, ends=("copyright",)), *files(HERE, THERE, called=r"/LICENSE[^/]*$")])


def pages() -> Iterator[Text]:
    """Manual pages as people see them, where there is a program that renders them."""
    if not shutil.which("groff"):
        return
    paths = [path for path in files(SHARED / "man", called=IN_ENGLISH) if path.stat().st_size > SHORTEST]
    with ThreadPoolExecutor(RENDERED_AT_ONCE) as pool:
        for first in range(0, len(paths), 20):
            some = paths[first : first + 20]
            for path, text in zip(some, pool.map(rendered, some), strict=True):
                if len(text) >= SHORTEST:
                    yield Text(str(path), text[:LONGEST])


def rendered(path: Path) -> str:
    source = gzip.decompress(path.read_bytes())
    command = ("groff", "-Tutf8", "-mandoc", "-t", "-P-cbou")
    done = subprocess.run(command, input=source, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace")


def minified() -> Iterator[Text]:
    paths = files(SHARED, LIBRARIES, HERE, THERE, ends=(".js", ".mjs", ".cjs", ".css"))
    return texts(paths, lambda text: len(text) > 80 * (text.count("\n") + 1) * 2)


def paths_of_pictures() -> Iterator[Text]:
    for name, text in of(SHARED, LIBRARIES, HERE, THERE, ends=(".svg",)):
        drawn = "\n".join(re.findall(r'\sd="([^"]{200,})"', text))
        yield from [Text(name, text), *([Text(name + " (paths)", drawn)] if len(drawn) >= SHORTEST else [])]


def translations() -> Iterator[Text]:
    """Each message and what it is in Chinese, Japanese or Korean."""
    for path in files(SHARED / "locale", ends=(".mo",)):
        if path.parts[-3] not in CJK:
            continue
        try:
            with path.open("rb") as file:
                catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        pairs = ((name, text) for name, text in catalog.items() if isinstance(name, str) and name)
        text = "".join(f"msgid {name}\nmsgstr {text}\n\n" for name, text in pairs)
        only = "\n".join(text for name, text in catalog.items() if name)
        yield from (Text(f"{path}{what}", each[:LONGEST]) for what, each in (("", text), (" (alone)", only)) if each)


def cut(kind: Callable[[], Iterator[tuple[str, str]]]) -> Callable[[], Iterator[Text]]:
    return lambda: (Text(name, text[:LONGEST]) for name, text in kind())


KINDS = (
    Kind("standard library", sources),
    Kind("its tests", tests),
    Kind("site-packages", lambda: of(HERE, THERE, ends=(".py", ".pyi", ".pyx"))),
    Kind("C headers", lambda: of(*INCLUDED, ends=(".h", ".hpp", ".hh"))),
    Kind("C and C++", lambda: of(SHARED, LIBRARIES, HERE, THERE, *INCLUDED, ends=(".c", ".cc", ".cpp", ".tcc"))),
    Kind("Perl", lambda: of(SHARED / "perl", SHARED / "perl5", LIBRARIES, ends=(".pl", ".pm", ".pod", ".t"))),
    Kind("shell scripts", scripts),
    Kind("JavaScript", lambda: of(SHARED, LIBRARIES, HERE, THERE, ends=(".js", ".mjs", ".ts"), without=".min.")),
    Kind("minified", minified),
    Kind("editor syntax, CMake", lambda: of(SHARED, ends=(".vim", ".cmake", ".lang", ".el", ".tcl"))),
    Kind("licences", licences),
    Kind("change logs", lambda: of(DOC, ends=("changelog.gz", "NEWS.gz", "changelog.Debian.gz", "NEWS"))),
    Kind("man pages", pages),
    Kind("man pages, source", lambda: of(SHARED / "man", called=IN_ENGLISH)),
    Kind("logs", lambda: of(LOGS, SHARED, ends=(".log", ".log.1", ".log.gz"))),
    Kind("logs, generated", cut(made.logs), made=True),
    Kind("CSV and tables", lambda: of(SHARED, LIBRARIES, HERE, THERE, ends=(".csv", ".tsv", ".tab", ".txt", ".dat"))),
    Kind("CSV of characters", cut(made.csv), made=True),
    Kind("JSON", lambda: of(SHARED, LIBRARIES, HERE, THERE, ends=(".json", ".jsonl"))),
    Kind("JSON of syntax trees", cut(lambda: made.trees(programs())), made=True),
    Kind("XML", lambda: of(SHARED, LIBRARIES, ends=(".xml", ".xsl", ".dtd", ".ui", ".glade"))),
    Kind("HTML", lambda: of(SHARED, LIBRARIES, HERE, THERE, ends=(".html", ".htm", ".xhtml"))),
    Kind("SVG", paths_of_pictures),
    Kind("Markdown", lambda: of(SHARED, LIBRARIES, HERE, THERE, ends=(".md", ".markdown"))),
    Kind("Markdown tables", cut(made.tables), made=True),
    Kind("reStructuredText", lambda: of(SHARED, LIBRARIES, HERE, THERE, STANDARD, ends=(".rst",))),
    Kind("CJK translations", translations),
    Kind("CJK, generated", cut(made.chinese), made=True),
    Kind("locales, character maps", lambda: of(SHARED / "i18n", SHARED / "X11", SHARED / "groff")),
    Kind("SQL", lambda: of(SHARED, LIBRARIES, ends=(".sql", ".sql.gz"))),
    Kind("base64", cut(lambda: made.base64s(binaries())), made=True),
    Kind("hex dumps", cut(lambda: made.dumps(binaries())), made=True),
    Kind("disassembly", cut(lambda: made.disassembled(programs())), made=True),
    Kind("diffs", cut(lambda: made.diffs(programs())), made=True),
    Kind("numbers", cut(made.numbers), made=True),
    Kind("emoji", cut(made.emoji), made=True),
)


def programs() -> list[Path]:
    return [path for path in files(STANDARD, ends=(".py",)) if path.parent == STANDARD]


def binaries() -> list[Path]:
    return list(islice(files(PROGRAMS), 60))


def some(kind: Kind, characters: int) -> list[Text]:
    """The first texts of a kind, until there are so many characters; no text twice."""
    found: dict[str, Text] = {}
    count = 0
    for text in kind.texts():
        if count >= characters:
            break
        if text.text not in found:
            found[text.text] = text
            count += len(text.text)
    return list(found.values())
