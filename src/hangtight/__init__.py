"""The time layer for language-model generations.

>>> import hangtight
>>> for chunk in hangtight.watch(["to", "kens"], idle=45, total=600):
...     print(chunk)
to
kens
>>> hangtight.generate("Why is the sky blue?", model="qwen3-coder", mode="deep")            # doctest: +SKIP
>>> openai.OpenAI(http_client=hangtight.http.client(idle=45, fallback=["qwen3:1.7b"]))      # doctest: +SKIP

Every name below is loaded when it is first used: importing hangtight loads nothing else.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hangtight import http as http
    from hangtight.core.heartbeat import Heartbeat as Heartbeat
    from hangtight.core.limits import Limits as Limits
    from hangtight.drivers.budget.task import budget as budget
    from hangtight.drivers.child import achild as achild
    from hangtight.drivers.child import child as child
    from hangtight.drivers.generating import Answer as Answer
    from hangtight.drivers.generating import agenerate as agenerate
    from hangtight.drivers.generating import astream as astream
    from hangtight.drivers.generating import generate as generate
    from hangtight.drivers.generating import stream as stream
    from hangtight.drivers.given import limits as limits
    from hangtight.drivers.standing import configure as configure
    from hangtight.drivers.watch import Watch as Watch
    from hangtight.drivers.watch import watch as watch
    from hangtight.errors import BackendError as BackendError
    from hangtight.errors import BudgetSpent as BudgetSpent
    from hangtight.errors import FirstTokenTimeout as FirstTokenTimeout
    from hangtight.errors import GenerationTimeout as GenerationTimeout
    from hangtight.errors import HangtightError as HangtightError
    from hangtight.errors import IdleTimeout as IdleTimeout
    from hangtight.errors import LoadTimeout as LoadTimeout
    from hangtight.errors import Looping as Looping
    from hangtight.errors import QueueTimeout as QueueTimeout
    from hangtight.errors import SettingsError as SettingsError
    from hangtight.errors import TotalTimeout as TotalTimeout
    from hangtight.errors import Truncated as Truncated

__version__ = "0.1.0"

_WHERE = {
    "Answer": "drivers.generating",
    "Heartbeat": "core.heartbeat",
    "Limits": "core.limits",
    "Watch": "drivers.watch",
    "achild": "drivers.child",
    "agenerate": "drivers.generating",
    "astream": "drivers.generating",
    "budget": "drivers.budget.task",
    "child": "drivers.child",
    "configure": "drivers.standing",
    "generate": "drivers.generating",
    "http": "http",
    "limits": "drivers.given",
    "stream": "drivers.generating",
    "watch": "drivers.watch",
    "BackendError": "errors",
    "BudgetSpent": "errors",
    "FirstTokenTimeout": "errors",
    "GenerationTimeout": "errors",
    "HangtightError": "errors",
    "IdleTimeout": "errors",
    "LoadTimeout": "errors",
    "Looping": "errors",
    "QueueTimeout": "errors",
    "SettingsError": "errors",
    "TotalTimeout": "errors",
    "Truncated": "errors",
}

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604 - names of the table above


def __getattr__(name: str) -> object:
    """The front door: PEP 562."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hangtight' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"hangtight.{_WHERE[name]}")
    value = module if _WHERE[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
