"""Crowds in short: others are served beside them, memory stays, and nothing is left once they are gone.

How fast others are served beside them is measured by `python -m tests.attacks.load`, not on a busy machine of CI.
"""

from __future__ import annotations

import pytest
from tests.attacks.load import MAX_GROWTH, Scene, play

CONNECTS = 20
MAX_RECOVERY = 5.0  # seconds, on a machine that is busy with other tests


def check(scene: Scene) -> None:
    """What no crowd may change."""
    figures = play(scene, CONNECTS)
    assert (figures.unserved, figures.tracebacks) == (0, 0), figures
    assert figures.growth < MAX_GROWTH, figures
    assert figures.recovery < MAX_RECOVERY, figures


@pytest.mark.usefixtures("machine")
def test_silent_connections() -> None:
    """More than limits.heads of them."""
    check(Scene("silent", "idle", 700))


@pytest.mark.usefixtures("machine")
def test_slow_heads() -> None:
    """Two hundred at a time."""
    check(Scene("slow", "slow", 200))


@pytest.mark.usefixtures("machine")
def test_heads_without_end() -> None:
    """Eight at a time, each cut at 16 KiB."""
    check(Scene("endless", "endless", 8))


@pytest.mark.usefixtures("machine")
def test_tunnels_that_nobody_reads() -> None:
    """What a server sends stays in the kernel."""
    check(Scene("unread", "unread", 8))


@pytest.mark.usefixtures("machine")
def test_few_descriptors() -> None:
    """More connections than descriptors: the silent go, others are served."""
    check(Scene("descriptors", "idle", 200, descriptors=128))
