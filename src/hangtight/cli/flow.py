"""`hangtight flow`: workflows whose steps have clocks of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson, Config, Journal, Since, limits_of

app = typer.Typer(
    help="Workflows: steps with their own clocks, heartbeats while a model works, runs that survive a crash.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[str, typer.Argument(metavar="FILE|module:flow", help="A YAML file, or a Flow in Python.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=TEXT", help="An input of the flow; @FILE as text reads a file."),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="STEP=NAME", help="Another model for a step, which keeps its limits."),
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="STEP.KEY=VALUE", help="Another setting, like coder.total=900.")
]
Whole = Annotated[str | None, typer.Option("--total", metavar="SECONDS", help="For the whole run; its steps share it.")]
Folder = Annotated[str, typer.Option("--workspace", metavar="DIR", help="Where the steps write.")]
Beats = Annotated[
    str | None, typer.Option("--heartbeat", metavar="SECONDS", help="A sign of life while a model works; 0 = off [15].")
]
Database = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="DATABASE",
        help="Where runs are kept: a path, postgresql://..., or memory [in the user's data folder].",
        show_default=False,
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Its id; the beginning of it is enough.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1_000_000, help="At most so many.")]
Lines = Annotated[bool, typer.Option("--json", help="Events as lines of JSON, also on a terminal.")]


@app.command()
def run(
    flow: File,
    inputs: Inputs = None,
    models: Models = None,
    changes: Changes = None,
    total: Whole = None,
    workspace: Folder = ".",
    heartbeat: Beats = None,
    url: Database = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Leave it to the workers at that database, print its id, and end.")
    ] = False,
    as_json: Lines = False,
    config: Config = None,
) -> None:
    """Run a flow. What its steps put out are files in the workspace.

    On a terminal the steps are drawn as a tree while they run; in a pipe each event is a line of JSON. A run that is
    killed goes on with `hangtight flow resume`, unless it is kept in memory. Exits with 0 when it has finished, 1
    where a step has failed, 124 after a timeout, 130 after Ctrl-C (what came is kept), 2 if the command is wrong.

    Example: hangtight flow run quarkus.yaml --input idea="a list of books" --set coder.total=900
    """
    given = limits_of(total=total, heartbeat=heartbeat)
    from hangtight.cli.flowing import Wanted, run_command

    wanted = Wanted(flow, tuple(inputs or ()), tuple(models or ()), tuple(changes or ()), given, workspace, submit)
    raise typer.Exit(run_command(wanted, url, config, as_json=as_json))


@app.command("ls")
def list_them(
    since: Since = None,
    limit: Limit = 50,
    url: Database = None,
    journal: Journal = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show the runs that are known, the newest first: their flow, how they stand, how long they took.

    Example: hangtight flow ls --since 1d
    """
    from hangtight.cli.runs import Places, list_command

    raise typer.Exit(list_command(Places(url, journal, config), since, limit, as_json=as_json))


@app.command()
def show(
    run: RunId, url: Database = None, journal: Journal = None, as_json: AsJson = False, config: Config = None
) -> None:
    """Tell all about one run: its steps on a time line, their attempts, its heartbeats, and why it ended.

    Exits with 0, 1 if nothing is known of it, 2 if the command is wrong or the id is not enough.

    Example: hangtight flow show 7f3a21bc
    """
    from hangtight.cli.runs import Places, show_command

    raise typer.Exit(show_command(Places(url, journal, config), run, as_json=as_json))


@app.command()
def resume(run: RunId, url: Database = None, as_json: Lines = False, config: Config = None) -> None:
    """Go on with a run that was killed, cancelled or has failed: here, behind the steps that it has finished.

    Its deadline is still the one that it began with. Where it runs elsewhere, that is waited for. Exits as `run` does.

    Example: hangtight flow resume 7f3a21bc
    """
    from hangtight.cli.flowing import resume_command

    raise typer.Exit(resume_command(run, url, config, as_json=as_json))


@app.command()
def cancel(run: RunId, url: Database = None, config: Config = None) -> None:
    """End a run wherever it is done. What its steps have written until then is kept.

    Exits with 0, 1 where nothing of this name runs, 2 if the command is wrong.

    Example: hangtight flow cancel 7f3a21bc
    """
    from hangtight.cli.flowing import cancel_command

    raise typer.Exit(cancel_command(run, url, config))


@app.command()
def worker(url: Database = None, as_json: Lines = False, config: Config = None) -> None:
    """Do the runs that were submitted to a database, beside other workers, until Ctrl-C or SIGTERM.

    What a worker that dies was doing is taken up by the others. Steps that were finished are not done again.

    Example: hangtight flow worker --url postgresql://localhost/hangtight
    """
    from hangtight.cli.flowing import worker_command

    raise typer.Exit(worker_command(url, config, as_json=as_json))
