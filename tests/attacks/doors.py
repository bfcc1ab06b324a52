"""The proxies under attack, each in a world of its own at port 3128: Towline, and Debian's squid and tinyproxy.

The two others get the rules that their own documentation has for a proxy that serves this machine only, also where
Debian leaves them out: CONNECT to port 443 alone, and squid's `deny to_localhost` and `deny to_linklocal`. All three
may CONNECT to port 3128 too, so that a way into themselves is not closed by the port.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from tests.attacks.world import ADMIN_PORT, PORT, World
from tests.e2e.rig.process import Daemon, environment, undone_on_failure

LOGGED = 10.0  # seconds until a line is in the log; some milliseconds are usual

SQUID = """\
http_port 3128
pid_filename none
coredump_dir {folder}
access_log stdio:{folder}/squid.access.log
cache_log {folder}/squid.cache.log
cache deny all
shutdown_lifetime 0 seconds
acl here src 127.0.0.0/8 ::1
acl SSL_ports port 443
acl SSL_ports port 3128
acl Safe_ports port 80 443 1025-65535
acl to_linklocal dst 169.254.0.0/16 fe80::/10
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access deny manager
http_access deny to_localhost
http_access deny to_linklocal
http_access allow here
http_access deny all
"""

TINYPROXY = """\
Port 3128
Timeout 600
MaxClients 100
LogLevel Info
Allow 127.0.0.0/8
Allow ::1
ViaProxyName "tinyproxy"
ConnectPort 443
ConnectPort 3128
"""

SETTINGS: dict[str, Any] = {
    "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"],
    "admin": f"127.0.0.1:{ADMIN_PORT}",
    "routes": {"direct": {}},
    "policy": {"ports": [443, 80, 5000, 8443, PORT]},
    "access": {"clients": ["127.0.0.0/8", "::1/128"]},
    "log": {"level": "debug", "format": "json"},
}


class Door:
    """A proxy at work in its world; a context manager that ends both."""

    def __init__(self, name: str, start: Callable[[World, Path], Daemon]) -> None:
        self.name = name
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            self.folder = Path(tempfile.mkdtemp(prefix=f"towline-attacks-{name}-"))
            self._owned.callback(shutil.rmtree, self.folder)
            self.folder.chmod(0o755)  # squid drops its privileges before it opens its logs
            self.world = World(self.folder)
            self._owned.callback(self.world.close)
            self.process = self._owned.enter_context(start(self.world, self.folder))
            self.world.space.await_listener(self.process, ("127.0.0.1", PORT))
            self.world.forget()

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the proxy and its world."""
        self._owned.close()


class TowlineDoor(Door):
    """Towline, with what it tells about itself."""

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "towline"),
        prefix: Sequence[str] = (),
    ) -> None:
        """`settings` are top-level keys in the place of SETTINGS' own; `env` goes to the process.

        Python runs `program`, behind `prefix`.
        """

        def start(world: World, folder: Path) -> Daemon:
            self.config = folder / "towline.yaml"
            self.config.write_text(yaml.safe_dump({**SETTINGS, **(settings or {})}))
            self.config.chmod(0o600)
            self.env = environment(world.space.folder, **(env or {}))
            argv = (*prefix, sys.executable, *program, "run", "-c", str(self.config))
            return world.space.start("towline", *argv, env=self.env)

        super().__init__("towline", start)

    def records(self) -> list[dict[str, Any]]:
        """The log so far; a line that is no JSON object fails the test."""
        return [json.loads(line) for line in self.process.output().splitlines()]

    def await_record(self, event: str, **facts: object) -> dict[str, Any]:
        """The first line of the log with this event and these facts, which may be still to come."""
        wanted = {"event": event, **facts}

        def found() -> dict[str, Any] | None:
            return next((record for record in self.records() if wanted.items() <= record.items()), None)

        self.process.wait_until(lambda: found() is not None, f"{event} is logged", timeout=LOGGED)
        record = found()
        assert record is not None
        return record

    def command(self, *argv: str) -> str:
        """Everything that a command of Towline's prints beside it, whether it succeeds or not."""
        ended = self.world.space.run_any(sys.executable, "-m", "towline", *argv, env=self.env)
        return ended.stdout + ended.stderr

    def status(self) -> dict[str, Any]:
        """status.json."""
        with self.world.asking() as connection:
            connection.request("GET", "/api/v1/status")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer


def _start_squid(world: World, folder: Path) -> Daemon:
    logs = folder / "squid"
    logs.mkdir()
    account = pwd.getpwnam("proxy")
    os.chown(logs, account.pw_uid, account.pw_gid)
    config = folder / "squid.conf"
    config.write_text(SQUID.format(folder=logs))
    return world.space.start("squid", "squid", "-N", "-f", str(config))


def _start_tinyproxy(world: World, folder: Path) -> Daemon:
    config = folder / "tinyproxy.conf"
    config.write_text(TINYPROXY)
    return world.space.start("tinyproxy", "tinyproxy", "-d", "-c", str(config))


DOORS: dict[str, Callable[[], Door]] = {
    "towline": TowlineDoor,
    "squid": lambda: Door("squid", _start_squid),
    "tinyproxy": lambda: Door("tinyproxy", _start_tinyproxy),
}
