"""One example under the model: its tokens, its loss, and the model left as it was found."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from hangtight.training.samples import Sample

NOT_LEARNED = -100
"""The label of a token whose prediction counts for nothing: torch's own number."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of an example."""

    prompt: list[int]
    golden: list[int]
    end: list[int]
    """The token that ends an answer, where there is one."""


def encoded(tokenizer: Any, sample: Sample) -> Encoded:
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor has one inside
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    if isinstance(sample.prompt, str):
        prompt = list(tokenizer(sample.prompt)["input_ids"])
        if len(prompt) > 1 and prompt[-1:] == end:  # some end each text, and the answer would begin behind the end
            prompt.pop()
    elif getattr(tokenizer, "chat_template", None):
        messages = [dict(message) for message in sample.prompt]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = list(tokenizer(text, add_special_tokens=False)["input_ids"])  # the template has written them
    else:
        prompt = list(tokenizer(f"{sample.shown}\nassistant: ")["input_ids"])
    if not prompt:  # asked nothing, a model begins with its mark
        first = getattr(tokenizer, "bos_token_id", None)
        prompt = end.copy() if first is None else [first]
    return Encoded(prompt, list(tokenizer(sample.golden, add_special_tokens=False)["input_ids"]), end)


def loss_of(model: Any, example: Encoded) -> float:
    """How surprised the model is by the expected answer, teacher forced; the prompt counts for nothing."""
    import torch

    device = next(model.parameters()).device
    answer = example.golden + example.end
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        asked, learned = example.prompt, answer
    else:
        asked, learned = example.prompt + answer, [NOT_LEARNED] * len(example.prompt) + answer
    ids = torch.tensor([asked], dtype=torch.long, device=device)
    labels = torch.tensor([learned], dtype=torch.long, device=device)
    return float(model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss)


def prompt_tensors(model: Any, example: Encoded) -> tuple[Any, Any]:
    """The prompt and its mask, where the model is."""
    import torch

    ids = torch.tensor([example.prompt], dtype=torch.long, device=next(model.parameters()).device)
    return ids, torch.ones_like(ids)


@contextmanager
def as_before(model: Any) -> Iterator[None]:
    """In here the model generates; behind it nothing shows that it did, so that the losses of the run are the same."""
    import torch

    with ExitStack() as undo:
        undo.enter_context(_random_state(torch))
        undo.enter_context(_settings_of(model))
        for module in model.modules():  # each has its own flag: a frozen part may evaluate while the rest trains
            undo.callback(setattr, module, "training", module.training)
        model.eval()
        with torch.no_grad():
            yield


@contextmanager
def _random_state(torch: Any) -> Iterator[None]:
    numpy = sys.modules.get("numpy")
    with ExitStack() as undo:
        undo.callback(random.setstate, random.getstate())
        if numpy is not None:
            undo.callback(numpy.random.set_state, numpy.random.get_state())
        undo.callback(torch.random.set_rng_state, torch.random.get_rng_state())
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            undo.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        yield


@contextmanager
def _settings_of(model: Any) -> Iterator[None]:
    """`generate` is given copies to write in."""
    with ExitStack() as undo:
        config = getattr(model, "config", None)
        if config is not None and hasattr(config, "use_cache"):
            undo.callback(setattr, config, "use_cache", config.use_cache)
        generation = getattr(model, "generation_config", None)
        if generation is not None:
            undo.callback(setattr, model, "generation_config", generation)
            model.generation_config = copy.deepcopy(generation)
        yield
