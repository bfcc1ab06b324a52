"""What answers for the registry's names on the far side, truly or not, and a machine whose system asks it.

10.77.0.53    dnsmasq that forges: the registry's hosts are at 10.77.0.66      what the machine resolves by
10.77.0.54    dnsmasq that tells the truth                                     for `dns: udp://10.77.0.54`
10.77.0.55    a server over HTTPS that does                                    for `dns: https://10.77.0.55/dns-query`
10.77.0.66    whoever answers in the registry's place (forger.py)
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import trustme
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.forger import HOSTS
from tests.e2e.rig.process import Daemon, environment, undone_on_failure
from tests.e2e.rig.world import REGISTRY, WEB, World

FORGING, TRUE, OVER_HTTPS, FORGED = "10.77.0.53", "10.77.0.54", "10.77.0.55", "10.77.0.66"
ADDRESSES = {host: REGISTRY if host.startswith("registry") else WEB for host in HOSTS}


class Names:
    """The servers, up once made; `close()` stops them. `machine` is what runs a command on that machine."""

    def __init__(self, world: World, authority: Authority, folder: Path, *, forges_tls: bool) -> None:
        """`forges_tls`: at the forged address there is TLS, with a certificate that nobody trusts; else a page."""
        self._far = world.far
        self._folder = folder
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            for address in (FORGING, TRUE, OVER_HTTPS, FORGED):
                self._far.run("ip", "address", "replace", f"{address}/32", "dev", "lo")
            self._start_dnsmasq("forging", FORGING, dict.fromkeys(HOSTS, FORGED))
            self._true = self._start_dnsmasq("true", TRUE, ADDRESSES)
            self._start_doh(authority)
            self._forger = self._start_forger(forges_tls)
        self.machine = self._machine()

    def _start_dnsmasq(self, name: str, address: str, hosts: dict[str, str]) -> Daemon:
        settings = (
            "--conf-file=/dev/null",
            "--no-hosts",
            "--no-resolv",
            "--local-ttl=60",
            "--local=/#/",
            "--user=root",
            "--log-queries",
            "--log-facility=-",
        )
        told = [f"--host-record={host},{ip}" for host, ip in hosts.items()]
        bound = (f"--listen-address={address}", "--bind-interfaces", "--pid-file=")
        daemon = self._far.start(f"dnsmasq-{name}", "dnsmasq", "--keep-in-foreground", *settings, *bound, *told)
        self._owned.enter_context(daemon)
        self._far.await_listener(daemon, (address, 53))
        return daemon

    def _start_doh(self, authority: Authority) -> None:
        certificate, key = authority.issue(OVER_HTTPS)
        entries = [f"{host}={ip}" for host, ip in ADDRESSES.items()]
        self._doh = self._start_program("doh", OVER_HTTPS, str(certificate), str(key), *entries)

    def _start_forger(self, forges_tls: bool) -> Daemon:
        certificate: list[str] = []
        if forges_tls:
            stranger = trustme.CA().issue_cert(*HOSTS)
            files = [self._folder / "stranger.crt", self._folder / "stranger.key"]
            stranger.cert_chain_pems[0].write_to_path(files[0])
            stranger.private_key_pem.write_to_path(files[1])
            certificate = [str(file) for file in files]
        return self._start_program("forger", FORGED, *certificate)

    def _start_program(self, module: str, address: str, *argv: str) -> Daemon:
        """Run a program of this folder, which listens at port 443."""
        env = environment(self._far.folder, PYTHONPATH=str(Path(__file__).parents[3]))
        command = (sys.executable, "-m", f"tests.e2e.rig.{module}", address, *argv)
        daemon = self._owned.enter_context(self._far.start(module, *command, env=env))
        self._far.await_listener(daemon, (address, 443))
        return daemon

    def _machine(self) -> tuple[str, ...]:
        """What runs a command with a hosts file that knows no registry, and the forging server to ask."""
        hosts, resolv = self._folder / "hosts", self._folder / "resolv.conf"
        hosts.write_text("127.0.0.1 localhost\n10.77.0.20 proxy.corp.test\n")
        resolv.write_text(f"nameserver {FORGING}\noptions timeout:1 attempts:1\n")
        binds = " && ".join(
            f"mount --bind {file} {os.path.realpath(path)}"
            for file, path in ((hosts, "/etc/hosts"), (resolv, "/etc/resolv.conf"))
        )
        return ("unshare", "--mount", "sh", "-c", f'{binds} && exec "$@"', "sh")

    def hellos(self, *, ours: bool) -> Counter[str]:
        """ClientHellos that came to the forged address, by host: those of Towline's checks, or the clients'."""
        lines = [json.loads(line) for line in self._forger.output().splitlines()]
        return Counter(line["host"] for line in lines if line["ours"] is ours)

    def true_questions(self) -> int:
        """Questions that the truthful servers were asked."""
        return self._true.output().count("query[") + len(self._doh.output().splitlines())

    def close(self) -> None:
        """Stop every server."""
        self._owned.close()
