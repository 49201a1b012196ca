"""Tiny models and a tokenizer, made on the spot: nothing is downloaded. torch is imported inside, by who needs it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PAD, EOS, BOS, UNKNOWN = 0, 1, 2, 3
SPECIAL = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS, "<unk>": UNKNOWN}
VOCAB = 128
ENDLESS = 100_000
"""New tokens that nobody waits for."""


def tiny_model(kind: str = "llama", *, seed: int = 0, **config: Any) -> Any:
    """A random model with 2 layers of 32: `llama`, `gpt2` (2,048 positions), `t5` (with an encoder)."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, T5Config
    from transformers import T5ForConditionalGeneration as T5

    torch.set_num_threads(1)
    ids = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS, "vocab_size": VOCAB}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match kind:
            case "llama":
                sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
                model = LlamaForCausalLM(LlamaConfig(**{**ids, **sizes, "max_position_embeddings": 1 << 20, **config}))
            case "gpt2":
                sizes = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 2048}
                model = GPT2LMHeadModel(GPT2Config(**{**ids, **sizes, **config}))
            case "t5":
                sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
                model = T5(T5Config(**{**ids, **sizes, "decoder_start_token_id": PAD, **config}))
            case _:
                raise ValueError(kind)
    return model.eval()


def tiny_tokenizer() -> Any:
    """Words `w4`, `w5`, ... for the tokens, with spaces between them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {**SPECIAL, **{f"w{number}": number for number in range(len(SPECIAL), VOCAB)}}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def prompt(rows: int = 1, length: int = 4) -> Any:
    """Token ids of a prompt, without any special one."""
    import torch

    return torch.arange(rows * length).reshape(rows, length) % 50 + 10


def saying(*rows: Sequence[int], then: int | None = None, start: int = 4) -> list[Any]:
    """Logits processors that make row after row say these tokens, and then the same one again and again.

    Without `then` it never says the end mark, and is free otherwise. The prompt has `start` tokens.
    """
    import torch

    def forced(ids: Any, scores: Any) -> Any:
        step, scores = ids.shape[1] - start, scores.clone()
        scores[:, : len(SPECIAL)] = -torch.inf
        for number in range(ids.shape[0]):
            said = rows[number % len(rows)] if rows else ()
            token = said[step] if step < len(said) else then
            if token is not None:
                scores[number] = -torch.inf
                scores[number, token] = 0.0
        return scores

    return [forced]


def endless() -> list[Any]:
    """It never says the end mark."""
    return saying()


@contextmanager
def before_each_forward(model: Any, act: Callable[[int], object]) -> Iterator[None]:
    """While the block runs, `act` is called before each forward of the model, with its number from 0."""
    count = 0

    def hook(*_: Any) -> None:
        nonlocal count
        number, count = count, count + 1
        act(number)

    handle = model.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def slowed(model: Any, seconds: float) -> Any:
    """Each forward takes so much longer."""
    return before_each_forward(model, lambda _: time.sleep(seconds))
