"""A registry on loopback, over real TLS: its API, its token host and its blob host, each of which may misbehave.

async with Registry.open(authority) as registry: ...
registry.api.now("/v2/", answer(503))      another answer at the API, to what begins so
registry.blob.now("/layer", reset)         any script at the blob host
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import trustme
from tests.net.peers import Client, Peer, Script
from tests.net.ways import NAME

from towline.types import Candidate, Classification, Ranking, Role, Target

LAYER = 400 * 1024
CHALLENGE = "Docker-Distribution-Api-Version: registry/2.0\r\nWWW-Authenticate: {}"
ROLES = {NAME: ("hub", Role.API), "auth.test": ("hub", Role.AUTH), "blob.test": ("hub", Role.BLOB)}


def answer(status: int, body: bytes = b"", *headers: str) -> Script:
    """One answer of HTTP."""

    async def script(client: Client) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", *headers])
        await client.send(head.encode() + b"\r\n\r\n" + body)

    return script


@dataclass
class Host:
    """An HTTPS server: by the beginning of the path, what it does; the longest that fits counts."""

    certificate: trustme.LeafCert
    answers: dict[str, Script] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    """The request heads that came."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """One has."""

    async def __call__(self, client: Client) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.certificate.configure_cert(context)
        await client.start_tls(context)
        while True:
            head = (await client.read_head()).decode()
            self.heads.append(head)
            self.reached.set()
            path = head.split(" ")[1]
            fitting = [beginning for beginning in self.answers if path.startswith(beginning)]
            await (self.answers[max(fitting, key=len)] if fitting else answer(404))(client)

    def now(self, beginning: str, script: Script) -> None:
        """From now on do this for every path that begins so."""
        self.answers = {path: known for path, known in self.answers.items() if not path.startswith(beginning)}
        self.answers[beginning] = script

    def asked(self, beginning: str) -> list[str]:
        """The heads of requests for what begins so."""
        return [head for head in self.heads if head.split(" ")[1].startswith(beginning)]


def part_of(content: bytes, host: Host) -> Script:
    """The part of `content` that was asked for."""

    async def script(client: Client) -> None:
        wanted = next(line for line in host.heads[-1].split("\r\n") if line.startswith("Range: bytes=0-"))
        last = int(wanted.rpartition("-")[2])
        await answer(206, content[: last + 1], f"Content-Range: bytes 0-{last}/{len(content)}")(client)

    return script


@dataclass
class Registry:
    """The three hosts, which know one image, `library/test`."""

    api: Host
    auth: Host
    blob: Host
    ports: Mapping[Role, int] = field(default_factory=dict)
    routes: tuple[str, ...] = ("direct", "http", "https", "socks5h")
    """Those that may serve its hosts."""

    @classmethod
    @asynccontextmanager
    async def open(cls, authority: trustme.CA) -> AsyncIterator[Self]:
        """Listen."""
        api, auth, blob = (Host(authority.issue_cert(name)) for name in ROLES)
        self = cls(api, auth, blob)
        async with Peer(api) as api_peer, Peer(auth) as auth_peer, Peer(blob) as blob_peer:
            self.ports = {Role.API: api_peer.port, Role.AUTH: auth_peer.port, Role.BLOB: blob_peer.port}
            self.behave()
            yield self

    @property
    def target(self) -> Target:
        """Where its API is."""
        return self.host(Role.API)

    def host(self, role: Role) -> Target:
        """Where the host of a role is."""
        name = next(name for name, (_, other) in ROLES.items() if other is role)
        return Target(name, self.ports[role])

    def rank(self, target: Target) -> Ranking:
        """What its hosts are; others are of no registry, and for the route `direct` alone."""
        registry, role = ROLES.get(target.host, ("unlisted", Role.UNKNOWN))
        routes = self.routes if target.host in ROLES else ("direct",)
        what = Classification(registry, role, target.host, "")
        return Ranking(target, what, tuple(Candidate(route, 1.0, "", 0.25) for route in routes))

    def behave(self) -> None:
        """From now on be well."""
        content = bytes(range(256)) * (LAYER // 256)
        layer = {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": LAYER}
        manifest = json.dumps({"layers": [{**layer, "digest": f"sha256:{1:064}", "size": 9}, layer]}).encode()
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        index = json.dumps({"manifests": [{"digest": digest, "size": len(manifest)}]}).encode()
        realm = f"https://{self.host(Role.AUTH)}/token"
        unauthorized = answer(401, b"{}", CHALLENGE.format(f'Bearer realm="{realm}",service="registry.test"'))
        away = answer(307, b"over there", f"Location: https://{self.host(Role.BLOB)}/layer?signed=1")
        self.api.answers = {
            "/v2/": unauthorized,
            "/v2/library/test/manifests/latest": self._for_token(answer(200, index), unauthorized),
            f"/v2/library/test/manifests/{digest}": self._for_token(answer(200, manifest), unauthorized),
            f"/v2/library/test/blobs/{layer['digest']}": self._for_token(away, unauthorized),
        }
        self.auth.answers = {"/token": answer(200, b'{"token": "sesame", "expires_in": 300}')}
        self.blob.answers = {"/layer": part_of(content, self.blob)}

    def _for_token(self, inside: Script, outside: Script) -> Script:
        async def script(client: Client) -> None:
            authorized = "Authorization: Bearer sesame" in self.api.heads[-1]
            await (inside if authorized else outside)(client)

        return script
