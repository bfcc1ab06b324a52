"""A DNS server over HTTPS in a process of its own: `python -m tests.e2e.rig.doh ADDRESS CHAIN KEY HOST=IP ...`.

Each question that it answers is a line on stdout: the name and the record type.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

from tests.net.doh_server import DohServer
from tests.net.name_server import Zone


async def main(address: str, chain: str, key: str, *entries: str) -> None:
    """Serve until killed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    zones = {host: Zone(A=[ip]) for host, _, ip in (entry.partition("=") for entry in entries)}
    async with DohServer(zones, context, address=(address, 443)) as server:
        told = 0
        while True:
            await server.source.until_asked(told + 1)
            for host, record, _ in server.source.asked[told:]:
                print(host, record, flush=True)  # noqa: T201 - what it is read by
            told = len(server.source.asked)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
