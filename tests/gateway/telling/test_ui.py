"""The files of the dashboard: who gets them, what the browser may do with them, and where they are mounted."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

import hangtight
from hangtight.gateway.app import Gateway
from hangtight.gateway.telling import ui
from hangtight.testing.lab import Lab
from tests.gateway.kit import PATIENCE, Served, all_at

pytestmark = pytest.mark.real

KEY = "only-for-friends"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = sorted(path.name for path in ui.FOLDER.iterdir() if path.is_file())
A_BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("open"), all_at(lab.url)) as served:
        yield served


@pytest.fixture(scope="module")
def locked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("locked"), f"apiKeys: [{KEY}]\n{all_at(lab.url)}") as served:
        yield served


class Answer:
    """To one request, without following where it leads."""

    def __init__(self, url: str, path: str, method: str = "GET", **headers: str) -> None:
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as response:
            self.status, self.headers, self.body = response.status, response.headers, response.read()
        connection.close()

    @property
    def to(self) -> str | None:
        return self.headers["location"]


# -- the files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_type_its_policy_and_is_asked_for_anew(served: Served, name: str) -> None:
    found = Answer(served.url, f"/ui/{name}")
    assert found.status == 200
    assert found.body == (ui.FOLDER / name).read_bytes()
    assert found.headers["content-type"] == ui.TYPES[name.rpartition(".")[2]].decode()
    assert found.headers["content-security-policy"] == POLICY
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cross-origin-resource-policy"] == "same-origin"
    assert found.headers["cache-control"] == "no-cache"


def test_who_has_a_file_already_is_not_sent_it_again(served: Served) -> None:
    tag = Answer(served.url, "/ui/").headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = Answer(served.url, "/ui/", if_none_match=known)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["content-security-policy"] == POLICY
    assert Answer(served.url, "/ui/", if_none_match='"other"').status == 200


def test_a_head_is_the_same_without_the_body(served: Served) -> None:
    whole, head = Answer(served.url, "/ui/"), Answer(served.url, "/ui/", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(whole.body)
    assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        *("/ui/nothing.js", "/ui/index", "/ui/.hidden.js", "/ui/..%2fapp.py", "/ui/../ui/x.js", "/ui/a%00.js"),
        *("/ui//index.html", "/ui/sub/index.html", "/ui/index.html/", "/ui/%2e%2e/index.html"),
    ],
)
def test_nothing_else_is_found_there(served: Served, path: str) -> None:
    found = Answer(served.url, path)
    assert found.status == 404
    assert b"no file of the dashboard" in found.body


def test_they_are_only_read(served: Served) -> None:
    refused = Answer(served.url, "/ui/", "DELETE")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


# -- the way there ---------------------------------------------------------------------------------------------------


def test_a_browser_that_has_the_bare_address_is_led_to_the_page(served: Served) -> None:
    assert (Answer(served.url, "/", **A_BROWSER).status, Answer(served.url, "/", **A_BROWSER).to) == (307, "ui/")
    assert Answer(served.url, "/").body == b"hangtight is running", "as before"
    assert (Answer(served.url, "/ui").status, Answer(served.url, "/ui?model=m").to) == (307, "ui/?model=m")


def test_the_command_says_where_it_is(served: Served) -> None:
    assert f"dashboard: {served.url}/ui\n" in served.said


def test_a_link_to_it_may_stand_on_any_page_and_what_it_shows_may_not_be_read_from_there(served: Served) -> None:
    assert Answer(served.url, "/ui/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200
    assert Answer(served.url, "/hangtight/receipt", sec_fetch_site="cross-site").status == 403
    assert Answer(served.url, "/ui/", origin="https://evil.example").headers["access-control-allow-origin"] is None
    assert Answer(served.url, "/ui/", host="evil.example").status == 403, "its name gives a rebound one away"


# -- with keys -------------------------------------------------------------------------------------------------------


def test_where_there_are_keys_the_files_are_open_and_what_they_ask_for_is_not(locked: Served) -> None:
    for path in ("/ui/", *(f"/ui/{name}" for name in FILES)):
        assert Answer(locked.url, path).status == 200
    assert Answer(locked.url, "/", **A_BROWSER).to == "ui/"
    assert Answer(locked.url, "/").status == 401
    assert Answer(locked.url, "/ui/", "POST").status == 401
    for path in ("generations", "receipt", "training", "models", "runs", "events?flight=1", "generations/abcd/why"):
        assert Answer(locked.url, f"/hangtight/{path}").status == 401
    shown = {"Authorization": f"Bearer {KEY}"}
    assert Answer(locked.url, "/hangtight/receipt", **shown).status == 200
    assert Answer(locked.url, "/hangtight/generations/abcd/why", **shown).status == 404


# -- mounted ---------------------------------------------------------------------------------------------------------


@contextmanager
def running(app: Any) -> Iterator[str]:
    """uvicorn as everybody has it, in a thread."""
    taken = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        taken.close()


def test_under_a_prefix_the_page_stands_beside_what_it_asks_for(lab: Lab, tmp_path: Path) -> None:
    settings = tmp_path / "hangtight.yaml"
    settings.write_text(all_at(lab.url))
    hangtight.configure(settings, "off")
    with running(Starlette(routes=[Mount("/llm", app=Gateway())])) as url:
        assert Answer(url, "/llm/ui").to == "ui/"
        assert Answer(url, "/llm/", **A_BROWSER).to == "ui/"
        assert Answer(url, "/llm/ui/").body == (ui.FOLDER / ui.PAGE).read_bytes()
        assert Answer(url, "/llm/hangtight/receipt").status == 200
        assert Answer(url, "/llm/ui/nothing.js").status == 404
        assert Answer(url, "/ui/").status == 404, "what is outside of the prefix is the app's"
