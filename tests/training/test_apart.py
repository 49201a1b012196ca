"""`guarded_generate(isolate=True)`: what comes back of a call into C that never returns, in the words of the guard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import GenerationTimeout
from hangtight.training.outcome import Layer, Verdict
from tests.training.kit import prompt, tiny_tokenizer

pytestmark = [pytest.mark.torch, pytest.mark.real, pytest.mark.timeout(120)]

FAR = 60.0


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_call_into_c_that_never_returns_ends_with_its_process_and_the_next_one_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from hangtight.training import guarded_generate
    from hangtight.training.isolated import isolated
    from tests.training.hanging_models import trouble

    model = trouble("hang_with_the_lock", at=5)
    long: dict[str, Any] = {"isolate": True, "tokenizer": tiny_tokenizer(), "max_new_tokens": 9, "min_new_tokens": 9}
    try:
        got = guarded_generate(model, prompt(), limit=0.5, **long)
        assert (got.verdict, got.ended_by) == (Verdict.HUNG, Layer.PROCESS)
        assert (got.text, got.tokens, len(got.partial.split())) == (None, 5, 5)
        assert got.output is None
        assert isinstance(got.error, GenerationTimeout)
        model.what = ""
        again = guarded_generate(model, prompt(), limit=FAR, **long)
        assert (again.verdict, again.tokens) == (Verdict.FINISHED, 9)
        assert again.partial.startswith(got.partial)
    finally:
        isolated(model).close()
