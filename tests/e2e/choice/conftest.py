"""One stage for all tests of choices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.e2e.choice.stage import Stage
from tests.e2e.rig.needs import require, require_namespaces, require_shaped_links

NEEDED = ("ip", "tc", "nsenter", "unshare", "sysctl", "docker-registry", "nginx", "curl")


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """Two sides with three links between them."""
    require_namespaces()
    require(*NEEDED)
    require_shaped_links()
    with closing(Stage()) as made:
        yield made
