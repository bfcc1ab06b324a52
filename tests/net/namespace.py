"""A network of a test's own, in which it may make interfaces as it likes: it belongs to one thread and goes with it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest

needs_namespace = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not hasattr(os, "unshare") or not shutil.which("ip"),
    reason="makes a network namespace: needs Linux, root, os.unshare and the command ip",
)


def in_namespace(body: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `body` in a loop and a network of its own, with nothing but loopback up. Threads that it starts are in it."""

    def thread() -> None:
        os.unshare(os.CLONE_NEWNET)  # of this thread alone
        ip("link set lo up")
        asyncio.run(body())

    with ThreadPoolExecutor(1) as threads:
        threads.submit(thread).result(60)


def ip(*commands: str) -> None:
    """Run these commands of ip(8) in the caller's network."""
    for command in commands:
        subprocess.run(["ip", *shlex.split(command)], check=True, timeout=10, capture_output=True)


async def until(check: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Return once `check()` is true; the kernel tells of a carrier up to a second late. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
