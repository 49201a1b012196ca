"""Writes the tables of `docs/gateway-clients.md`: runs each client through the gateway against every fault of the lab.

Run it as `make docs`. It writes nothing if what it finds is not what `tests/gateway/test_clients.py` holds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PAGE = Path(__file__).with_name("gateway-clients.md")

sys.path.insert(0, str(PAGE.parent.parent))

from tests.gateway.clients import CURL, run, stage  # noqa: E402 - the tests beside us must be found first
from tests.gateway.tables import Tables, expected, found_by  # noqa: E402


def filled(text: str, made: dict[str, str]) -> str:
    """The page with all that is made."""
    for name, content in made.items():
        before, mark, rest = text.partition(f"<!-- made: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise RuntimeError(f"{PAGE.name} has no place for {name}")
        text = before + mark + content + end + after
    return text


def differences(found: Tables, held: Tables) -> list[str]:
    """The lines that this run would have written, and that the tests do not hold."""
    return [
        line
        for ours, theirs in zip(found, held, strict=True)
        for line in ours.splitlines()
        if line not in theirs.splitlines()
    ]


if __name__ == "__main__":
    if CURL is None:
        sys.exit("curl is missing: what it gets is a part of the page")
    with TemporaryDirectory() as folder, stage(Path(folder)) as on:
        tables = found_by(run(on))
    if different := differences(tables, expected()):
        sys.exit("\n".join(("not what tests/gateway/test_clients.py holds:", *different)))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables._asdict()), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is up to date\n")
