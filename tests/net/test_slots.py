"""Dials wait for their turn, and give it back however they end."""

from __future__ import annotations

import asyncio

import pytest
from tests.net.fake_dialer import Fail, FakeDialer, Hang

from towline.errors import DialError
from towline.net.slots import SlottedDialer
from towline.types import Blame, OutcomeKind, Phase, Target

TARGET = Target("registry.test", 443)
DEADLINE = 5.0  # seconds within which anything here must have happened


def soon(seconds: float = DEADLINE) -> float:
    """A deadline."""
    return asyncio.get_running_loop().time() + seconds


async def test_a_dial_waits_for_another_to_end() -> None:
    """One slot: the second dial begins when the first was cancelled, and the slot is free after a failure too."""
    refused = DialError(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, "refused")
    with FakeDialer(Hang()) as hangs, FakeDialer(Fail(refused)) as fails:
        slots = asyncio.Semaphore(1)
        first = asyncio.create_task(SlottedDialer(hangs, slots).dial(TARGET, deadline=soon()))
        while not hangs.targets:  # noqa: ASYNC110 - the fake dialer has no event
            await asyncio.sleep(0)
        second = asyncio.create_task(SlottedDialer(fails, slots).dial(TARGET, deadline=soon()))
        await asyncio.sleep(0)
        assert fails.targets == []
        first.cancel()
        with pytest.raises(DialError, match="refused"):
            await second
        assert not slots.locked()


async def test_no_turn_in_time_blames_this_machine() -> None:
    """The deadline runs while it waits, and the route is not at fault."""
    with FakeDialer() as dialer:
        slots = asyncio.Semaphore(1)
        await slots.acquire()
        with pytest.raises(DialError, match="too many dials at once") as caught:
            await SlottedDialer(dialer, slots).dial(TARGET, deadline=soon(0.01))
        assert (caught.value.kind, caught.value.blame) == (OutcomeKind.LOCAL, Blame.LOCAL)
        assert dialer.targets == []
