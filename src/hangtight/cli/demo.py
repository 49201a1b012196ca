"""`hangtight demo`: a tour with a gateway and the lab behind it; no model is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtight.cli.settings import AsJson
from hangtight.rules.running import GATEWAY_PORT

SLOWEST, FASTEST = 0.2, 4.0  # above that the start of a process is longer than what is shown
SCENES = 6  # as hangtight.cli.tour_scenes has them (a test holds that): importing it would cost each --help


def demo(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = GATEWAY_PORT,
    stay: Annotated[bool, typer.Option("--stay/--no-stay", help="Stay up after the tour, until Ctrl-C.")] = True,
    speed: Annotated[float, typer.Option(min=SLOWEST, max=FASTEST, help="2 is twice as fast.")] = 1.0,
    scene: Annotated[int | None, typer.Option(min=1, max=SCENES, metavar="N", help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what it does, live: a gateway, models that misbehave behind it, and a tour of six scenes.

    Needs no model. Then it stays up, to look at and to try, until Ctrl-C. Exits with 1 if a scene did not come out
    as it should.

    Example: hangtight demo, or hangtight demo --scene 3 --no-stay
    """
    from hangtight.cli.tour import Plan, demo_command

    raise typer.Exit(demo_command(Plan(port=port, stays=stay, speed=speed, scene=scene, as_json=as_json)))
