"""`hangtight lab`: model servers and processes that misbehave on request, and what is seen in what they say."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hangtight.cli.settings import AsJson

# As hangtight.testing.lab has them (a test holds that): importing it would cost each --help 0.1 s.
HOST = "127.0.0.1"
PORT = 8399
TOKENS = 20
RATE = 50.0

app = typer.Typer(
    help="Models that misbehave on request, and what is seen in a text.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _length(help_text: str, group: str) -> Any:
    return typer.Option(min=0, metavar="S", help=help_text, rich_help_panel=group)


def _count(help_text: str, group: str, most: int | None = None) -> Any:
    return typer.Option(min=0, max=most, metavar="N", help=help_text, rich_help_panel=group)


def _flag(name: str, help_text: str, group: str) -> Any:
    return typer.Option(f"--{name}", help=help_text, rich_help_panel=group)


LOADS, SLEEPS, HANGS, ENDS, BESIDE = "Loading", "Sleeping, as vLLM does it", "Hanging", "Ending", "Beside its work"

LoadTime = Annotated[float, _length("Until it is loaded /health and the APIs answer 503, as llama.cpp's do.", LOADS)]
LoadProgress = Annotated[bool, _flag("load-progress", "Print `load 10 %`, and so on; the 503 tells it too.", LOADS)]
LatePort = Annotated[bool, _flag("late-port", "Open the port only when it is loaded.", LOADS)]
SleepTime = Annotated[float, _length("How long POST /sleep?level=1 takes; asleep the APIs answer 503.", SLEEPS)]
WakeTime = Annotated[float, _length("How long POST /wake_up takes. GET /is_sleeping tells.", SLEEPS)]
SleepFails = Annotated[bool, _flag("sleep-fails", "Then /sleep answers 500, and it stays awake.", SLEEPS)]
WakeFails = Annotated[bool, _flag("wake-fails", "Then /wake_up answers 500, and it sleeps on.", SLEEPS)]
HangsAfter = Annotated[int | None, _count("After N answers requests are taken, and nothing is sent.", HANGS)]
ClosesHealth = Annotated[float | None, _length("After S seconds /health says nothing any more.", HANGS)]
IgnoreSigterm = Annotated[bool, _flag("ignore-sigterm", "Only SIGKILL or Ctrl-C ends it.", ENDS)]
ExitAfter = Annotated[float | None, _length("End by itself after S seconds; 0 is before it listens.", ENDS)]
ExitCode = Annotated[int | None, _count("The status of that end, 1 if not given; alone it means at once.", ENDS, 255)]
Children = Annotated[int, _count("Start N processes that outlive it, the first in its own session.", BESIDE, 64)]
Rubbish = Annotated[bool, _flag("rubbish", "Print bytes without an end of line, for ever.", BESIDE)]
Chatty = Annotated[float, typer.Option(min=0, metavar="MB", help="Print so much log first.", rich_help_panel=BESIDE)]


class InGroups(TyperCommand):
    """Shows the options in their groups, also without rich."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if shown := option.get_help_record(ctx):
                groups.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(shown)
        for name, options in groups.items():
            with formatter.section(name):
                formatter.write_dl(options)


class WithGrammar(InGroups):
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
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="A loopback address.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = PORT,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="List this model alone; any is answered.")] = None,
    load_time: LoadTime = 0.0,
    load_progress: LoadProgress = False,
    late_port: LatePort = False,
    sleep_time: SleepTime = 0.0,
    wake_time: WakeTime = 0.0,
    sleep_fails: SleepFails = False,
    wake_fails: WakeFails = False,
    hangs_after: HangsAfter = None,
    closes_health: ClosesHealth = None,
    ignore_sigterm: IgnoreSigterm = False,
    exit_after: ExitAfter = None,
    exit_code: ExitCode = None,
    children: Children = 0,
    rubbish: Rubbish = False,
    chatty: Chatty = 0.0,
) -> None:
    """Serve the APIs of OpenAI, Anthropic and Ollama; the model name is the script.

    The options are for what starts, stops and wakes servers. GET /lab/counts and /lab/process tell what became of it.

    Example: hangtight lab serve, then ask it for the model mistral-7b,load=3,tokens=20,mute=5

    Example: hangtight lab serve --port 9001 --load-time 3 --sleep-time 1 --ignore-sigterm --children 2
    """
    raise typer.Exit(_be_server(host, port, model, ctx.params))


def _be_server(host: str, port: int, model: str | None, options: dict[str, Any]) -> int:
    from hangtight.testing.lab.lab import is_loopback
    from hangtight.testing.lab.manners import Manners, MannersError
    from hangtight.testing.lab.process import be_server

    if not is_loopback(host):
        raise typer.BadParameter(f"the lab listens on loopback only, and {host} is not: 127.0.0.1, ::1 or localhost")
    try:
        manners = Manners.of(options)
    except MannersError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    return be_server(host, port, typer.echo, model=model, manners=manners)


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
