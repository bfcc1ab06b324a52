"""Towline itself: the command that a user runs, read through its public surfaces only.

Always on the same address, as in life: clients keep their setting while other Towlines come and go behind it.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import Daemon, environment
from tests.e2e.rig.world import NETWORK

PROXY_ADDRESS = ("127.0.0.1", 3128)
ADMIN_ADDRESS = ("127.0.0.1", 3129)
PROXY_URL = "http://127.0.0.1:3128"

DRAIN = 1.0  # seconds that idle keep-alive tunnels (dockerd's live 30 s) may hold up the end of a test
START_TIMEOUT = 20.0  # seconds until /readyz; one or two are usual

# sd_listen_fds(3): descriptors begin with 3, and are meant for this process id. No shell: dash knows none above 9.
PASS_ON = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""

type StartTowline = Callable[..., Towline]
"""The fixture's type: `start_towline(routes, **sections)`."""


class Towline:
    """One running Towline, and a context manager that stops it. `home` is its HOME, empty at the start."""

    def __init__(
        self,
        near: Namespace,
        folder: Path,
        routes: dict[str, Any] | None,
        *,
        ca: Path | None = None,
        listener: socket.socket | None = None,
        machine: tuple[str, ...] = (),
        **sections: Any,
    ) -> None:
        """Write the configuration and start it; `sections` are further top-level keys, merged into the rig's.

        `routes` None: what the machine offers.

        With `ca` the machine trusts that authority, as it would trust the registries'. A `listener` at PROXY_ADDRESS is
        passed on as systemd does. `machine` is what it is run by, for a machine that differs (names.py).
        """
        self._near = near
        self.home = folder / "home"
        self.home.mkdir()
        config = folder / "towline.yaml"
        config.write_text(yaml.safe_dump(_settings(routes, sections), sort_keys=False))
        argv: tuple[str, ...] = (sys.executable, "-m", "towline", "run", "--config", str(config))
        argv = (*machine, *argv)
        passed = () if listener is None else (listener.fileno(),)
        if passed:
            argv = (sys.executable, "-c", PASS_ON, str(passed[0]), *argv)
        env = environment(self.home, **({"SSL_CERT_FILE": str(ca)} if ca else {}))
        self.process: Daemon = near.start(f"towline-{folder.name}", *argv, env=env, pass_fds=passed)
        try:
            self.process.wait_until(lambda: self.ready() == (200, "ready"), "towline is ready", timeout=START_TIMEOUT)
        except BaseException:
            self.process.stop()
            raise

    def ready(self) -> tuple[int, str]:
        """Status and text of /readyz; (0, why) where nothing answers."""
        try:
            status, body = self._ask("/readyz")
        except OSError as error:
            return 0, str(error)
        return status, body.strip()

    def status(self) -> dict[str, Any]:
        """status.json."""
        _, body = self._ask("/api/v1/status")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def _ask(self, path: str) -> tuple[int, str]:
        with self._near.http(ADMIN_ADDRESS, timeout=5) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def tunnels(self) -> list[dict[str, Any]]:
        """The log's line for every tunnel that has ended, in the order they ended."""
        return [record for record in self.records() if record["event"] == "tunnel"]

    def records(self) -> list[dict[str, Any]]:
        """The whole log; a line that is not a JSON object fails the test."""
        return [json.loads(line) for line in self.process.output().splitlines()]

    def finish(self) -> list[dict[str, Any]]:
        """Stop it, and give the lines of all its tunnels."""
        assert self.stop() == 0, self.process.output()
        return self.tunnels()

    def terminate(self) -> None:
        """Send SIGTERM and do not wait."""
        self.process.signal(signal.SIGTERM)

    def stop(self) -> int:
        """Stop it as a service would be stopped; its exit code."""
        return self.process.stop(timeout=DRAIN + 9)

    def __enter__(self) -> Towline:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _settings(routes: dict[str, Any] | None, sections: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "listen": ["{}:{}".format(*PROXY_ADDRESS)],
        "admin": "{}:{}".format(*ADMIN_ADDRESS),
        "routes": routes,
        # The far side has private addresses, which the guard refuses unless they are named.
        "policy": {"private_targets": [NETWORK]},
        "access": {"clients": ["127.0.0.0/8"]},
        "limits": {"drain": DRAIN},
        "log": {"level": "info", "format": "json"},
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section} if isinstance(section, dict) else section
    return settings
