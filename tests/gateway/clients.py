"""x"""
from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import anthropic
import ollama
import openai

from hangtight.testing.lab import Lab
from tests.clients.kit import APIS, OLLAMA, OPENAI, SDKS
from tests.clients.matrix import FAULTS


@dataclass
class Got:
    kind: str
    text: str = ""
    items: list[Any] = field(default_factory=list)
    error: BaseException | None = None


def client(sdk, url, headers):
    if sdk == OLLAMA:
        return ollama.Client(host=url, headers=headers)
    kind = openai.OpenAI if sdk == OPENAI else anthropic.Anthropic
    base = f"{url}/v1" if sdk == OPENAI else url
    return kind(base_url=base, api_key="none", default_headers=headers)


def ask(api, url, script, streamed, headers):
    it = APIS[api]
    c = client(it.sdk, url, headers)
    got = Got("the answer")
    try:
        a = it.ask(c, script, streamed)
        if streamed:
            for item in a:
                got.items.append(item.model_dump())
                got.text += it.piece(item)
        else:
            got.items.append(a.model_dump())
            got.text = it.whole(a)
    except Exception as e:
        got.error = e
        got.kind = told(e)
    return got


def told(e):
    name = f"{type(e).__module__.partition('.')[0]}.{type(e).__name__}"
    status = getattr(e, "status_code", None)
    body = getattr(e, "body", None)
    if isinstance(e, ollama.ResponseError):
        code = re.search(r"^(\w+) = ", e.error, re.M)
        code = code[1] if code else e.error[:60]
    else:
        b = body.get("error", body) if isinstance(body, dict) else body
        code = b.get("code") if isinstance(b, dict) else b
        code = f"{code}"
        if code == "None": code = str(e)[:60]
    return f"{name} {status} {code}"
