"""What of a request is changed on its way to the server of a model: llama-swap's filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hangtight.dialects.dialect import Body
    from hangtight.rules.serving import Serving


@dataclass(frozen=True, slots=True)
class Filters:
    """Those of one model. They touch the top of the JSON alone, and the settings keep `model` out of them."""

    strip: tuple[str, ...] = ()
    """Taken out."""
    put: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Put in, whatever stood there."""
    put_by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """The same, last, by the name under which the model was asked."""

    def __bool__(self) -> bool:
        return bool(self.strip or self.put or self.put_by_id)

    def applied(self, body: Body, asked_as: str) -> Body:
        """The body that goes on. The one that came is left as it was."""
        kept = {name: value for name, value in body.items() if name not in self.strip}
        return {**kept, **self.put, **self.put_by_id.get(asked_as, {})}


UNFILTERED = Filters()


def filters_of(serving: Serving) -> Filters:
    """What the settings say about it."""
    found = Filters(serving.strip, serving.set, serving.set_by_id)
    return found or UNFILTERED
