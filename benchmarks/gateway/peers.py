"""Who is measured: the model server itself, nginx as the limit of what is possible, the gateway, LiteLLM."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple

from benchmarks.gateway.processes import Peer, free_port, started

SOON, LATER = 15.0, 120.0
"""Seconds until a peer must answer; LiteLLM takes its time."""
SERVE = f"{shlex.quote(sys.executable)} -m hangtight serve --config {{config}} --port {{port}}"
NGINX = """
worker_processes 1; worker_rlimit_nofile 16384; daemon off; pid {folder}/nginx.pid; error_log {folder}/errors crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 512; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""
EVERYTHING_ON = """
default_mode: deep
journal: {{url: {folder}/journal.db}}
models:
  m: {{proxy: "http://127.0.0.1:{upstream}"}}
"""
"""A mode reads the text along, a journal is kept, metrics are always counted."""
LITELLM = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
"""
LIVE = "/health/liveliness"
KEY = "sk-bench"
"""LiteLLM wants one."""


class Wanted(NamedTuple):
    """How the gateway is started: places for its settings, its port, the model server's, and a folder of its own."""

    command: str = SERVE
    settings: str = EVERYTHING_ON


class Stage:
    """One folder, one model server, and the peers in front of it: each is started when it is first asked for."""

    def __init__(self, wanted: Wanted = Wanted()) -> None:  # noqa: B008  it is frozen
        self.wanted = wanted
        self._exits = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exits.close()

    @cached_property
    def folder(self) -> Path:
        return Path(self._exits.enter_context(TemporaryDirectory(prefix="bench-")))

    @cached_property
    def upstream(self) -> Peer:
        return self._exits.enter_context(upstream(self.folder))

    @cached_property
    def gateway(self) -> Peer:
        return self._exits.enter_context(self.another())

    @cached_property
    def nginx(self) -> Peer | None:
        program = nginx_program()
        return None if program is None else self._exits.enter_context(nginx(program, self.folder, self.upstream.port))

    @cached_property
    def litellm(self) -> Peer | None:
        python = os.environ.get("LITELLM")
        return self._exits.enter_context(litellm(python, self.folder, self.upstream.port)) if python else None

    def another(self, settings: str | None = None) -> AbstractContextManager[Peer]:
        """One more gateway, in a folder of its own; where nothing is given, with the same settings."""
        wanted = self.wanted if settings is None else self.wanted._replace(settings=settings)
        return gateway(wanted, self.upstream.port)


def nginx_program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def upstream(folder: Path) -> Iterator[Peer]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.upstream", str(port)]
    with started("upstream", command, port=port, folder=folder, within=SOON) as peer:
        yield peer


@contextmanager
def nginx(program: str, folder: Path, behind: int) -> Iterator[Peer]:
    port, file = free_port(), folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, upstream=behind))
    # Its first errors are written before the settings are read: `-e` keeps them out of /var.
    command = [program, "-e", str(folder / "errors"), "-c", str(file)]
    with started("nginx", command, port=port, folder=folder, within=SOON) as peer:
        yield peer


@contextmanager
def gateway(wanted: Wanted, behind: int) -> Iterator[Peer]:
    with TemporaryDirectory(prefix="bench-gateway-") as name:
        port, folder = free_port(), Path(name)
        config = folder / "hangtight.yaml"
        config.write_text(wanted.settings.format(folder=folder, upstream=behind))
        places = {"config": config, "port": port, "upstream": behind, "folder": folder}
        command = [part.format(**places) for part in shlex.split(wanted.command)]
        home = {"HOME": name, "XDG_CONFIG_HOME": name}  # nobody's settings, and nobody's journal
        with started("gateway", command, port=port, folder=folder, within=SOON, more=home) as peer:
            yield peer


@contextmanager
def litellm(python: str, folder: Path, behind: int) -> Iterator[Peer]:
    port, file = free_port(), folder / "litellm.yaml"
    file.write_text(LITELLM.format(upstream=behind))
    run = "from litellm.proxy.proxy_cli import run_server; run_server()"
    command = [python, "-c", run, "--config", str(file), "--port", str(port), "--host", "127.0.0.1"]
    more = {"LITELLM_MASTER_KEY": KEY}
    with started("litellm", command, port=port, folder=folder, within=LATER, more=more, health=LIVE) as peer:
        yield peer
