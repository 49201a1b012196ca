"""`hangtight check`: is a file of settings right, and what of it does nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson


def check(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="A hangtight.yaml, a flow, a .qwencoderules, a .env, or llama-swap's configuration."
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of hangtight.yaml, for editors.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look through a file of settings, or of a flow: all that is wrong with it, and what does nothing yet.

    Exits with 0 if the file can be used, else with 2.

    Example: hangtight check hangtight.yaml
    """
    from hangtight.cli.checking import check_command, schema_command

    raise typer.Exit(schema_command() if schema else check_command(file, as_json=as_json))
