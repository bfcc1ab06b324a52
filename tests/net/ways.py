"""A way to loopback by each kind of dialer, over a proxy of its own where it takes one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trustme
from tests.net.peers import Peer
from tests.net.proxies import Fault, HttpProxy, SocksProxy
from tests.net.resolvers import TableResolver

from towline.net.connect import ConnectDialer
from towline.net.dialer import Dialer
from towline.net.direct import DirectDialer
from towline.net.socks import SocksDialer
from towline.types import RouteKind, RouteSpec

NAME = "registry.test"
NAMES = (NAME, "auth.test", "blob.test", "other.test")
"""Names of 127.0.0.1."""
KINDS = ("direct", "http", "https", "socks5h")


@asynccontextmanager
async def dialer_of(kind: str, authority: trustme.CA, fault: Fault | None = None) -> AsyncIterator[Dialer]:
    """A dialer of this kind; it, or the proxy behind it, knows NAMES; the proxy misbehaves by `fault`."""
    resolver = TableResolver({name: ["127.0.0.1"] for name in NAMES})
    if kind == "direct":
        yield DirectDialer(RouteSpec("direct"), resolver=resolver, admit=lambda *_: None)
        return
    names = dict.fromkeys(NAMES, "127.0.0.1")
    tls = None
    if kind == "https":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    socks = kind == "socks5h"
    async with Peer(SocksProxy(names, fault=fault) if socks else HttpProxy(names, fault=fault, tls=tls)) as peer:
        spec = RouteSpec(kind, RouteKind(kind), proxy=peer.address)
        yield (SocksDialer if socks else ConnectDialer)(spec, resolver=resolver, admit=lambda *_: None)
