"""The command `hangtight`: thin rooms that parse, call and print."""

from __future__ import annotations

import os
import sys

LACKS_EXTRA = 2
INTERRUPTED = 130


def main() -> None:
    """The entry of the installed command. In a bare install it says what is missing and how to get it."""
    _fill_missing_streams()
    try:
        import typer  # noqa: F401
    except ImportError:
        sys.stderr.write(
            "hangtight: the command line needs the extra `cli`, which is not installed.\n"
            "to get it:  pip install 'hangtight[cli]'\n"
        )
        raise SystemExit(LACKS_EXTRA) from None
    try:
        from hangtight.cli.app import app

        app()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        _let_stderr_go()


def _let_stderr_go() -> None:
    """What a full or closed stderr did not take is lost; Python would end with a code of its own for it."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _fill_missing_streams() -> None:
    """Whoever closed our stdin, stdout or stderr: their numbers must not fall to a socket of ours.

    What is written to a stdout that was closed still fails, as it should.
    """
    for descriptor, flags, name, mode in (
        (0, os.O_RDONLY, "stdin", "r"),
        (1, os.O_RDONLY, "stdout", "w"),
        (2, os.O_WRONLY, "stderr", "w"),
    ):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - kept for good
