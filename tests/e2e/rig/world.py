"""The world of the end-to-end tests: a near side that pulls and a far side that serves, four links between them.

    near: Towline, container clients              far: registry, web server, upstream proxies
      wan0  10.77.1.1  <------------ link ------------> in0   the default way
      wan1  10.77.2.1  <------------ link ------------> in1   taken from source address 10.77.2.1
      wan2  10.77.3.1  <------------ link ------------> in2   taken by interface
      wan3  10.77.4.1  <------------ link ------------> in3   taken by routing mark 0x20

The registry's real names lead to the far side by a hosts file seen only inside. nftables on the far side counts which
link connections to the service really came over, and refuses or swallows them where a test wants a bad link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import run, undone_on_failure

NETWORK = "10.77.0.0/16"
REGISTRY = "10.77.0.10"
WEB = "10.77.0.11"
PROXY = "10.77.0.20"

DEFAULT_LINK, SOURCE_LINK, INTERFACE_LINK, MARK_LINK = LINKS = ("wan0", "wan1", "wan2", "wan3")
SOURCE = "10.77.2.1"
MARK = 0x20

HOSTS = f"""\
127.0.0.1 localhost
{REGISTRY} registry-1.docker.io plain.corp.test
{WEB} auth.docker.io production.cloudflare.docker.com docs.corp.test
{PROXY} proxy.corp.test
"""

# Every upstream proxy wants this account; dante looks it up in the far side's own user database.
PROXY_USER, PROXY_PASSWORD = "tow", "corr3ct-horse"

FAULTS = {"refuse": "reject with tcp reset", "swallow": "drop"}
type Fault = Literal["refuse", "swallow"]


class World:
    """Two joined namespaces, up once made; `close()` takes them down with everything that still runs in them."""

    def __init__(self, folder: Path, password_hash: str) -> None:
        """Make it in `folder`; the account of the proxies gets the password of this crypt(3) hash."""
        users = Path("/etc/passwd").read_text() + f"{PROXY_USER}:x:7777:65534::/nonexistent:/usr/sbin/nologin\n"
        shadow = f"{PROXY_USER}:{password_hash}:19000:0:99999:7:::\n"
        common = {"/etc/hosts": HOSTS, "/etc/resolv.conf": ""}
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            self.near = self._own(Namespace("near", folder, common))
            self.far = self._own(Namespace("far", folder, {**common, "/etc/passwd": users, "/etc/shadow": shadow}))
            self._join()
            self._count_arrivals()

    def _own(self, side: Namespace) -> Namespace:
        self._owned.callback(side.close)
        return side

    def _join(self) -> None:
        for side in (self.near, self.far):
            # Four links lead to the same addresses: a strict reverse-path filter would drop what comes over three.
            side.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        for number, link in enumerate(LINKS):
            network = f"10.77.{number + 1}"
            peer = f"in{number}"
            near, far = str(self.near.pid), str(self.far.pid)
            veth = ["ip", "link", "add", link, "netns", near, "type", "veth", "peer", "name", peer, "netns", far]
            run(veth, env=self.near.env)
            self.near.ip(f"address add {network}.1/24 dev {link}", f"link set {link} up")
            self.far.ip(f"address add {network}.2/24 dev {peer}", f"link set {peer} up")
        self.far.ip(*(f"address add {address}/32 dev lo" for address in (REGISTRY, WEB, PROXY)))
        self.near.ip(
            "route add default via 10.77.1.2 dev wan0",
            f"route add default via 10.77.2.2 dev {SOURCE_LINK} table 101",
            f"rule add from {SOURCE} table 101",
            # SO_BINDTODEVICE looks for a route that leaves by the interface: one of a lower preference will do.
            f"route add default via 10.77.3.2 dev {INTERFACE_LINK} metric 500",
            f"route add default via 10.77.4.2 dev {MARK_LINK} table 103",
            f"rule add fwmark {MARK:#x} table 103",
        )

    def _count_arrivals(self) -> None:
        counters = "\n".join(f"counter {link} {{ }}" for link in LINKS)
        rules = "\n".join(
            f'iifname "in{number}" ip daddr {{ {REGISTRY}, {WEB} }} tcp flags & (syn | ack) == syn counter name {link}'
            for number, link in enumerate(LINKS)
        )
        chain = f"chain arrivals {{\ntype filter hook prerouting priority raw;\n{rules}\n}}"
        self.far.run("nft", "-f", "-", stdin=f"table inet witness {{\n{counters}\n{chain}\n}}\n")

    def arrivals(self) -> dict[str, int]:
        """SYN packets to the registry and the web server that came over each link so far."""
        listing = json.loads(self.far.run("nft", "--json", "list", "counters", "table", "inet", "witness"))
        counters = [item["counter"] for item in listing["nftables"] if "counter" in item]
        return {counter["name"]: counter["packets"] for counter in counters}

    @contextmanager
    def fault(self, kind: Fault, *links: str) -> Iterator[None]:
        """While it lasts, new connections over these links are refused (RST) or swallowed (the SYN is dropped)."""
        peers = ", ".join(f'"in{LINKS.index(link)}"' for link in links)
        rule = f"iifname {{ {peers} }} tcp flags & (syn | ack) == syn {FAULTS[kind]}"
        chain = f"chain input {{\ntype filter hook input priority 0;\n{rule}\n}}"
        self.far.run("nft", "-f", "-", stdin=f"table inet fault {{\n{chain}\n}}\n")
        try:
            yield
        finally:
            self.far.run("nft", "delete", "table", "inet", "fault")

    @contextmanager
    def slowed(self, link: str, megabits: int) -> Iterator[None]:
        """While it lasts, the far side sends at most this many Mbit/s over the link (token bucket; no netem needed)."""
        peer = f"in{LINKS.index(link)}"
        limit = ("tbf", "rate", f"{megabits}mbit", "burst", "64k", "latency", "50ms")
        self.far.run("tc", "qdisc", "add", "dev", peer, "root", *limit)
        try:
            yield
        finally:
            self.far.run("tc", "qdisc", "delete", "dev", peer, "root")

    def close(self) -> None:
        """Take both sides down."""
        self._owned.close()
