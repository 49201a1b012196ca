"""`hangtight lab`: model servers and processes that misbehave on request, and what is seen in what they say."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hangtight.cli.settings import AsJson

PORT = 8399
# As hangtight.testing.lab.script has them (a test holds that): importing it would cost each --help 0.1 s.
TOKENS = 20
RATE = 50.0

app = typer.Typer(
    help="Models that misbehave on request, and what is seen in a text.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class WithGrammar(TyperCommand):
    """Ends its help with the APIs and the items of a script."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from hangtight.testing.lab.items import EXAMPLES, ITEMS
        from hangtight.testing.lab.server import APIS

        with formatter.section("The APIs"):
            formatter.write_dl([(f"POST {path}", api.name) for path, api in APIS.items()])
        with formatter.section("The items of a script"):
            formatter.write_dl([(f"{name}{EXAMPLES[item.kind]}", item.help) for name, item in ITEMS.items()])


@app.command(cls=WithGrammar)
def serve(
    *,
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = PORT,
) -> None:
    """Serve the APIs of OpenAI, Anthropic and Ollama; the model name is the script.

    Example: hangtight lab serve, then ask it for the model mistral-7b,load=3,tokens=20,mute=5
    """
    import asyncio

    from hangtight.testing.lab.lab import is_loopback
    from hangtight.testing.lab.lab import serve as serve_lab

    if not is_loopback(host):
        raise typer.BadParameter(f"the lab listens on loopback only, and {host} is not: 127.0.0.1, ::1 or localhost")
    try:
        asyncio.run(serve_lab(host, port, typer.echo))
    except OSError as taken:
        typer.echo(f"cannot listen on {host}:{port}: {taken.strerror or taken}", err=True)
        raise typer.Exit(1) from taken


@app.command()
def child(
    *,
    load: Annotated[float, typer.Option(min=0, help="Seconds of loading before the first token.")] = 0.0,
    load_progress: Annotated[
        bool, typer.Option("--load-progress", help="Print the load's progress to stderr.")
    ] = False,
    tokens: Annotated[int, typer.Option(min=0, help="How many tokens it says.")] = TOKENS,
    rate: Annotated[float, typer.Option(min=0.001, help="Tokens a second.")] = RATE,
    mute_after: Annotated[int | None, typer.Option(min=0, help="Hang after so many tokens.")] = None,
    die_after: Annotated[int | None, typer.Option(min=0, help="End after so many tokens.")] = None,
    exit_code: Annotated[int, typer.Option(min=0, max=255, help="The exit status.")] = 0,
    signal: Annotated[str | None, typer.Option(metavar="NAME", help="Die by this signal instead.")] = None,
    ignore_term: Annotated[bool, typer.Option("--ignore-term", help="Ignore SIGTERM.")] = False,
    grandchild: Annotated[bool, typer.Option("--grandchild", help="Start one that holds stdout open.")] = False,
    stderr: Annotated[str, typer.Option(metavar="TEXT", help="Print this to stderr first.")] = "",
) -> None:
    """Be a model process: load, print tokens as they come, then end, hang or die.

    Example: hangtight run --idle 2 -- hangtight lab child --load 1 --mute-after 5
    """
    from hangtight.testing.lab import child as model

    if mute_after is not None and (die_after is not None or signal or exit_code):
        raise typer.BadParameter("--mute-after hangs: it excludes --die-after, --exit-code and --signal")
    after = die_after if mute_after is None else mute_after
    try:
        number = model.signal_named(signal) if signal else None
        ending = model.Ending(mute=mute_after is not None, after=after, code=exit_code, signal=number)
        habits = model.Habits(ignores_term=ignore_term, grandchild=grandchild, stderr=stderr)
        told = model.Child(load=load, shows_load=load_progress, tokens=tokens, rate=rate, ending=ending, habits=habits)
    except model.ChildError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    raise typer.Exit(model.play(told))


@app.command()
def intent(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A text, or JSON lines with --field; - is stdin.")
    ] = None,
    field: Annotated[
        str | None,
        typer.Option("--field", metavar="NAME", help="Each line is a JSON object with a text here; a.b is b within a."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is seen in a text as it would arrive: phases, what repeats, where it would be cut, what would be kept.

    With --json each finding is one line. Exits with 0 whatever is found, with 2 if the file or a line cannot be used.

    Example: hangtight lab intent answer.txt, or hangtight lab intent --field message.content --json log.jsonl
    """
    from hangtight.cli.intent import intent_command

    raise typer.Exit(intent_command(file, field, as_json=as_json))
