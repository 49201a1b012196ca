"""For tests, ours and yours: a loop whose clock jumps, scripted models, scenarios as tables, and the fault lab.

>>> from hangtight.testing import Scenario, Silence, Tokens, play
>>> play(Scenario("slow to start", (Silence(60), Tokens(3)))).outcome.value
'finished'
"""

from hangtight.testing.loop import Deadlock, JumpingLoop, TasksLeft, jumping
from hangtight.testing.scenarios import Played, Scenario, play
from hangtight.testing.scripted import (
    Fails,
    Hang,
    NoReason,
    Pings,
    PromptRead,
    Said,
    ScriptedModel,
    Silence,
    Step,
    Thoughts,
    Tokens,
)

__all__ = [
    "Deadlock",
    "Fails",
    "Hang",
    "JumpingLoop",
    "NoReason",
    "Pings",
    "Played",
    "PromptRead",
    "Said",
    "Scenario",
    "ScriptedModel",
    "Silence",
    "Step",
    "TasksLeft",
    "Thoughts",
    "Tokens",
    "jumping",
    "play",
]
