"""A Towline on loopback with three faulty proxies as its routes: where schedules are played. It needs no root."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.process import Daemon, environment, undone_on_failure
from tests.faults.pattern import HOST, Way
from tests.faults.proxy import FaultyProxy

LOOPBACK = "127.0.0.1"
ROUTES = ("one", "two", "three")
LINGER = 1.0  # seconds, and what a half-closed tunnel may be silent: schedules are short, and so is the wait after one
START_TIMEOUT = 20.0  # seconds; one or two are usual


class Ground:
    """All of it, up once made; `close()` takes it down."""

    def __init__(self) -> None:
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            self._folder = Path(tempfile.mkdtemp(prefix="towline-schedule-"))
            self._owned.callback(shutil.rmtree, self._folder)
            self._make_certificates()
            listen, admin, *ports = free_ports(2 + len(Way) + len(ROUTES))
            self.listen, self._admin = (LOOPBACK, listen), (LOOPBACK, admin)
            self.ports = dict(zip(Way, ports, strict=False))
            self.proxies = {
                name: self._start_proxy(name, port) for name, port in zip(ROUTES, ports[len(Way) :], strict=True)
            }
            self.towline = self._start_towline(ports[len(Way) :])

    def _make_certificates(self) -> None:
        authority = Authority(self._folder)
        self.server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server_tls.load_cert_chain(*authority.issue(HOST))
        self.client_tls = ssl.create_default_context(cafile=authority.ca)

    def _launch(self, name: str, *argv: str) -> Daemon:
        daemon = Daemon(name, argv, env=environment(self._folder), log=self._folder / f"{name}.log")
        return self._owned.enter_context(daemon)

    def _start_proxy(self, name: str, port: int) -> FaultyProxy:
        return FaultyProxy(self._launch, name, (LOOPBACK, port), self._folder, host=LOOPBACK)

    def _start_towline(self, ports: list[int]) -> Daemon:
        settings = {
            "listen": ["{}:{}".format(*self.listen)],
            "admin": "{}:{}".format(*self._admin),
            "routes": {name: {"proxy": f"http://{LOOPBACK}:{port}"} for name, port in zip(ROUTES, ports, strict=True)},
            "policy": {"unlisted": "route", "ports": list(self.ports.values())},
            "limits": {"linger": LINGER, "half_closed": LINGER},
            "log": {"level": "info", "format": "json"},
        }
        config = self._folder / "towline.yaml"
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        towline = self._launch("towline", sys.executable, "-m", "towline", "run", "--config", str(config))
        towline.wait_until(self._is_ready, "towline is ready", timeout=START_TIMEOUT)
        return towline

    def _is_ready(self) -> bool:
        try:
            return self._ask("/readyz")[0] == 200
        except OSError:
            return False

    def status(self) -> dict[str, Any]:
        """Towline's status.json."""
        answer: dict[str, Any] = json.loads(self._ask("/api/v1/status")[1])
        return answer

    def _ask(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(*self._admin, timeout=5)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def sockets(self) -> int:
        """Sockets that Towline has open; pipes are not counted, which it keeps for later tunnels."""
        descriptors = Path(f"/proc/{self.towline.pid}/fd").iterdir()
        return sum(_leads_to(descriptor).startswith("socket:") for descriptor in descriptors)

    def tell(self, route: str, **order: Any) -> None:
        """Give an order to the proxy of a route."""
        self.proxies[route].order(**order)

    def close(self) -> None:
        """Take everything down."""
        self._owned.close()


def _leads_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed since it was listed
        return ""


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]
