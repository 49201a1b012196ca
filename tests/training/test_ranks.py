"""Two processes that generate together, one of them slow, as real ranks of torch.distributed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = 100.0

pytestmark = [pytest.mark.torch, pytest.mark.real, pytest.mark.timeout(2 * ENOUGH)]


def ranks(how: str) -> list[dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    env = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.training.rank_worker", how]
    started = [
        subprocess.Popen(
            command,
            env=env | {"RANK": str(rank)},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=ENOUGH) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert all(process.returncode == 0 for process in started), said
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def test_all_ranks_in_lockstep_stop_at_the_same_step_when_the_time_of_one_is_over() -> None:
    one, two = ranks("in lockstep")
    assert (one["verdict"], two["verdict"]) == ("timed out", "timed out")
    assert (one["ended_by"], two["ended_by"]) == ("ranks", "ranks")
    assert one["tokens"] == two["tokens"]
    assert one["tokens"][0] > 0
    assert one["layers"] == ["criterion", "ranks", "named"]
    assert one["clean"]
    assert two["clean"]


def test_a_rank_that_has_finished_is_whole_and_still_ends_the_others_in_its_time() -> None:
    one, two = ranks("one has finished")
    assert (one["verdict"], one["tokens"]) == ("finished", [2, 2])
    assert (two["verdict"], two["ended_by"]) == ("timed out", "ranks")
    assert two["elapsed"] < 3.0


def test_ranks_that_do_not_need_each_other_have_their_own_clocks() -> None:
    one, two = ranks("ddp")
    assert (one["ended_by"], two["ended_by"]) == ("criterion", "criterion")
    assert one["elapsed"] < 3.0 <= two["elapsed"]
    assert one["layers"] == ["criterion", "alarm", "named"]
