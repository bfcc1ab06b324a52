"""What wakes an idle Towline: on a clock that skips the time in which nothing happens, an hour takes a moment."""

from __future__ import annotations

import asyncio
import math
import os
import selectors
import signal
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import override

from tests.addon.whole import free_port

from towline.cli.compose import serve
from towline.config import parse
from towline.net.watch import CHECK_EVERY

HOUR = 3600.0  # seconds
FEW = 20  # wake-ups of the start, and of what happens to this machine's network meanwhile


class Skipping(selectors.DefaultSelector):
    """Where nothing is ready and no thread is at work, it skips the time to the next timer: that is a wake-up."""

    skips = True
    skipped = 0.0
    wakes = 0
    threads = 0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not (self.skips and timeout) or self.threads:
            return super().select(timeout)
        if ready := super().select(0):
            return ready
        self.skipped += timeout
        self.wakes += 1
        return []


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop on that clock."""

    def __init__(self) -> None:
        self.selector = Skipping()
        super().__init__(self.selector)

    @override
    def time(self) -> float:
        return super().time() + self.selector.skipped

    @override
    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.selector.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _future: object) -> None:
        self.selector.threads -= 1


async def an_hour_of_nothing(clock: Skipping, folder: Path) -> None:
    """Start Towline as `towline run` does, leave it alone for an hour, and end it."""
    port, admin = free_port(), free_port()
    text = f"listen: ['127.0.0.1:{port}']\nadmin: '127.0.0.1:{admin}'\nstate: null\nroutes: {{direct: {{}}}}\n"
    config = parse(text, place="towline.yaml", base=folder, environ={}, discovered=())
    serving = asyncio.get_running_loop().create_task(serve(config, {}, load=lambda: config))
    await asyncio.sleep(HOUR)
    clock.skips = False
    assert not serving.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving


def test_idle_towline_wakes_to_compare_two_clocks(tmp_path: Path) -> None:
    """Nothing else wakes it: no timer of the admin side, of probes, of the watch over tunnels, or of mitmproxy."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SkippingLoop)
        runner.run(an_hour_of_nothing(loop.selector, tmp_path))
    checks = math.floor(HOUR / CHECK_EVERY)
    assert checks - 1 <= loop.selector.wakes <= checks + FEW
