"""The laboratory of the conformance suite: every kind of dialer, with its peers, and no descriptor left behind."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.net.fake_dialer import Establish, FakeDialer, Hang
from tests.net.peers import Peer, Script, echo, silent_listener
from tests.net.proxies import Fault, HttpProxy, SocksProxy
from tests.net.resolvers import TableResolver

from towline.net.addresses import Admit
from towline.net.connect import ConnectDialer
from towline.net.dialer import Dialer
from towline.net.direct import DirectDialer
from towline.net.resolve import Resolver
from towline.net.socks import SocksDialer
from towline.types import Address, IPAddress, RouteKind, RouteSpec, Secret, Target

KINDS = ("direct", "http", "https", "socks5", "socks5h", "fake")
PROXY_KINDS = ("http", "https", "socks5", "socks5h")
STEPS = {
    "http": ("reply",),
    "https": ("tls", "reply"),
    "socks5": ("method", "auth", "reply"),
    "socks5h": ("method", "auth", "reply"),
}
"""Where a proxy of each kind answers, in order."""
FAULTS = [(kind, step) for kind in PROXY_KINDS for step in STEPS[kind]]

NAME = "registry.test"
USER = ("ci", "geheim")


def admit_all(target: Target, ip: IPAddress) -> str | None:
    """The guard that lets everything pass."""
    return None


def descriptors() -> dict[str, str]:
    """Open descriptors of this process and what they are."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
        except OSError:  # the descriptor that the listing itself used
            continue
    return found


@dataclass
class Lab:
    """Makes dialers and their peers, and closes all of it at the end."""

    stack: AsyncExitStack
    ca_file: str
    proxy_tls: ssl.SSLContext
    resolver: TableResolver = field(default_factory=lambda: TableResolver({NAME: ["127.0.0.1"]}))
    template: RouteSpec = field(default_factory=lambda: RouteSpec("lab"))
    """What the routes made here have in common: set interface, source or mark before making a dialer."""
    proxy: HttpProxy | SocksProxy | None = None
    """The proxy behind the last dialer made, where it has one."""
    proxy_peer: Peer | None = None
    """Where that proxy listens."""

    async def target(self, script: Script = echo, host: str = "127.0.0.1") -> Peer:
        """Start a target."""
        return await self.stack.enter_async_context(Peer(script, host=host))

    async def dialer(
        self,
        kind: str,
        *,
        fault: Fault | None = None,
        admit: Admit = admit_all,
        resolver: Resolver | None = None,
        **proxy: Any,
    ) -> Dialer:
        """A dialer of this kind; its proxy misbehaves by `fault`. `proxy` goes to HttpProxy or SocksProxy."""
        if kind == "fake":
            return self.stack.enter_context(FakeDialer(Hang() if fault else Establish()))
        if kind == "direct":
            return self.make(kind, None, admit=admit, resolver=resolver)
        proxy = {"names": {NAME: "127.0.0.1"}, "credentials": USER, "fault": fault} | proxy
        if kind in {"http", "https"}:
            self.proxy = HttpProxy(tls=self.proxy_tls if kind == "https" else None, **proxy)
        else:
            self.proxy = SocksProxy(**proxy)
        self.proxy_peer = await self.stack.enter_async_context(Peer(self.proxy))
        return self.make(kind, self.proxy_peer.address, admit=admit, resolver=resolver)

    def make(
        self, kind: str, proxy: Address | None, *, admit: Admit = admit_all, resolver: Resolver | None = None
    ) -> Dialer:
        """A dialer of this kind whose proxy is at `proxy`."""
        spec = replace(
            self.template,
            kind=RouteKind(kind),
            proxy=proxy,
            username=USER[0],
            password=Secret(USER[1]),
            ca_file=self.ca_file,
        )
        resolver = resolver or self.resolver
        if kind == "direct":
            return DirectDialer(spec, resolver=resolver, admit=admit)
        if kind in {"http", "https"}:
            return ConnectDialer(spec, resolver=resolver, admit=admit)
        return SocksDialer(spec, resolver=resolver, admit=admit)

    def silent(self) -> Address:
        """An address where no connection is ever made."""
        return self.stack.enter_context(silent_listener())


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority for proxies."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The authority's certificate as a file."""
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def proxy_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The TLS side of an HTTPS proxy on 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
async def lab(ca_file: str, proxy_tls: ssl.SSLContext) -> AsyncIterator[Lab]:
    """A laboratory; afterwards the process has the descriptors that it had before."""
    before = descriptors()
    async with AsyncExitStack() as stack:
        yield Lab(stack, ca_file, proxy_tls)
    leaked = {fd: what for fd, what in descriptors().items() if fd not in before}
    assert leaked == {}
