"""For tests, ours and yours: a loop whose clock jumps, scripted models, scenarios as tables, and the fault lab.

>>> from hangtight.testing import Scenario, Silence, Tokens, play
>>> play(Scenario("slow to start", (Silence(60), Tokens(3)))).outcome.value
'finished'

Every name below is loaded when it is first used: the lab needs none of them, and starts in half the time.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hangtight.testing.loop import Deadlock as Deadlock
    from hangtight.testing.loop import JumpingLoop as JumpingLoop
    from hangtight.testing.loop import TasksLeft as TasksLeft
    from hangtight.testing.loop import jumping as jumping
    from hangtight.testing.scenarios import Played as Played
    from hangtight.testing.scenarios import Scenario as Scenario
    from hangtight.testing.scenarios import play as play
    from hangtight.testing.scripted import Fails as Fails
    from hangtight.testing.scripted import Hang as Hang
    from hangtight.testing.scripted import NoReason as NoReason
    from hangtight.testing.scripted import Pings as Pings
    from hangtight.testing.scripted import PromptRead as PromptRead
    from hangtight.testing.scripted import Said as Said
    from hangtight.testing.scripted import ScriptedModel as ScriptedModel
    from hangtight.testing.scripted import Silence as Silence
    from hangtight.testing.scripted import Step as Step
    from hangtight.testing.scripted import Thoughts as Thoughts
    from hangtight.testing.scripted import Tokens as Tokens

_ROOMS = {
    "loop": ("Deadlock", "JumpingLoop", "TasksLeft", "jumping"),
    "scenarios": ("Played", "Scenario", "play"),
    "scripted": (
        "Fails",
        "Hang",
        "NoReason",
        "Pings",
        "PromptRead",
        "Said",
        "ScriptedModel",
        "Silence",
        "Step",
        "Thoughts",
        "Tokens",
    ),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_WHERE)  # noqa: PLE0605 - names of the table above


def __getattr__(name: str) -> object:
    """Loads late, as `hangtight` itself does."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hangtight.testing' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"hangtight.testing.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
