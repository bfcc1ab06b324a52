"""A proxy composed as `towline run` does it, in the test's own loop, and a table of what was counted."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.bench.peers.contenders import TOWLINE
from tests.cost.counting import COUNTED
from tests.cost.ends import DEADLINE, ONE_BYTE, TLS, Ends, Loop
from tests.logging_kept import logging_kept

from towline.admin import log
from towline.cli.compose import serve
from towline.config import parse

WARM_UP = 20  # tunnels of each kind, after which everything is imported and learned


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is counted here is what Linux is asked."""
    if sys.platform != "linux":
        here = Path(__file__).parent
        for item in items:
            if item.path.is_relative_to(here):
                item.add_marker(pytest.mark.skip(reason="counted on Linux"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was counted, so that limits can be lowered."""
    if COUNTED:
        terminalreporter.section("costs")
        for limit, found in COUNTED:
            terminalreporter.line(f"{found:>10.1f}  of {limit.most:>8.1f}  {limit.what}")


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Coverage is not taken: tracing makes an object of the frame of each coroutine that waits."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
def process_as_it_was() -> Iterator[None]:
    """Put back what a start of Towline changes in the whole process: log, collector, limit of descriptors."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    with logging_kept():
        yield
    gc.unfreeze()
    resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)


@pytest.fixture
async def ends(process_as_it_was: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ends]:
    """The far ends of a proxy that is warm; it is stopped by SIGTERM afterwards."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        listener.settimeout(DEADLINE)
        sock = socket.create_server(("127.0.0.1", 0), backlog=100)
        address = sock.getsockname()
        text = TOWLINE.format(port=address[1], target=listener.getsockname()[1])
        config = parse(text, place="towline.yaml", base=tmp_path, environ={}, discovered=())
        log.configure(config.log)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, asyncio.SelectorEventLoop)
        serving = loop.create_task(serve(config, {address: sock}, load=lambda: config))
        made = Ends(address, listener, Loop(loop))
        for exchange in (ONE_BYTE, TLS):
            await asyncio.to_thread(made.churn, WARM_UP, exchange)
        yield made
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            await serving
