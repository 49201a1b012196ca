"""The command `hangtight`: thin rooms that parse, call and print."""

from __future__ import annotations

import sys

LACKS_EXTRA = 2


def main() -> None:
    """The entry of the installed command. In a bare install it says what is missing and how to get it."""
    try:
        import typer  # noqa: F401
    except ImportError:
        sys.stderr.write(
            "hangtight: the command line needs the extra `cli`, which is not installed.\n"
            "to get it:  pip install 'hangtight[cli]'\n"
        )
        raise SystemExit(LACKS_EXTRA) from None
    from hangtight.cli.app import app

    app()
