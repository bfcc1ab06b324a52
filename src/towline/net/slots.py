"""How many dials are under way at once, over all routes: a flood of requests does not use up the descriptors.

A dial waits for its turn before it begins; its deadline runs meanwhile. One whose turn does not come blames nobody but
this machine. An established connection has left its slot: what it is then is a tunnel, and counted as one.
"""

from __future__ import annotations

import asyncio
from typing import override

from towline.errors import DialError
from towline.net.dialer import Dialed, Dialer
from towline.types import Blame, OutcomeKind, Phase, Target


class SlottedDialer(Dialer):
    """A dialer that dials when there is a slot for it."""

    def __init__(self, dialer: Dialer, slots: asyncio.Semaphore) -> None:
        """`slots` is shared by the dialers of all routes."""
        self._dialer = dialer
        self._slots = slots

    @override
    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Wait for a slot, then dial; see Dialer."""
        if self._slots.locked():
            await self._wait(deadline)
        else:
            await self._slots.acquire()  # at once
        try:
            return await self._dialer.dial(target, deadline=deadline)
        finally:
            self._slots.release()

    async def _wait(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            detail = "too many dials at once (limits.dials)"
            raise DialError(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, detail) from None
