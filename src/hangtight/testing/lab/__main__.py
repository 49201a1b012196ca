"""`python -m hangtight.testing.lab` is `hangtight lab serve` without the command line's libraries: it starts sooner."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import fields

from hangtight.testing.lab.lab import HOST, PORT, is_loopback
from hangtight.testing.lab.manners import GROUPS, Manners, MannersError, option
from hangtight.testing.lab.process import be_server


def parser() -> ArgumentParser:
    """The options of `hangtight lab serve`, whose help says what they do."""
    parser = ArgumentParser(prog="python -m hangtight.testing.lab", description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--model")
    for group in GROUPS.values():
        options = parser.add_argument_group(group.__doc__)
        for known in fields(group):
            if known.type == "bool":
                options.add_argument(option(known.name), action="store_true")
            else:
                number = float if "float" in known.type else int
                options.add_argument(option(known.name), type=number, default=known.default)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the server that these options tell of."""
    reader = parser()
    told = reader.parse_args(arguments)
    if not is_loopback(told.host):
        reader.error(f"the lab listens on loopback only, and {told.host} is not")
    try:
        manners = Manners.of(vars(told))
    except MannersError as wrong:
        reader.error(str(wrong))
    return be_server(told.host, told.port, _say, model=told.model, manners=manners)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
