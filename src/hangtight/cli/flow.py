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
    """Show the runs that are known, newest first.

    With --url only those that are kept there; else those of the journal, too.

    Example: hangtight flow ls --since 1d
    """
    from hangtight.cli.runs import Places, list_command

    raise typer.Exit(list_command(Places(url, journal, config), since, limit, as_json=as_json))


@app.command()
def show(
    run: RunId, url: Database = None, journal: Journal = None, as_json: AsJson = False, config: Config = None
) -> None:
    """Show one run on a time line, and why it ended.

    Its steps, all their attempts, heartbeats, and where it was interrupted. A thin bar is a life before the last one.
    Exits with 0, 1 if nothing is known of it, 2 if the command is wrong or the id is not enough.

    Example: hangtight flow show 7f3a21bc
    """
    from hangtight.cli.runs import Places, show_command

    raise typer.Exit(show_command(Places(url, journal, config), run, as_json=as_json))


@app.command()
def resume(run: RunId, url: Database = None, as_json: Lines = False, config: Config = None) -> None:
    """Go on with a run that was killed, cancelled or failed.

    It goes on here, behind the steps that it has finished, and its deadline is still the one that it began with. Where
    another process does it, that is waited for and told, and Ctrl-C ends only the waiting. Exits as `run` does.

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
def rm(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Their ids, or the beginnings.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="All that have ended before: 12h, 30d, 4w.")
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Also what their steps have put out in the workspace.")
    ] = False,
    url: Database = None,
    journal: Journal = None,
    config: Config = None,
) -> None:
    """Remove runs, with their prompts and outputs, from where runs are kept, and what the journal tells of them.

    One that runs, or waits, is refused: cancel it first. A run that is only interrupted cannot go on then. Exits with
    0, 1 where one of them is not known or not over, 2 if the command is wrong.

    Example: hangtight flow rm --older-than 30d
    """
    from hangtight.cli.removing import remove_command
    from hangtight.cli.runs import Places

    raise typer.Exit(remove_command(Places(url, journal, config), runs or (), older_than, files=files))


@app.command()
def worker(
    url: Database = None,
    at_once: Annotated[
        int, typer.Option("--at-once", metavar="N", min=1, max=1_000_000, help="At most so many runs; others wait.")
    ] = 50,
    as_json: Lines = False,
    config: Config = None,
) -> None:
    """Do the runs that were submitted to a database, beside other workers, until Ctrl-C or SIGTERM.

    What a worker that dies was doing is taken up by the others. Steps that were finished are not done again.

    Example: hangtight flow worker --url postgresql://localhost/hangtight --at-once 8
    """
    from hangtight.cli.flowing import worker_command

    raise typer.Exit(worker_command(url, config, at_once, as_json=as_json))
