"""`isolate=True`: a process of its own, which sees today's weights, and which can be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import BackendError, LoadTimeout, SettingsError

pytestmark = [pytest.mark.torch, pytest.mark.real, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def warm() -> Iterator[Any]:
    """One model whose process is kept over the tests that end nothing."""
    pytest.importorskip("transformers")
    sys.path.insert(0, str(ROOT))
    try:
        from hangtight.training.isolated import isolated
        from tests.training.hanging_models import trouble

        model = trouble()
        yield model
        isolated(model).close()
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture
def made() -> Iterator[Any]:
    """Makes models, and closes their isolations afterwards."""
    from hangtight.training.isolated import isolated
    from tests.training.hanging_models import trouble

    models: list[Any] = []

    def make(*args: Any, **kwargs: Any) -> Any:
        models.append(trouble(*args, **kwargs))
        return models[-1]

    yield make
    for model in models:
        isolated(model).close()


def asked(rows: int = 1, new: int = 8, **more: Any) -> dict[str, Any]:
    from tests.training.kit import prompt

    return {"inputs": prompt(rows), "max_new_tokens": new, "do_sample": False, **more}


def came(model: Any, *, limit: float = 30, on_tokens: Any = None, **settings: Any) -> Any:
    from hangtight.training.isolated import isolated

    return isolated(model).generate(asked(**settings), limit=limit, on_tokens=on_tokens)


def same(one: Any, other: Any) -> bool:
    import torch

    return bool(torch.equal(one, other))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def gone_soon(pid: int) -> bool:
    until = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return is_gone(pid)


def test_it_answers_as_the_model_here_would_and_says_each_token(warm: Any) -> None:
    seen: list[int] = []
    result = came(warm, rows=2, on_tokens=lambda rows: seen.append(len(rows[0])))
    assert same(result.output, warm.generate(**asked(2)))
    assert result.rows == result.output[:, 4:].tolist()
    assert seen == list(range(1, 9))
    assert not result.killed
    assert not result.stopped


def test_a_warm_process_sees_the_weights_of_today_without_being_sent_them(warm: Any) -> None:
    import torch

    from hangtight.training.isolated import isolated

    isolation = isolated(warm)
    before, pid, structure = came(warm), isolation.pid, isolation._structure
    optimizer = torch.optim.AdamW(warm.parameters(), lr=0.3)
    warm(input_ids=asked()["inputs"], labels=asked()["inputs"]).loss.backward()
    optimizer.step()
    after = came(warm)
    assert not same(before.output, after.output)
    assert same(after.output, warm.generate(**asked()))
    assert isolation.pid == pid
    assert isolation._structure is structure


def test_weights_that_were_put_in_the_place_of_others_are_sent_anew(warm: Any) -> None:
    import torch

    from hangtight.training.isolated import isolated

    came(warm)
    pid = isolated(warm).pid
    other = {name: tensor.clone().mul_(-1) for name, tensor in warm.state_dict().items()}
    warm.load_state_dict(other, assign=True)
    assert same(came(warm).output, warm.generate(**asked()))
    warm.lm_head = torch.nn.Linear(32, 128)
    assert same(came(warm).output, warm.generate(**asked()))
    assert isolated(warm).pid == pid


def test_tied_weights_are_one_tensor_there_too(made: Any) -> None:
    import torch

    model = made(tie_word_embeddings=True)
    came(model)
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.randn_like(model.lm_head.weight))
    assert same(came(model).output, model.generate(**asked()))


def test_mode_and_settings_are_as_at_the_call(made: Any) -> None:
    from tests.training.hanging_models import Telling

    model = made(kind=Telling)
    model.train()
    model.generation_config.max_new_tokens = 7
    first = came(model).output
    model.eval()
    model.generation_config.max_new_tokens = 9
    second = came(model).output
    assert (first["training"], first["longest"]) == (True, 7)
    assert (second["training"], second["longest"]) == (False, 9)
    assert first["pid"] == second["pid"] != os.getpid()


def test_at_the_limit_it_stops_between_two_tokens_and_keeps_the_output(warm: Any) -> None:
    result = came(warm, limit=0.3, new=100_000, eos_token_id=None)
    assert result.stopped
    assert not result.killed
    assert result.rows == result.output[:, 4:].tolist()


def test_who_reads_the_tokens_may_stop_one_row_or_all(warm: Any) -> None:
    def first_row_then_all(rows: Any) -> Any:
        return True if len(rows[0]) >= 12 else [0] if len(rows[0]) >= 3 else None

    settings: dict[str, Any] = {
        "eos_token_id": 126,
        "suppress_tokens": [0, 126],
        "pad_token_id": 0,
    }  # it never ends by itself
    result = came(warm, rows=2, new=100_000, **settings, on_tokens=first_row_then_all)
    assert result.stopped
    assert set(result.rows[0][6:]) == {0}
    assert 0 not in result.rows[1]


def test_beams_are_told_whole_because_they_change_places(warm: Any) -> None:
    seen: list[int] = []
    result = came(warm, num_beams=2, on_tokens=lambda rows: seen.append(len(rows[0])))
    assert seen == sorted(set(seen))
    assert same(result.output, warm.generate(**asked(num_beams=2)))


def test_random_numbers_here_are_left_alone_and_a_run_is_repeatable(warm: Any) -> None:
    import torch

    from hangtight.training.isolated import isolated

    isolated(warm)._calls = 0
    state = torch.get_rng_state()
    first, second = came(warm, do_sample=True, new=20), came(warm, do_sample=True, new=20)
    assert same(torch.get_rng_state(), state)
    assert first.rows != second.rows
    isolated(warm)._calls = 0
    assert came(warm, do_sample=True, new=20).rows == first.rows


def test_an_error_over_there_is_raised_here_and_the_process_goes_on(warm: Any) -> None:
    from hangtight.training.isolated import isolated

    came(warm)
    pid = isolated(warm).pid
    warm.what, warm.at = "fail", 2
    try:
        with pytest.raises(ArithmeticError, match="no such number") as caught:
            came(warm)
    finally:
        warm.what = ""
    assert "hanging_models.py" in caught.value.__notes__[0]
    assert same(came(warm).output, warm.generate(**asked()))
    assert isolated(warm).pid == pid


def test_a_class_that_cannot_be_imported_over_there_is_refused(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.training.hanging_models import Trouble

    cell = type("OfANotebook", (Trouble,), {"__module__": "a_notebook"})
    monkeypatch.setitem(sys.modules, "a_notebook", types.SimpleNamespace(OfANotebook=cell))
    with pytest.raises(SettingsError, match="a_notebook"):
        came(made(kind=cell))


@pytest.mark.parametrize("name", ["stopping_criteria", "streamer", "assistant_model"])
def test_what_cannot_be_sent_is_refused_by_name_and_at_once(warm: Any, name: str) -> None:
    from transformers import TextIteratorStreamer

    given: Any = {
        "stopping_criteria": [lambda *_, **__: False],
        "streamer": TextIteratorStreamer(None),
        "assistant_model": warm,
    }[name]
    with pytest.raises(SettingsError) as caught:
        came(warm, **{name: given})
    assert caught.value.name == name


def test_a_hook_that_cannot_be_sent_is_refused_by_its_place(warm: Any) -> None:
    handle = warm.model.layers[1].register_forward_hook(lambda *_: None)
    try:
        with pytest.raises(SettingsError) as caught:
            came(warm)
    finally:
        handle.remove()
    assert caught.value.name == "model.model.layers.1._forward_hooks"


def test_a_hook_that_is_there_for_gradients_stays_here(warm: Any) -> None:
    warm.enable_input_require_grads()
    try:
        assert same(came(warm).output, warm.generate(**asked()))
    finally:
        warm.disable_input_require_grads()


def test_mixed_precision_holds_there_too_also_where_accelerate_put_it_around_the_model(made: Any) -> None:
    import torch

    accelerate = pytest.importorskip("accelerate")
    model = made()
    wanted = asked(return_dict_in_generate=True, output_logits=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        here, there = model.generate(**wanted), came(model, return_dict_in_generate=True, output_logits=True).output
        assert same(torch.stack(here.logits), torch.stack(there.logits))
    accelerate.state.AcceleratorState._reset_state(True)  # of a Trainer in another test
    accelerator = accelerate.Accelerator(mixed_precision="bf16", cpu=True)
    try:
        accelerator.prepare(model)
        assert same(came(model).output, model.generate(**asked()))
    finally:
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        accelerate.state.AcceleratorState._reset_state(True)


@UNIX
def test_the_process_ends_with_the_model() -> None:
    import gc

    from hangtight.training.isolated import isolated
    from tests.training.hanging_models import trouble

    model = trouble()
    isolation = isolated(model)
    isolation.warm_up()
    pid = isolation.pid
    assert pid is not None
    del model
    gc.collect()
    assert is_gone(pid)
    with pytest.raises(ReferenceError):
        isolation.ready()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_is_refused(made: Any) -> None:
    import torch

    with pytest.raises(SettingsError, match="_orig_mod"):
        came(torch.compile(made()))


def test_a_process_that_does_not_get_ready_is_a_timeout_of_its_own(made: Any) -> None:
    from hangtight.training.isolated import Isolation

    isolation = Isolation(made(), start_limit=0.05)
    with pytest.raises(LoadTimeout, match="timed out"):
        isolation.ready()
    assert isolation.pid is None


@UNIX
def test_a_call_into_c_that_never_returns_is_killed_in_time_and_its_tokens_are_kept(made: Any) -> None:
    from hangtight.training.isolated import isolated

    model = made("hang_with_the_lock", at=5)
    isolation = isolated(model)
    isolation.ready()
    pid = isolation.pid
    result = isolation.generate(asked(new=50), limit=0.4, grace=0.1)
    assert result.killed
    assert result.gone
    assert result.output is None
    assert result.rows == trouble_free(model)
    assert isolation.pid is None
    assert pid is not None
    assert is_gone(pid)
    model.what = ""
    assert same(came(model).output, model.generate(**asked()))


@UNIX
def test_a_model_that_goes_on_when_it_is_asked_to_stop_is_killed(made: Any) -> None:
    from hangtight.training.isolated import isolated
    from tests.training.hanging_models import Deaf

    model = made(kind=Deaf)
    isolated(model).ready()
    result = isolated(model).generate(asked(), limit=0.2, grace=0.1)
    assert result.killed
    assert result.rows[0]


def trouble_free(model: Any, tokens: int = 5) -> Any:
    what, model.what = model.what, ""
    rows = model.generate(**asked(new=tokens))[:, 4:].tolist()
    model.what = what
    return rows


@UNIX
def test_silence_is_killed_before_the_limit(made: Any) -> None:
    from hangtight.training.isolated import isolated

    model = made("hang_without_the_lock", at=3)
    isolated(model).ready()
    result = isolated(model).generate(asked(), limit=600, grace=0.1, idle=0.3)
    assert result.killed
    assert result.rows == trouble_free(model, 3)


@UNIX
@pytest.mark.parametrize(("what", "name"), [("be_killed", "SIGKILL"), ("crash", "SIGSEGV")])
def test_a_process_that_dies_is_an_error_that_names_the_signal_and_no_timeout(made: Any, what: str, name: str) -> None:
    model = made(what, at=2)
    with pytest.raises(BackendError, match=name) as caught:
        came(model)
    assert caught.value.returncode == -getattr(signal, name)


@UNIX
def test_an_interrupt_ends_the_process_and_passes(made: Any) -> None:
    from hangtight.training.isolated import isolated

    model = made("hang_with_the_lock", at=1)
    isolated(model).ready()
    pid = isolated(model).pid

    def interrupt(rows: Any) -> None:
        main = threading.main_thread().ident
        threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        isolated(model).generate(asked(), limit=30, on_tokens=interrupt)
    assert pid is not None
    assert is_gone(pid)


@UNIX
def test_a_forked_process_leaves_it_alone_and_starts_its_own(warm: Any) -> None:
    from hangtight.training.isolated import isolated

    came(warm)
    pid = isolated(warm).pid
    child = os.fork()
    if child == 0:
        os._exit(0 if isolated(warm).pid is None and not multiprocessing.active_children() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert same(came(warm).output, warm.generate(**asked()))
    assert isolated(warm).pid == pid


GUARDED = """
import os, sys
from hangtight.training.isolated import isolated
from tests.training.hanging_models import trouble
from tests.training.kit import prompt

def main():
    model = trouble("hang_with_the_lock", at=2)
    isolation = isolated(model)
    isolation.ready()
    print(isolation.pid, flush=True)
    {then}

{guard}
"""
MAIN = 'if __name__ == "__main__":\n    main()'


@pytest.fixture
def script(tmp_path: Path) -> Any:
    def start(then: str, guard: str = MAIN) -> subprocess.Popen[str]:
        path = tmp_path / "train.py"
        path.write_text(GUARDED.format(then=then, guard=guard))
        places = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, str(path)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start


def shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir() if path.name.startswith("torch_")} if folder.is_dir() else set()


@UNIX
def test_nothing_outlives_a_parent_that_was_killed_even_in_a_call_that_holds_the_lock(script: Any) -> None:
    before = shared_memory()
    parent = script(
        "isolation.generate(dict(inputs=prompt()), limit=600, on_tokens=lambda rows: print('!', flush=True))"
    )
    pid = int(parent.stdout.readline())
    assert [parent.stdout.readline() for _ in range(2)] == ["!\n", "!\n"]
    time.sleep(0.3)
    parent.kill()
    parent.communicate()
    assert gone_soon(pid)
    assert shared_memory() <= before


@UNIX
def test_nothing_outlives_a_parent_that_ends(script: Any) -> None:
    before = shared_memory()
    parent = script("pass")
    out, err = parent.communicate(timeout=100)
    assert (parent.returncode, err) == (0, "")
    assert is_gone(int(out))
    assert shared_memory() <= before


def test_a_script_without_a_main_guard_is_told_in_one_line(script: Any) -> None:
    parent = script("pass", guard="main()")
    _, err = parent.communicate(timeout=100)
    assert parent.returncode == 1
    assert err.count("Traceback") == 1
    assert "__main__" in err.splitlines()[-1]
