"""The commands, each in a room of its own, behind one name."""

from __future__ import annotations

import typer

import hangtight
from hangtight.cli import ask, check, demo, explain, flow, init, lab, log, model, run, serve, stats, top

app = typer.Typer(
    name="hangtight",
    help="The time layer for language-model generations: what works is not killed, what hangs does not survive.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hangtight {hangtight.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Example: hangtight run --idle 45 -- llama-cli -m model.gguf -p 'Hello'"""


app.command(name="run", context_settings={"allow_interspersed_args": False})(run.run)
app.command(name="ask")(ask.ask)
app.command(name="serve")(serve.serve)
app.command(name="demo")(demo.demo)
app.command(name="init")(init.init)
app.command(name="top")(top.top)
app.command(name="explain")(explain.explain)
app.command(name="check")(check.check)
app.command(name="log")(log.log)
app.command(name="stats")(stats.stats)
app.add_typer(model.app, name="model")
app.add_typer(flow.app, name="flow")
app.add_typer(lab.app, name="lab")
