"""Models that hang, die or break at a step: at the top level of a module, so that another process can be sent them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from tests.training.kit import BOS, EOS, PAD, VOCAB

FORWARDS = [0]
"""Not on the model: what changes there is sent anew."""


class Trouble(LlamaForCausalLM):  # type: ignore[misc]
    """At forward number `at` of a generation, it does `what`. Each of its forwards takes `pace` longer."""

    what = ""
    at = 0
    pace = 0.0

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        FORWARDS[0] = 0
        return super().generate(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.pace:
            time.sleep(self.pace)
        if self.what and FORWARDS[0] == self.at:
            getattr(self, self.what)()
        FORWARDS[0] += 1
        return super().forward(*args, **kwargs)

    def hang_with_the_lock(self) -> None:
        ctypes.PyDLL(None).pause()

    def hang_without_the_lock(self) -> None:
        ctypes.CDLL(None).pause()

    def hang_in_python(self) -> None:
        while True:
            pass

    def be_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def crash(self) -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    def fail(self) -> None:
        raise ArithmeticError("no such number")


class Telling(Trouble):
    """Its `generate` says in which mode and under which settings it was called."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return {"training": self.training, "longest": self.generation_config.max_new_tokens, "pid": os.getpid()}


class Deaf(Trouble):
    """It asks the stopping criteria, and never stops."""

    def generate(self, inputs: Any, stopping_criteria: Any, **_: Any) -> Any:
        import torch

        while True:
            inputs = torch.cat([inputs, inputs[:, -1:]], dim=1)
            stopping_criteria(inputs, None)


def trouble(what: str = "", at: int = 0, *, kind: type = Trouble, **config: Any) -> Any:
    import torch

    ids = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS, "vocab_size": VOCAB}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(LlamaConfig(**{**ids, **sizes, "max_position_embeddings": 1 << 20, **config})).eval()
    model.what, model.at = what, at
    return model
