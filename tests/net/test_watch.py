"""The watch over the network: each change told once, soon, and none missed, with events of the kernel or without."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs
from tests.net.namespace import in_namespace, ip, needs_namespace

from towline.core import settling
from towline.core.network import Interface, Network, WayOut
from towline.net import machine, netlink, watch
from towline.net.watch import Change, NetworkWatch

DEADLINE = 5.0  # seconds within which anything here must have happened

pytestmark = pytest.mark.usefixtures("no_complaint")


def a_network(*names: str, hardware: str = "02:00:00:00:00:01") -> Network:
    """One with these interfaces, and a way out by the first."""
    interfaces = tuple(
        Interface(name, up=True, addresses=(ipaddress.ip_address(f"192.0.2.{number}"),), index=number)
        for number, name in enumerate(names, start=1)
    )
    return Network(
        interfaces,
        (WayOut(names[0], interfaces[0].addresses[0], ipaddress.ip_address("192.0.2.99"), hardware),),
    )


class Machine:
    """A machine whose network the test says, and a watch over it."""

    def __init__(self) -> None:
        self.network: Network | OSError = a_network("eth0")
        self.reads = 0
        self.changes: asyncio.Queue[Change] = asyncio.Queue()
        self.kernel, self.events = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.events.setblocking(False)
        self.watch = NetworkWatch(self.changes.put_nowait, read=self.read, subscribe=lambda: self.events)

    def read(self) -> Network:
        self.reads += 1
        if isinstance(self.network, OSError):
            raise self.network
        return self.network

    def becomes(self, network: Network | OSError) -> None:
        """It changes, and the kernel says that something did."""
        self.network = network
        self.kernel.send(b"something")

    async def change(self) -> Change:
        """The next change that is told."""
        async with asyncio.timeout(DEADLINE):
            return await self.changes.get()

    async def read_again(self) -> None:
        """Return once it has been read once more than now."""
        before = self.reads
        async with asyncio.timeout(DEADLINE):
            while self.reads == before:  # noqa: ASYNC110 - it is read in a thread
                await asyncio.sleep(0.005)


@pytest.fixture
async def machine_(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    """Changes settle in no time."""
    monkeypatch.setattr(settling, "GATHER", 0.02)
    monkeypatch.setattr(settling, "APART", 0.05)
    made = Machine()
    yield made
    made.watch.close()
    made.kernel.close()
    made.events.close()


async def test_tells_what_changed(machine_: Machine) -> None:
    """First the network as it is, then each change with what was before."""
    machine_.watch.start()
    first = await machine_.change()
    assert (first.before, first.after, first.slept) == (None, machine_.network, 0.0)
    assert not first.difference
    machine_.becomes(a_network("eth0", "wg0"))
    second = await machine_.change()
    assert (second.before, second.difference.come) == (first.after, ("wg0",))
    assert machine_.watch.network == machine_.network


async def test_is_left_in_peace_after_an_action(machine_: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look waits for its turn then, and comes soon where nothing was done."""
    monkeypatch.setattr(settling, "APART", 60.0)
    acts = False

    def told(change: Change) -> bool:
        machine_.changes.put_nowait(change)
        return acts

    machine_.watch._changed = told
    machine_.watch.start()
    await machine_.change()
    machine_.becomes(a_network("eth0", "br0"))
    await machine_.change()
    acts = True
    machine_.becomes(a_network("eth0", "wg0"))
    await machine_.change()
    machine_.becomes(a_network("eth0"))
    await asyncio.sleep(0.1)
    due = machine_.watch._settling.due
    assert due is not None
    assert due > asyncio.get_running_loop().time() + 50.0


async def test_says_nothing_of_what_does_not_matter(machine_: Machine) -> None:
    """Events that lead to the same network are looked at and not told."""
    machine_.watch.start()
    await machine_.change()
    for _ in range(3):
        machine_.becomes(a_network("eth0"))
        await machine_.read_again()
    machine_.becomes(a_network("eth0", "wg0"))
    assert (await machine_.change()).difference.come == ("wg0",)
    assert machine_.changes.empty()


async def test_a_change_during_the_reading_is_the_next(machine_: Machine) -> None:
    """What happens while the network is read is not lost: it is read again."""
    machine_.watch.start()
    await machine_.change()
    read = machine_.read

    def changing() -> Network:
        found = read()
        if machine_.reads == 2:
            machine_.becomes(a_network("eth0", "wg0"))
        return found

    machine_.watch._read = changing
    machine_.becomes(a_network("eth0", "tun0"))
    assert (await machine_.change()).difference.come == ("tun0",)
    assert (await machine_.change()).difference.come == ("wg0",)


async def test_looks_now_and_then_where_no_event_comes(machine_: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's word, and after its socket has failed, the network is looked at every few seconds."""
    monkeypatch.setattr(watch, "CHECK_EVERY", 0.02)
    machine_.watch.start()
    await machine_.change()
    machine_.events.shutdown(socket.SHUT_RDWR)
    machine_.watch._loop.remove_reader(machine_.events)
    monkeypatch.setattr(netlink, "drain", lambda _: False)
    machine_.watch._heard()
    await machine_.read_again()
    machine_.network = a_network("eth0", "wg0")
    assert (await machine_.change()).difference.come == ("wg0",)


async def test_waits_for_the_hardware_address_of_a_new_router(
    machine_: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the router answers it is asked again, without an event; then the network has another identity."""
    monkeypatch.setattr(watch, "CHECK_EVERY", 0.02)
    machine_.network = a_network("eth0", hardware="")
    machine_.watch.start()
    await machine_.change()
    await machine_.read_again()
    machine_.network = a_network("eth0")
    change = await machine_.change()
    assert not change.difference
    assert change.after == machine_.network


async def test_a_router_without_a_hardware_address_is_left_alone(
    machine_: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never answers is asked for a while only."""
    monkeypatch.setattr(watch, "CHECK_EVERY", 0.001)
    monkeypatch.setattr(settling, "GATHER", 0.0)
    monkeypatch.setattr(settling, "APART", 0.0)
    machine_.network = a_network("eth0", hardware="")
    machine_.watch.start()
    await machine_.change()
    async with asyncio.timeout(DEADLINE):
        while machine_.watch._is_router_new():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert machine_.reads == watch.MAX_RETRIES + 1


async def test_a_network_that_cannot_be_seen(machine_: Machine) -> None:
    """It is said once, nothing is judged by it, and it is told again once it can be seen."""
    with capture_logs() as lines:
        machine_.watch.start()
        await machine_.change()
        for _ in range(2):
            machine_.becomes(OSError(97, "Address family not supported by protocol"))
            await machine_.read_again()
    assert machine_.watch.network is None
    assert [line["event"] for line in lines] == ["network_unseen"]
    machine_.becomes(a_network("eth0"))
    change = await machine_.change()
    assert (change.before, change.after) == (None, machine_.network)


async def test_a_sleep_is_told_whatever_else_changed(machine_: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that has gained on the other one: the machine slept, and the sockets may be dead in the same network."""
    monkeypatch.setattr(watch, "CHECK_EVERY", 0.02)
    machine_.watch.start()
    await machine_.change()
    clock = watch._clock_with_sleep
    monkeypatch.setattr(watch, "_clock_with_sleep", lambda: clock() + 3600.0)
    change = await machine_.change()
    assert change.slept == pytest.approx(3600.0, abs=1.0)
    assert not change.difference
    assert machine_.changes.empty()


async def test_a_sleep_is_told_where_the_network_cannot_be_seen(
    machine_: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has sockets open has to know."""
    monkeypatch.setattr(watch, "CHECK_EVERY", 0.02)
    machine_.watch.start()
    await machine_.change()
    machine_.network = OSError(97, "Address family not supported by protocol")
    clock = watch._clock_with_sleep
    monkeypatch.setattr(watch, "_clock_with_sleep", lambda: clock() + 60.0)
    change = await machine_.change()
    assert change.after is None
    assert change.slept == pytest.approx(60.0, abs=1.0)


async def test_a_bug_in_what_is_told_ends_nothing(machine_: Machine) -> None:
    """It is shown, and the next change is told."""
    told = machine_.changes.put_nowait

    def broken(change: Change) -> None:
        told(change)
        raise ZeroDivisionError

    machine_.watch._changed = broken
    with capture_logs() as lines:
        machine_.watch.start()
        await machine_.change()
        machine_.becomes(a_network("eth0", "wg0"))
        await machine_.change()
    assert [line["event"] for line in lines][:1] == ["look_crashed"]


def test_a_process_that_was_stopped(tmp_path: Path) -> None:
    """SIGSTOP, which no clock tells of: the watch finds its own timer late. (The bound is lowered for the test.)"""
    program = tmp_path / "stopped.py"
    program.write_text(
        textwrap.dedent("""\
        import asyncio
        from towline.core import settling
        from towline.net import watch

        settling.LATE = 0.5
        watch.CHECK_EVERY = 0.1

        async def main():
            changes = asyncio.Queue()
            seen = watch.NetworkWatch(changes.put_nowait)
            seen.start()
            await changes.get()
            print("watching", flush=True)
            while not (change := await changes.get()).slept:
                pass
            print(change.slept, flush=True)
            seen.close()

        asyncio.run(main())
        """)
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watching\n"
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        os.kill(process.pid, signal.SIGCONT)
        assert 1.0 < float(process.stdout.readline()) < 10.0
        assert process.wait(DEADLINE) == 0


@needs_namespace
def test_a_real_interface_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's word leads to a look, which finds the interface; a container's makes no difference."""
    for name in ("ROUTES_4", "ROUTES_6", "NEIGHBOURS"):
        here = str(getattr(machine, name)).replace("/proc/net", "/proc/thread-self/net")
        monkeypatch.setattr(machine, name, Path(here))
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc/thread-self")
    monkeypatch.setattr(watch, "CHECK_EVERY", 60.0)  # nothing but an event wakes it
    monkeypatch.setattr(settling, "APART", 0.1)

    async def body() -> None:
        changes: asyncio.Queue[Change] = asyncio.Queue()
        seen = NetworkWatch(changes.put_nowait)
        seen.start()
        async with asyncio.timeout(30):
            assert not (await changes.get()).difference
            ip("link add veth0 type veth peer name veth1", "link set veth0 up", "link set veth1 up")
            ip("link add wg0 type veth peer name far0", "address add 10.8.0.2/32 dev wg0")
            ip("link set far0 up", "link set wg0 up")
            assert (await changes.get()).difference.words() == ["wg0 is up"]
            ip("link delete wg0")
            assert (await changes.get()).difference.words() == ["wg0 is gone"]
        seen.close()

    in_namespace(body)
