"""The process behind a connection: real ones, on loopback, some of them gone, hidden or in disguise."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from towline.net import process
from towline.net.process import processes_of
from towline.types import Address

BASH = shutil.which("bash")
SOMEONE_ELSE = 65534  # nobody

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's sock_diag and /proc")
needs_bash = pytest.mark.skipif(BASH is None, reason="plays clients with the command bash")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def listener(stack: ExitStack) -> socket.socket:
    """A listener on 127.0.0.1."""
    return stack.enter_context(socket.create_server(("127.0.0.1", 0)))


def accept(stack: ExitStack, listener: socket.socket) -> tuple[Address, Address]:
    """The two ends of the next connection, as the accepted socket tells them; it stays open."""
    sock, peer = listener.accept()
    stack.enter_context(sock)
    return peer[:2], sock.getsockname()[:2]


def own_name() -> str:
    """What the process of this test is called."""
    return Path("/proc/self/comm").read_text().rstrip("\n")


def connect(stack: ExitStack, listener: socket.socket, comm: str, argv0: str = "bash") -> tuple[Address, Address]:
    """Have a process of this name connect to `listener` and stay; returns the connection's ends."""
    host, port = listener.getsockname()
    script = f'exec 3<>/dev/tcp/{host}/{port}; printf %s "$1" >/proc/$$/comm; echo ready; read -r _'
    assert BASH is not None
    client = stack.enter_context(
        subprocess.Popen(
            [argv0, "-c", script, argv0, comm], executable=BASH, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    )  # leaving closes its standard input, which ends it
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    return accept(stack, listener)


async def process_of(client: Address, listener: Address) -> str | None:
    """The process behind one connection."""
    (name,) = await processes_of([(client, listener)])
    return name


@pytest.mark.parametrize(
    ("host", "server"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::"), ("::ffff:127.0.0.1", "127.0.0.1")],
    ids=["IPv4", "IPv6", "IPv4 to a dual-stack listener", "IPv4 from an IPv6 socket"],
)
async def test_finds_the_client_by_the_ends_of_its_connection(host: str, server: str, stack: ExitStack) -> None:
    """Both families, and IPv4 where either side has it in an IPv6 socket."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    listener = stack.enter_context(socket.create_server((server, 0), family=family, dualstack_ipv6=server == "::"))
    client = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    client.connect((host, listener.getsockname()[1]))
    assert await process_of(*accept(stack, listener)) == own_name()


@needs_bash
@pytest.mark.parametrize("name", ["dockerd", "containerd", "podman", "skopeo", "fetcher"])
async def test_names_another_process(name: str, stack: ExitStack, listener: socket.socket) -> None:
    """The client has a name of its own, known to us or not."""
    assert await process_of(*connect(stack, listener, name)) == name


@needs_bash
@pytest.mark.parametrize("comm", ["exe", "6", "memfd:buildah"])
async def test_names_a_client_that_restarted_itself(comm: str, stack: ExitStack, listener: socket.socket) -> None:
    """Without root, podman, skopeo and buildah execute a descriptor of their own: argv[0] says what they are."""
    assert await process_of(*connect(stack, listener, comm, "/usr/bin/podman")) == "podman"
    assert await process_of(*connect(stack, listener, comm, "buildah-in-a-user-namespace")) == "buildah"


@needs_bash
async def test_a_name_is_fit_to_print(stack: ExitStack, listener: socket.socket) -> None:
    """A process may call itself what it likes; what is shown of it is printable ASCII."""
    assert await process_of(*connect(stack, listener, "\x1b[2J\té")) == "?[2J??"


@needs_bash
async def test_registry_clients_are_looked_at_first(
    stack: ExitStack, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that may look at few descriptors finds them; any other process may be past its end."""
    monkeypatch.setattr(process, "MAX_DESCRIPTORS", 8)  # of which this test's own process, the older one, has more
    monkeypatch.setattr(process, "REGISTRY_CLIENTS", {"towline-client"})
    assert len(os.listdir("/proc/self/fd")) > 8  # noqa: PTH208
    assert await process_of(*connect(stack, listener, "towline-client")) == "towline-client"
    assert await process_of(*connect(stack, listener, "fetcher")) is None


async def test_a_client_elsewhere_is_unknown(listener: socket.socket) -> None:
    """No socket here has the address of a remote client (RFC 5737)."""
    assert await process_of(("192.0.2.1", 50000), listener.getsockname()) is None
    assert await process_of(("2001:db8::1", 50000), ("2001:db8::2", 3128)) is None
    assert await process_of(("fe80::1%eth0", 50000), ("fe80::2%eth0", 3128)) is None


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_client_that_has_gone_is_unknown(*, reset: bool, stack: ExitStack, listener: socket.socket) -> None:
    """Its socket may be there a while longer, but it is nobody's."""
    client = stack.enter_context(socket.create_connection(listener.getsockname()))
    ends = accept(stack, listener)
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, sys.byteorder) + bytes(4))
    client.close()
    assert await process_of(*ends) is None


async def test_a_listener_at_the_clients_address_is_not_the_client(stack: ExitStack, listener: socket.socket) -> None:
    """Where no connection has these ends the kernel names the listener that would take it."""
    other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    assert await process_of(other.getsockname(), listener.getsockname()) is None


async def test_a_process_that_has_gone_since_it_was_listed_is_passed_over(
    stack: ExitStack, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its name nor its descriptors can be read, and the search goes on."""
    listed = os.listdir
    gone = str(2**22)  # above the largest process number (proc(5), pid_max), and above any descriptor here
    monkeypatch.setattr(process, "listdir", lambda folder: [gone, *listed(folder)])
    stack.enter_context(socket.create_connection(listener.getsockname()))
    assert await process_of(*accept(stack, listener)) == own_name()


@needs_bash
async def test_several_are_found_in_one_search(
    stack: ExitStack, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection has its own client's name, and one that nobody holds has none."""
    searches: list[int] = []
    listed = os.listdir

    def listdir(folder: str) -> list[str]:
        if folder == "/proc":
            searches.append(1)
        return listed(folder)

    monkeypatch.setattr(process, "listdir", listdir)
    stranger = ("192.0.2.1", 50000), listener.getsockname()
    both = connect(stack, listener, "fetcher"), connect(stack, listener, "puller")
    assert await processes_of([both[1], stranger, both[0], both[1]]) == ["puller", None, "fetcher", "puller"]
    assert searches == [1]


@needs_root
def test_a_process_of_another_user_is_unknown(stack: ExitStack, listener: socket.socket) -> None:
    """Without the right to look at its descriptors the answer is None, and no error."""
    stack.enter_context(socket.create_connection(listener.getsockname()))
    program = (
        "import asyncio, concurrent.futures.thread, json, os, sys; from towline.net.process import processes_of; "
        f"os.setgroups([]); os.setgid({SOMEONE_ELSE}); os.setuid({SOMEONE_ELSE}); "
        "print(asyncio.run(processes_of([tuple(map(tuple, json.loads(sys.argv[1])))])))"
    )
    argv = [sys.executable, "-c", program, json.dumps(accept(stack, listener))]
    assert subprocess.run(argv, capture_output=True, timeout=30, check=True).stdout == b"[None]\n"


async def test_a_machine_without_netlink_tells_nothing(
    stack: ExitStack, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox may not know the address family: the kernel's error is an answer too."""
    monkeypatch.setattr(socket, "AF_NETLINK", 255)
    stack.enter_context(socket.create_connection(listener.getsockname()))
    assert await process_of(*accept(stack, listener)) is None


async def test_another_platform_tells_nothing(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc nothing is looked for."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert await process_of(("127.0.0.1", 50000), listener.getsockname()) is None


async def test_the_search_leaves_the_loop_alone(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it runs in another thread."""
    searching: list[threading.Thread] = []
    monkeypatch.setattr(process, "_inode", lambda *_: searching.append(threading.current_thread()))
    await process_of(("127.0.0.1", 50000), listener.getsockname())
    assert searching != [threading.current_thread()]


async def test_no_thread_to_search_in_tells_nothing(listener: socket.socket) -> None:
    """At the limit of threads the client is unknown, and its tunnel goes on."""
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    asyncio.get_running_loop().set_default_executor(threads)
    assert await process_of(("127.0.0.1", 50000), listener.getsockname()) is None
