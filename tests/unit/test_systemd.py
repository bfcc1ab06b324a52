"""Sockets passed by descriptor, and news over a datagram socket, each between the test and itself."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from towline.errors import ListenError
from towline.system import systemd
from towline.system.systemd import Supervisor, passed_sockets

PID = 4711
MEANT = {"LISTEN_PID": str(PID), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "proxy"}


def pass_on(monkeypatch: pytest.MonkeyPatch, sock: socket.socket) -> int:
    """Give out a descriptor of `sock` that children would inherit, as the first one that is passed."""
    descriptor = os.dup(sock.fileno())
    os.set_inheritable(descriptor, True)
    monkeypatch.setattr(systemd, "FIRST", descriptor)
    return descriptor


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_listener_is_taken(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """It is found by its address, does not block, is not inherited, and the variables are gone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    environ = MEANT | {"HOME": "/root"}
    with socket.create_server((host, 0), family=family) as listener:
        descriptor = pass_on(monkeypatch, listener)
        address = listener.getsockname()[:2]
        passed = passed_sockets(environ, pid=PID)
        with passed[address] as sock:
            assert passed.keys() == {address}
            assert (sock.fileno(), sock.getblocking(), sock.get_inheritable()) == (descriptor, False, False)
            with socket.create_connection(address):
                accepted, _ = listener.accept()
                accepted.close()
    assert environ == {"HOME": "/root"}


def test_several_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """LISTEN_FDS descriptors in a row are taken."""
    first = 200  # beyond what the test run has open
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        os.dup2(one.fileno(), first)
        os.dup2(two.fileno(), first + 1)
        monkeypatch.setattr(systemd, "FIRST", first)
        passed = passed_sockets(MEANT | {"LISTEN_FDS": "2"}, pid=PID)
        assert [sock.fileno() for sock in passed.values()] == [first, first + 1]
        assert list(passed) == [one.getsockname(), two.getsockname()]
        for sock in passed.values():
            sock.close()


@pytest.mark.parametrize("pid", ["", "4712", "x", "4711 ", "04711"])
def test_variables_of_another_process_mean_nothing(pid: str) -> None:
    """Left over from a parent, or forged: no descriptor is touched, and our own children are not misled either."""
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "7"}
    assert passed_sockets(environ, pid=PID) == {}
    assert environ == {}


def test_nothing_is_passed() -> None:
    """The usual start."""
    assert passed_sockets({}, pid=PID) == {}


@pytest.mark.parametrize("count", ["", "-1", "one", "1.0"])
def test_count_that_is_no_number(count: str) -> None:
    """It is told, since nothing would listen where its writer believes so."""
    with pytest.raises(ListenError, match=f"LISTEN_FDS is {re.escape(repr(count))}"):
        passed_sockets(MEANT | {"LISTEN_FDS": count}, pid=PID)


def test_descriptor_that_is_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file, and a descriptor that is not open, are told by their number."""
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(systemd, "FIRST", file.fileno())
        with pytest.raises(ListenError, match=rf"descriptor {file.fileno()} \(LISTEN_FDS\) is not a socket: "):
            passed_sockets(dict(MEANT), pid=PID)
    with pytest.raises(ListenError, match="is not a socket: Bad file descriptor"):
        passed_sockets(dict(MEANT), pid=PID)


@pytest.mark.parametrize(
    ("family", "kind"),
    [(socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)],
    ids=["not listening", "udp", "unix"],
)
def test_socket_that_no_proxy_listens_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    """The socket unit is wrong, and the error says what it should have."""
    with socket.socket(family, kind) as sock:
        if family == socket.AF_UNIX:
            sock.bind(str(tmp_path / "socket"))
            sock.listen()
        pass_on(monkeypatch, sock)
        with pytest.raises(ListenError, match=r"does not listen for TCP connections\nhint: .*ListenStream="):
            passed_sockets(dict(MEANT), pid=PID)


@pytest.fixture(params=["path", "abstract"])
def service_manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Its datagram socket, and how NOTIFY_SOCKET names it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@towline-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(name.replace("@", "\0"))
        yield sock, name


def test_news_arrive(service_manager: tuple[socket.socket, str]) -> None:
    """Each is one datagram of assignments, by path and by abstract name; the variable is gone from the environment."""
    sock, name = service_manager
    environ = {"NOTIFY_SOCKET": name}
    supervisor = Supervisor.of(environ)
    assert environ == {}
    supervisor.ready()
    assert sock.recv(1024) == b"READY=1\nSTATUS=ready"
    supervisor.stopping(36.5)
    assert sock.recv(1024) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=36500000\nSTATUS=draining"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    supervisor.reloading()
    found = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=reloading", sock.recv(1024))
    assert found
    assert before // 1000 <= int(found[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_nobody_to_tell() -> None:
    """Without a service manager nothing happens; one that is gone costs a line in the log."""
    with capture_logs() as logs:
        Supervisor.of({}).ready()
        assert logs == []
        Supervisor.of({"NOTIFY_SOCKET": "/nowhere/notify"}).ready()
    assert [(entry["event"], entry["what"], entry["why"]) for entry in logs] == [
        ("not_notified", "READY=1", "No such file or directory")
    ]


def test_service_manager_that_does_not_read(service_manager: tuple[socket.socket, str]) -> None:
    """A full queue does not block the event loop."""
    _, name = service_manager
    supervisor = Supervisor(name)
    with capture_logs() as logs:
        for _ in range(5000):  # more than any net.unix.max_dgram_qlen in use
            supervisor.ready()
            if logs:
                break
    assert logs[0]["why"] == "Resource temporarily unavailable"
