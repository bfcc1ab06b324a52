"""The upstream proxies of the far side: what an office, a provider or a friend would run.

    squid       http://proxy.corp.test:3128    HTTP proxy with a password
    squid       https://proxy.corp.test:3130   the same, spoken to over TLS
    tinyproxy   http://proxy.corp.test:8888    HTTP proxy with a password
    dante       socks5h://proxy.corp.test:1080 SOCKS5 with a password, names resolved by the proxy
    microsocks  socks5://proxy.corp.test:1081  SOCKS5 with a password

Each one's own log is the witness of the connections that it made.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.process import SEARCH_PATH, Daemon, run, undone_on_failure
from tests.e2e.rig.world import PROXY, PROXY_PASSWORD, PROXY_USER, World

PROXY_HOST = "proxy.corp.test"
SQUID_PORT, SQUID_TLS_PORT, TINYPROXY_PORT, DANTE_PORT, MICROSOCKS_PORT = 3128, 3130, 8888, 1080, 1081

SQUID = """\
http_port {address}:{port}
https_port {address}:{tls_port} tls-cert={certificate} tls-key={key}
visible_hostname {host}
pid_filename none
coredump_dir {folder}
access_log stdio:{folder}/squid.access.log
logformat witness %>lp %rm %ru %>Hs
access_log stdio:{folder}/squid.witness.log witness
cache_log {folder}/squid.cache.log
cache deny all
shutdown_lifetime 0 seconds
auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/squid.passwords
auth_param basic realm tests
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""

TINYPROXY = """\
Listen {address}
Port {port}
Timeout 60
MaxClients 100
LogLevel Connect
BasicAuth {user} {password}
"""

DANTE = """\
logoutput: stderr
internal: {address} port = {port}
external: {address}
clientmethod: none
socksmethod: username
user.privileged: root
user.unprivileged: nobody
client pass {{
    from: 0.0.0.0/0 to: 0.0.0.0/0
    log: error
}}
socks pass {{
    from: 0.0.0.0/0 to: 0.0.0.0/0
    command: connect
    log: connect error
}}
"""


HAS_DANTE = shutil.which("danted", path=SEARCH_PATH) is not None
"""Debian 13 has no dante-server; microsocks speaks SOCKS5 there alone."""


class Upstreams:
    """All five proxies, up once made; `witnesses` gives for each how many connections its own log shows."""

    def __init__(self, world: World, authority: Authority) -> None:
        self._far = world.far
        self._folder = world.far.folder
        self._authority = authority
        self.witnesses: dict[str, Callable[[], int]] = {}
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            self._start_squid()
            self._start_tinyproxy()
            if HAS_DANTE:
                self._start_dante()
            self._start_microsocks()

    def _start(self, port: int, program: str, *argv: str) -> Daemon:
        daemon = self._far.start(program, program, *argv)
        self._owned.enter_context(daemon)
        self._far.await_listener(daemon, (PROXY, port))
        return daemon

    def _start_squid(self) -> None:
        certificate, key = self._authority.issue(PROXY_HOST)
        folder = self._folder / "squid"
        folder.mkdir()
        hashed = run(["openssl", "passwd", "-apr1", "-stdin"], env=self._far.env, stdin=PROXY_PASSWORD).strip()
        (folder / "squid.passwords").write_text(f"{PROXY_USER}:{hashed}\n")
        # Squid drops to its own user before it opens its logs.
        account = pwd.getpwnam("proxy")
        os.chown(folder, account.pw_uid, account.pw_gid)
        config = folder / "squid.conf"
        config.write_text(
            SQUID.format(
                address=PROXY, port=SQUID_PORT, tls_port=SQUID_TLS_PORT, host=PROXY_HOST, folder=folder,
                certificate=certificate, key=key,
            )
        )  # fmt: skip
        log = folder / "squid.witness.log"
        self.witnesses["squid"] = lambda: _count(log, f"{SQUID_PORT} CONNECT")
        self.witnesses["squid-tls"] = lambda: _count(log, f"{SQUID_TLS_PORT} CONNECT")
        self._start(SQUID_PORT, "squid", "-N", "-f", str(config))

    def _start_tinyproxy(self) -> None:
        config = self._folder / "tinyproxy.conf"
        settings = TINYPROXY.format(address=PROXY, port=TINYPROXY_PORT, user=PROXY_USER, password=PROXY_PASSWORD)
        config.write_text(settings)
        daemon = self._start(TINYPROXY_PORT, "tinyproxy", "-d", "-c", str(config))
        self.witnesses["tinyproxy"] = lambda: _count(daemon.log, "Established connection to host")

    def _start_dante(self) -> None:
        config = self._folder / "danted.conf"
        config.write_text(DANTE.format(address=PROXY, port=DANTE_PORT))
        pid_file = self._folder / "danted.pid"
        daemon = self._start(DANTE_PORT, "danted", "-f", str(config), "-p", str(pid_file))
        self.witnesses["dante"] = lambda: _count(daemon.log, "connect [")

    def _start_microsocks(self) -> None:
        account = ("-u", PROXY_USER, "-P", PROXY_PASSWORD)
        daemon = self._start(MICROSOCKS_PORT, "microsocks", "-i", PROXY, "-p", str(MICROSOCKS_PORT), *account)
        self.witnesses["microsocks"] = lambda: _count(daemon.log, "connected to")

    def close(self) -> None:
        """Stop all of them."""
        self._owned.close()


def _count(log: Path, words: str) -> int:
    return log.read_text(errors="replace").count(words) if log.exists() else 0
