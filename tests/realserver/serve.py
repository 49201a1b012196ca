"""The server's own process: `python serve.py MODEL SLOTS`. Says its address in one line and serves until stdin ends.

Started by path, so that nothing of ours is loaded here. That stdin ends also when the tests were killed. With a port as
third word it is there at that port until somebody ends it, as who supervises servers wants it.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any

CONTEXT = 2048
BATCH = 128  # small, so that reading a long prompt has several steps to tell of


xllamacpp: Any = import_module("xllamacpp")  # it has no types, and is not installed everywhere


def parameters(model: str, slots: int, port: int = 0) -> Any:
    wanted = xllamacpp.CommonParams()
    wanted.model.path = model
    wanted.model_alias = {"tiny"}
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = port
    wanted.n_parallel = slots
    wanted.n_ctx = CONTEXT * slots
    wanted.ctx_shift = True  # a full context does not end the answer
    wanted.n_batch = wanted.n_ubatch = BATCH
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 1  # more fight over the cores of a small machine
    wanted.endpoint_slots = wanted.endpoint_metrics = True
    return wanted


def main() -> None:
    server = xllamacpp.Server(parameters(sys.argv[1], *map(int, sys.argv[2:])))
    print(server.listening_address, flush=True)
    if len(sys.argv) > 3:  # a port
        signal.pause()
    sys.stdin.read()
    os._exit(0)  # the server waits for its streams when it is taken down properly


if __name__ == "__main__":
    main()
