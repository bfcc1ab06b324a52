"""A Towline for the rows of a run, and as many of its own as a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from tests.attacks.doors import TowlineDoor
from tests.e2e.rig.needs import require, require_namespaces

type OpenDoor = Callable[..., TowlineDoor]
"""Starts a Towline with these top-level keys."""


@pytest.fixture(scope="session")
def machine() -> None:
    """What every attack needs of the machine."""
    require_namespaces()
    require("ip", "nft", "nsenter", "unshare")


@pytest.fixture(scope="session")
def towline(machine: None) -> Iterator[TowlineDoor]:
    """The Towline that all rows are tried on."""
    door = TowlineDoor()
    with door:
        yield door


@pytest.fixture
def open_door(machine: None) -> Iterator[OpenDoor]:
    """A Towline of the test's own; ended behind it, its log shown where the test failed."""
    with ExitStack() as owned:

        def start(
            *, env: dict[str, str] | None = None, program: Sequence[str] = ("-m", "towline"), **settings: Any
        ) -> TowlineDoor:
            door = TowlineDoor(settings, env=env, program=program)
            owned.enter_context(door)
            owned.callback(lambda: print(door.process.output()))  # pytest shows it beside a failed test
            return door

        yield start
