"""Remembers what was learned, network by network: recalled on arrival, kept every few minutes, on leaving, at the end.

keep()             before a change puts what was learned in doubt
arrive(network)    the machine is in this network now: what was learned in it takes the place of doubts
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

import structlog

from towline.core.learned import Learned
from towline.core.memory import recalled, remembered
from towline.core.network import Network, identity
from towline.memory import Kept, Memory

log = structlog.get_logger("towline")

WRITE_EVERY = 300.0  # seconds between two looks whether there is something new to write


class Remembering:
    """Remembers for one Service. `close()` before the loop ends."""

    def __init__(self, learned: Learned, memory: Memory | None) -> None:
        """`memory` None: nothing outlives the process."""
        self._learned = learned
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._away = True
        """The machine is in no network that could be told from others."""
        self._kept: float | None = None
        """When the newest was measured of what was kept or recalled last."""
        self._is_unwritten = False
        self._writing: asyncio.Task[None] | None = None
        self.fingerprint: str | None = None
        """The network that the machine is in, or was in last."""
        self.recalled_at: float | None = None
        """When what was learned in it was recalled, on the loop's clock; None where nothing was."""

    def start(self) -> None:
        """Write now and then from here on."""
        if self._memory is not None and self._writing is None:
            self._writing = self._loop.create_task(self._write_now_and_then(self._memory), name="memory")

    def close(self) -> None:
        """Keep what there is. Blocks until it is written."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
            if (memory := self._memory) is not None and (text := self._unwritten(memory)) is not None:
                memory.write(text)

    def keep(self) -> None:
        """Keep what was learned here, where something is new."""
        newest = self._newest()
        if self._memory is None or self._away or self.fingerprint is None or newest in {None, self._kept}:
            return
        self._kept = newest
        self._memory.keep(self.fingerprint, Kept(_wall_clock(), remembered(self._learned, now=self._loop.time())))
        self._is_unwritten = True

    def _newest(self) -> float | None:
        """When anything was measured last."""
        return max((at for one in self._learned.health.values() if (at := one.measured_at()) is not None), default=None)

    def _unwritten(self, memory: Memory) -> str | None:
        """What is to be written; None where the file has it."""
        self.keep()
        text = memory.text() if self._is_unwritten else None
        self._is_unwritten = False
        return text

    def arrive(self, network: Network | None) -> None:
        """The machine is in this network now; None where it cannot be seen."""
        told = None if network is None else identity(network)
        self._away = told is None
        if self._memory is None or told is None:
            return
        fingerprint = self._memory.fingerprint(told)
        if fingerprint == self.fingerprint:
            return
        self.fingerprint, self.recalled_at, self._kept = fingerprint, None, None
        if kept := self._memory.recall(fingerprint):
            self._recall(kept)

    def _recall(self, kept: Kept) -> None:
        elapsed = max(0.0, _wall_clock() - kept.at)
        known = recalled(kept.learned, elapsed=elapsed, now=self._loop.time())
        if known is None:
            log.warning("memory_unusable", network=self.fingerprint, why="it is of another version, or damaged")
            return
        self._learned.recall(known)
        self._kept = self._newest()
        self.recalled_at = self._loop.time()
        log.info("memory_recalled", network=self.fingerprint, entries=len(known.health), seconds_ago=round(elapsed))

    async def _write_now_and_then(self, memory: Memory) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            if (text := self._unwritten(memory)) is not None:
                with contextlib.suppress(RuntimeError):  # no thread is left
                    await asyncio.to_thread(memory.write, text)


def _wall_clock() -> float:
    """Unix time: what is kept is read by a process with another clock."""
    return datetime.now(UTC).timestamp()
