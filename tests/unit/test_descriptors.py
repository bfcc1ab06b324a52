from __future__ import annotations

import resource

import pytest

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
