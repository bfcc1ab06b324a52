"""What was learned outlives the process and the network: kept, written, and recalled on arrival."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from towline import remembering as module
from towline.core.learned import Learned
from towline.core.network import Network, WayOut
from towline.memory import Kept, Memory
from towline.remembering import Remembering
from towline.types import Role

DEADLINE = 5.0  # seconds within which anything here must have happened
ROUTER = ipaddress.ip_address("192.0.2.1")
MINE = ipaddress.ip_address("192.0.2.7")


def network(hardware: str) -> Network:
    """The one that this router leads out of."""
    return Network((), (WayOut("eth0", MINE, ROUTER, hardware),))


HOME, CAFE, OFFLINE = network("02:00:00:00:00:01"), network("02:00:00:00:00:02"), Network()


class Process:
    """One run of a Towline."""

    def __init__(self, folder: Path) -> None:
        self.learned = Learned()
        self.remembering = Remembering(self.learned, Memory.read(folder))
        self.remembering.start()

    def measures(self, seconds: float, route: str = "vpn") -> None:
        """A dial over the route took so long."""
        health = self.learned.of(route, "hub", Role.API)
        health.dialed(seconds, now=asyncio.get_running_loop().time())

    def knows(self, route: str = "vpn") -> float | None:
        """What a dial over the route is taken to last."""
        return self.learned.of(route, "hub", Role.API).dial.value


@contextmanager
def running(folder: Path) -> Iterator[Process]:
    """A process, to its orderly end."""
    process = Process(folder)
    yield process
    process.remembering.close()


async def test_the_next_process_knows(tmp_path: Path) -> None:
    """In the same network, from the first moment on; the log says how old it is."""
    with running(tmp_path) as first:
        first.remembering.arrive(HOME)
        assert first.remembering.recalled_at is None
        first.measures(0.42)
    with running(tmp_path) as second, capture_logs() as lines:
        assert second.knows() is None
        second.remembering.arrive(HOME)
        assert second.knows() == pytest.approx(0.42)
        assert second.remembering.fingerprint == first.remembering.fingerprint
        assert second.remembering.recalled_at is not None
    assert [(line["event"], line["entries"]) for line in lines] == [("memory_recalled", 1)]


async def test_each_network_has_its_own(tmp_path: Path) -> None:
    """What is learned in one is kept when it is left, and says nothing of another one that is known."""
    with running(tmp_path) as first:
        for place, seconds in ((HOME, 0.42), (CAFE, 4.2)):
            first.remembering.arrive(place)
            first.measures(seconds)
            first.remembering.keep()
            first.learned.health.clear()
    with running(tmp_path) as second:
        second.remembering.arrive(CAFE)
        assert second.knows() == pytest.approx(4.2)
        second.remembering.arrive(HOME)
        assert second.knows() == pytest.approx(0.42)


async def test_nothing_is_kept_while_the_machine_is_nowhere(tmp_path: Path) -> None:
    """What fails without a network is no property of the last one."""
    with running(tmp_path) as first:
        first.remembering.arrive(HOME)
        first.measures(0.42)
        first.remembering.keep()
        for nowhere in (OFFLINE, None):
            first.remembering.arrive(nowhere)
            first.measures(9.0, route="direct")
            first.remembering.keep()
    with running(tmp_path) as second:
        second.remembering.arrive(HOME)
        assert second.knows() == pytest.approx(0.42)
        assert second.knows("direct") is None


async def test_back_in_the_same_network_nothing_is_recalled(tmp_path: Path) -> None:
    """What was learned since is newer."""
    with running(tmp_path) as process:
        process.remembering.arrive(HOME)
        process.measures(0.42)
        process.remembering.arrive(OFFLINE)
        process.remembering.arrive(HOME)
        assert process.remembering.recalled_at is None


async def test_written_now_and_then_where_something_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed has lost some minutes; one that learns nothing leaves the disk alone."""
    monkeypatch.setattr(module, "WRITE_EVERY", 0.02)
    writes: list[str] = []
    write = Memory.write

    def writing(memory: Memory, text: str) -> None:
        writes.append(text)
        write(memory, text)

    monkeypatch.setattr(Memory, "write", writing)
    process = Process(tmp_path)
    process.remembering.arrive(HOME)
    await asyncio.sleep(0.1)
    assert writes == []
    process.measures(0.42)
    async with asyncio.timeout(DEADLINE):
        while not writes:  # noqa: ASYNC110 - it is written in a thread
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(writes) == 1
    later = Process(tmp_path)
    later.remembering.arrive(HOME)
    assert later.knows() == pytest.approx(0.42)
    later.remembering.close()
    process.remembering.close()
    assert len(writes) == 1


async def test_data_of_another_version(tmp_path: Path) -> None:
    """It is said, and nothing is recalled."""
    memory = Memory(tmp_path)
    remembering = Remembering(Learned(), memory)
    remembering.arrive(HOME)
    assert remembering.fingerprint is not None
    memory.keep(remembering.fingerprint, Kept(0.0, {"version": 99}))
    again = Remembering(Learned(), memory)
    with capture_logs() as lines:
        again.arrive(HOME)
    assert [line["event"] for line in lines] == ["memory_unusable"]
    assert again.recalled_at is None


async def test_without_a_memory() -> None:
    """`state: null`: nothing is kept, nothing has a name, nothing fails."""
    remembering = Remembering(Learned(), None)
    remembering.start()
    remembering.arrive(HOME)
    remembering.keep()
    remembering.close()
    assert remembering.fingerprint is None
