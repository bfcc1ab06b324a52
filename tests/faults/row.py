"""One row of the fault table, as rows.py fills it in and scene.py plays it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.faults.links import Lasting

if TYPE_CHECKING:
    from tests.faults.scene import Scene

DEADLINE = 60.0  # seconds for a pull: dockerd alone waits up to 5 + 10 + 15 + 20 s (clients.md A.2)

RESUMING = ("docker", "ctr", "goclient")
"""Clients that resume a layer where it was cut; every row is theirs, unless it says otherwise."""

type Fault = Callable[[Scene], Lasting]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of Towline, beside that the pull completes."""

    phase: str
    over: float | None = None
    """Seconds over the clean pull at most; None where the fault itself takes its time."""
    waits: bool = False
    """To these the client adds its own wait before it resumes."""
    releases: bool = True
    """Whether any tunnel may be released."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    asked: Asked
    routes: dict[str, Any]
    fault: Fault
    midway: bool = False
    """The fault strikes when a third of the bytes have come; else before the pull begins."""
    clients: tuple[str, ...] = RESUMING
    told: tuple[str, ...] = ()
    """Clients of which is told what they do, and nothing asked."""
    short: str | None = None
    """The client that plays this row in the short form; None where it is left out there."""
    held: bool = False
    """Somebody else holds Towline's listening socket, as systemd does, so that it outlives a Towline."""
    deadline: float = DEADLINE
    """Seconds for the pull."""
