from __future__ import annotations

import resource

import pytest

from towline.core.policy import Capacity
from towline.system import descriptors


class Limits:
    """RLIMIT_NOFILE as a test sets it."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard
        self.refuses = False

    def getrlimit(self, _which: int) -> tuple[int, int]:
        return self.soft, self.hard

    def setrlimit(self, _which: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("current limit exceeds maximum limit")
        self.soft, self.hard = limits


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> Limits:
    """Put limits of the test's own in the place of the process's."""
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)
    return limits


def test_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual Linux service: 1024 becomes 524288, and the hard limit stays."""
    limits = limited(monkeypatch, 1024, 524_288)
    assert descriptors.raise_limit() == (1024, 524_288)
    assert (limits.soft, limits.hard) == (524_288, 524_288)


def test_infinite_hard_limit_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS reports infinity and grants OPEN_MAX."""
    limits = limited(monkeypatch, 256, resource.RLIM_INFINITY)
    assert descriptors.raise_limit() == (256, descriptors.OPEN_MAX)
    assert (limits.soft, limits.hard) == (descriptors.OPEN_MAX, resource.RLIM_INFINITY)


@pytest.mark.parametrize(
    ("soft", "hard", "usable"),
    [
        (4096, 4096, 4096),
        (20_000, resource.RLIM_INFINITY, 20_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, descriptors.OPEN_MAX),
    ],
)
def test_limit_that_suffices_is_left(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, usable: int) -> None:
    """Nothing is lowered, and an infinite limit is counted as a finite one."""
    limits = limited(monkeypatch, soft, hard)
    assert descriptors.raise_limit() == (usable, usable)
    assert (limits.soft, limits.hard) == (soft, hard)


def test_refusal_leaves_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that refuses is no reason not to start."""
    limits = limited(monkeypatch, 1024, 4096)
    limits.refuses = True
    assert descriptors.raise_limit() == (1024, 1024)


def test_limit_of_this_process_holds_afterwards() -> None:
    """With the real calls: what raise_limit says is what the process has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        _, after = descriptors.raise_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert after == soft or soft == resource.RLIM_INFINITY
        assert hard == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("limit", [0, 20, 64, 65, 80, 128, 256, 1024, 65_536, 524_288])
def test_capacity_fits_into_the_limit(limit: int) -> None:
    """All of it at once needs no more descriptors than there are beyond the reserved ones, and leaves few unused."""
    capacity = descriptors.capacity_within(limit)
    assert min(capacity.tunnels, capacity.heads, capacity.dials, capacity.pipes) >= 0
    held = capacity.tunnels * 3 + capacity.heads + capacity.dials * 2 + capacity.pipes * 2
    free = max(0, limit - descriptors.RESERVED)
    assert free - 3 < held <= free


def test_capacity_of_a_small_and_a_usual_limit() -> None:
    """A process with 128 descriptors still serves; the usual 1024 hold more than a hundred tunnels."""
    assert descriptors.capacity_within(128) == Capacity(tunnels=10, heads=8, dials=8, pipes=4)
    assert descriptors.capacity_within(1024) == Capacity(tunnels=178, heads=120, dials=120, pipes=32)
