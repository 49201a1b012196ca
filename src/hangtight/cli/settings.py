"""What the commands share: how a limit is written on a command line, and how a bad one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from hangtight.rules.settings import Settings

USAGE = 2


def _limit_option(name: str, help_text: str) -> Any:
    """An option like `--first-token 30`."""
    return typer.Option(f"--{name.replace('_', '-')}", metavar="SECONDS", help=help_text, show_default=False)


FirstToken = Annotated[str | None, _limit_option("first_token", "Silence before the first piece [45, +60 for a load].")]
Idle = Annotated[str | None, _limit_option("idle", "Silence in the middle [45].")]
Total = Annotated[str | None, _limit_option("total", "The whole call [600].")]
Load = Annotated[str | None, _limit_option("load", "A load that the server shows, without load progress [300].")]
Thinking = Annotated[str | None, _limit_option("thinking", "Silence while it reasons [300].")]
Beat = Annotated[
    str | None, _limit_option("heartbeat", "A sign of life on stderr; 0 = off [15 on a terminal, else off].")
]
ExtendTo = Annotated[
    str | None,
    _limit_option("extend_to", "How far the total is moved up while the text is getting on [twice the mode's]."),
]
Intent = Annotated[
    bool | None,
    typer.Option(
        "--intent/--no-intent",
        help="What the text says moves the deadline, and a loop is ended [on in a mode].",
        show_default=False,
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode", metavar="MODE", help="fast (30 s), deep (120 s), search (60 s in all), or one of the settings."
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="The settings [hangtight.yaml, here or in the user's folder]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Journal = Annotated[
    str | None,
    typer.Option("--journal", metavar="URL", help="A path, or postgresql://... [as the settings say]."),
]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="90m, 1h, 2d, or 2026-11-21T08:30.")]


def limits_of(intent: bool | None = None, **written: str | None) -> dict[str, Any]:
    """The limits that were really written, with `90s`, `20m`, `1h` and `none` understood, and what goes with them."""
    from hangtight.errors import SettingsError

    if intent is False and written.get("extend_to") is not None:
        fail("--extend-to does nothing with --no-intent: give one of them", USAGE)
    said = {} if intent is None else {"intent": intent}
    try:
        return said | {name: _limit(name, text) for name, text in written.items() if text is not None}
    except SettingsError as error:
        fail(f"--{error.name.replace('_', '-')} {error.found} cannot be used: it must be {error.wanted}", USAGE)


def _limit(name: str, text: str) -> float | None:
    from hangtight.core.limits import checked
    from hangtight.errors import SettingsError
    from hangtight.rules.lengths import NO_LIMIT, seconds_in

    if text.strip().lower() in NO_LIMIT:
        return None
    try:
        number = seconds_in(text)
    except ValueError:
        raise SettingsError(name, text, "a number of seconds (45, 90s, 20m, 1h), or none for no limit") from None
    try:
        checked(name, number)
    except SettingsError as error:
        raise SettingsError(name, text, error.wanted.replace("None", "none")) from None
    return number


def use(config: str | None, *, keeps: bool = True) -> Settings:
    """The settings in force from now on, and their journal; without `keeps` they are only looked at.

    Whatever is wrong with them ends the command, all of it at once.
    """
    from hangtight.drivers import clock
    from hangtight.drivers.standing import configure, followed
    from hangtight.errors import HangtightError
    from hangtight.rules.errors import SettingsErrors

    if config is not None and not config.strip():
        fail("--config needs the name of a file", USAGE)
    try:
        return configure(config) if keeps else followed(config, search=True).settings(clock.now())
    except SettingsErrors as errors:
        fail(f"the settings cannot be used\n{errors}", USAGE)
    except HangtightError as error:
        fail(str(error), USAGE)


def fail(message: str, code: int) -> NoReturn:
    """One message on stderr, and the exit."""
    from hangtight.cli.process import fitted, say

    say(f"{fitted(f'hangtight: {message}')}\n")
    raise typer.Exit(code)
