"""A real vLLM that sleeps and wakes, levels 1 and 2: `make test-vllm`, where there is CUDA. Its weights are made up."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.kit import Served
from tests.supervisor.kit import is_gone


def missing() -> str:
    """Why it cannot be run here; empty where it can."""
    if shutil.which("vllm") is None:
        return "needs vLLM: no program of this name is on the PATH"
    looks = shutil.which("nvidia-smi")
    if looks is None or subprocess.run([looks, "-L"], capture_output=True, check=False).returncode:
        return "needs CUDA: nvidia-smi finds no GPU"
    return "" if shutil.which("curl") else "needs curl for cmdSleep and cmdWake"


WHY_NOT = missing()
pytestmark = [pytest.mark.vllm, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

START = 600  # seconds: a first start compiles its kernels
QUESTION: Any = [{"role": "user", "content": "a b c"}]
LETTERS = [chr(code) for code in range(97, 123)]
TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "vocab_size": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float16",
}
SETTINGS = """\
limits: {{first_token: 60, idle: 60, load: {start}}}
healthCheckTimeout: {start}
cmdSleepTimeout: 60
cmdWakeTimeout: 60
startPort: 5700
macros:
  at: http://127.0.0.1:${{PORT}}
  vllm: >-
    vllm serve {model} --host 127.0.0.1 --port ${{PORT}} --served-model-name tiny --enable-sleep-mode
    --load-format dummy --enforce-eager --max-model-len 512 --gpu-memory-utilization 0.2
  reload: >-
    curl -fsS -X POST ${{at}}/collective_rpc -H "Content-Type: application/json"
    -d "{{\\"method\\": \\"reload_weights\\"}}"
models:
  light:
    cmd: ${{vllm}}
    env: [VLLM_SERVER_DEV_MODE=1]
    useModelName: tiny
    cmdSleep: curl -fsS -X POST ${{at}}/sleep?level=1
    cmdWake: curl -fsS -X POST ${{at}}/wake_up
  deep:
    cmd: ${{vllm}}
    env: [VLLM_SERVER_DEV_MODE=1]
    useModelName: tiny
    cmdSleep: curl -fsS -X POST ${{at}}/sleep?level=2
    cmdWake: >-
      sh -c 'curl -fsS -X POST "${{at}}/wake_up?tags=weights"
      && ${{reload}}
      && curl -fsS -X POST "${{at}}/wake_up?tags=kv_cache"
      && curl -fsS -X POST ${{at}}/reset_prefix_cache'
"""


def make_model(folder: Path) -> Path:
    """A folder as vLLM wants it, without weights: those are made up when they are loaded."""
    tokenizers: Any = import_module("tokenizers")
    words = {word: number for number, word in enumerate(["<s>", "</s>", "<unk>", *LETTERS])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    of_tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(of_tokenizer))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("vllm")
    settings = SETTINGS.format(model=make_model(folder / "tiny"), start=START)
    with Served(folder, settings, XDG_DATA_HOME=str(folder), HF_HUB_OFFLINE="1") as served:
        yield served


def told(served: Served, model: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = served.get("/hangtight/models")["models"]
    return next(each for each in found if each["model"] == model)


def answer(served: Served, model: str) -> str:
    with openai.OpenAI(base_url=served.openai, api_key="none", max_retries=0, timeout=START) as client:
        made = client.chat.completions.create(
            model=model, messages=QUESTION, max_tokens=8, temperature=0, extra_body={"ignore_eos": True}
        )
    assert made.usage is not None
    assert made.usage.completion_tokens == 8
    return made.choices[0].message.content or ""


@pytest.mark.timeout(2 * START)
@pytest.mark.parametrize("model", ["light", "deep"])
def test_it_sleeps_and_wakes_in_the_same_process(served: Served, model: str) -> None:
    answer(served, model)
    pid = told(served, model)["pid"]
    status, slept, _ = served.ask("POST", f"/hangtight/models/{model}/sleep")
    assert (status, slept["ok"], slept["phase"]) == (200, True, "asleep"), served.get("/logs")
    status, woken, _ = served.ask("POST", f"/hangtight/models/{model}/wake")
    assert (status, woken["ok"], woken["phase"]) == (200, True, "ready"), served.get("/logs")
    answer(served, model)
    assert told(served, model)["pid"] == pid


@pytest.mark.timeout(3 * START)
def test_two_take_turns_by_sleeping_and_a_stop_leaves_nothing(served: Served) -> None:
    for model, other in (("light", "deep"), ("deep", "light"), ("light", "deep")):
        answer(served, model)
        assert (told(served, model)["phase"], told(served, other)["phase"]) == ("ready", "asleep"), served.get("/logs")
    pid = told(served, "light")["pid"]
    assert served.ask("POST", "/hangtight/models/light/stop")[1]["ok"]
    assert is_gone(pid)
