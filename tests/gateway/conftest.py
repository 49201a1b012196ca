"""What several of these tests begin with: a server that says what it is told to say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.rude import ANSWER, Puppet, always


@pytest.fixture(scope="module")
def puppet() -> Iterator[Puppet]:
    with Puppet() as puppet:
        yield puppet


@pytest.fixture
def server(puppet: Puppet) -> Puppet:
    """The one behind the gateway; it answers well, and has heard nothing."""
    puppet.says = always(ANSWER)
    puppet.heard.clear()
    return puppet
