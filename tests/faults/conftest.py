"""One stage and one ground for all fault tests of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.e2e.rig.needs import require, require_namespaces
from tests.faults.clients import CLIENTS
from tests.faults.ground import Ground
from tests.faults.rows import ROWS
from tests.faults.stage import Stage
from tests.faults.suite import Suite

NEEDED = ("ip", "nft", "nsenter", "unshare", "tc", "sysctl", "docker-registry", "nginx")


@pytest.fixture(scope="session")
def suite() -> Iterator[Suite]:
    """What plays rows."""
    require_namespaces()
    require(*NEEDED, *{program for row in ROWS if row.short for program in CLIENTS[row.short][1]})
    with closing(Stage()) as stage:
        yield Suite(stage)


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """Where schedules are played."""
    with closing(Ground()) as made:
        yield made
