"""`hangtight ask`: one question, with the clocks in sight."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import Config, ExtendTo, FirstToken, Idle, Intent, Load, Mode, Thinking, Total, limits_of

Beat = Annotated[
    str | None,
    typer.Option(
        "--heartbeat", metavar="SECONDS", help="A sign of life on stderr, in a pipe [off].", show_default=False
    ),
]
Fallback = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback", metavar="NAME", help="Asked if the model fails before its first token; may be repeated."
    ),
]


Prompt = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PROMPT]", help="The question; `-`, or a pipe and no question, reads it from stdin."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="[the mode's first, else the one that is loaded]"),
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="[a server found on this machine]")]


def ask(
    prompt: Prompt = None,
    model: Model = None,
    url: Url = None,
    mode: Mode = None,
    fallback: Fallback = None,
    first_token: FirstToken = None,
    idle: Idle = None,
    total: Total = None,
    extend_to: ExtendTo = None,
    load: Load = None,
    thinking: Thinking = None,
    heartbeat: Beat = None,
    intent: Intent = None,
    think: Annotated[bool, typer.Option("--think", help="Ask for reasoning, and allow its time.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, at the end.")] = False,
    config: Config = None,
) -> None:
    """Ask a model one question: the answer as it comes, and on a terminal how its time stands, also beside a file.

    The server is the one at --url, the model's `proxy` in the settings, $OLLAMA_HOST or $OPENAI_BASE_URL, else the
    first on the usual ports of this machine. In a mode, an answer that is getting on may take longer than the total,
    and one that repeats itself is ended. Exits with 0, with 124 after a timeout or a loop, 1 if the server fails, 2
    if the command is wrong, 128 + N after signal N. SECONDS may be written 90, 90s, 20m, 1h, or none for no limit.

    Example: hangtight ask "Why is the sky blue?"
    """
    silences = {"first_token": first_token, "idle": idle, "load": load, "thinking": thinking}
    limits = limits_of(intent, **silences, total=total, extend_to=extend_to, heartbeat=heartbeat)
    from hangtight.cli.asking import Whom, Wish, ask_command

    wish = Wish(
        prompt or [], Whom(model, url, tuple(fallback or ())), mode=mode, think=think, as_json=as_json, limits=limits
    )
    raise typer.Exit(ask_command(wish, config))
