"""A TLS session inside a dialed connection; probes and checks of addresses try it whole."""

from __future__ import annotations

import ssl

import pytest
from tests.net.tunnel import tcp_pair

from towline.net.dialer import Dialed
from towline.net.tls import Tls


async def test_a_session_that_cannot_be_made_closes_its_connection() -> None:
    """The connection is the session's own: nobody else would close it."""
    near, far = tcp_pair()
    with far, pytest.raises(ssl.SSLError, match="PROTOCOL_TLS_SERVER"):
        Tls(Dialed(near, "192.0.2.1:443"), "registry.test", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert near.fileno() == -1
