"""Whether an example fits into the positions of a model, and how long its answer may become there.

A model that has learned each of its positions has none behind the last one: what goes further ends in an index that
does not exist, which on a GPU costs the whole process. Positions that are computed have no such end.
"""

from __future__ import annotations

from typing import Any

from hangtight.training.scoring import Encoded

LEARNED = ("wpe", "pos")
"""In the names of what learns positions: `wpe`, `embed_positions`, `position_embeddings`."""


class UnfitError(ValueError):
    """This example cannot be shown to this model. Says why."""


def positions_of(model: Any) -> int | None:
    """How many there are; None where that is no end."""
    import torch

    config = getattr(model, "config", None)
    said = getattr(config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and any(mark in name.rpartition(".")[2] for mark in LEARNED):
            found = int(module.num_embeddings)
            return min(found, said) if isinstance(said, int) else found
    return None


def room_for(model: Any, example: Encoded) -> int | None:
    """New tokens that have a place behind this prompt; None is any number. An example without a place is refused."""
    if not example.prompt:
        raise UnfitError("its prompt has no token, and the tokenizer knows none to begin with")
    positions = positions_of(model)
    if positions is None:
        return None
    apart = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    used = 1 if apart else len(example.prompt)
    if len(example.prompt) > positions or used >= positions:
        raise UnfitError(f"its prompt has {len(example.prompt)} tokens, the model has {positions} positions")
    return positions - used


def refuse_a_loss_without_room(model: Any, example: Encoded) -> None:
    answer, room = len(example.golden) + len(example.end), room_for(model, example)
    if room is not None and answer > room:
        raise UnfitError(f"the expected answer has {answer} tokens, behind the prompt there is room for {room}")
