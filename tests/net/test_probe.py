"""Probes over real dialers and real TLS on loopback: a registry that is well, and everything that is not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import trustme
from tests.net.peers import GARBAGE, Client, Peer, Script, closed_port, repeats, reset, says, silent_listener
from tests.net.registries import CHALLENGE, LAYER, Registry, answer, part_of
from tests.net.ways import KINDS, NAME, dialer_of

from towline.core.evidence import Finding
from towline.core.probes import HEAR_COST, READ_COST, READ_SIZE
from towline.errors import Refused
from towline.net import probe as probing
from towline.net.probe import probe
from towline.net.sought import PublicImages, Sought
from towline.types import Blame, Ranking, Role, Target

IMAGE = "library/test"
BUSY = 5.0  # seconds that a busy machine may be late

pytestmark = pytest.mark.usefixtures("system_roots", "no_complaint", "nothing_left")


@pytest.fixture
async def registry(authority: trustme.CA) -> AsyncIterator[Registry]:
    """A registry that is well, until a test changes it."""
    async with Registry.open(authority) as registry:
        yield registry


@pytest.fixture
def known() -> PublicImages:
    """What probes remember of images."""
    return PublicImages()


async def probed(
    registry: Registry,
    authority: trustme.CA,
    *,
    kind: str = "direct",
    target: Target | None = None,
    image: str | None = None,
    known: PublicImages | None = None,
) -> tuple[Finding, ...]:
    """What is found at the registry over a way of this kind."""
    target = target or registry.target
    sought = Sought(target, registry.rank(target).classification, image)
    async with dialer_of(kind, authority) as dialer:
        return await probe(kind, dialer, sought, rank=registry.rank, known=known or PublicImages())


# Hearing


@pytest.mark.parametrize("kind", KINDS)
async def test_a_registry_that_is_well(kind: str, registry: Registry, authority: trustme.CA) -> None:
    """Over every kind of dialer it is asked for /v2/, as what it is, and the times are told."""
    (found,) = await probed(registry, authority, kind=kind)
    assert (found.ok, found.detail, found.blame) == (True, "answers as a registry (401)", Blame.NONE)
    assert (found.route, found.target, found.registry, found.role) == (kind, registry.target, "hub", Role.API)
    assert found.dial is not None
    assert found.first_byte is not None
    assert 0 < found.first_byte < found.dial + BUSY
    assert 1000 < found.spent < HEAR_COST
    assert found.carried is None
    assert [head.split(" ")[:2] for head in registry.api.heads] == [["GET", "/v2/"]]


@pytest.mark.parametrize("role", [Role.AUTH, Role.BLOB])
async def test_other_hosts_are_heard_by_their_certificate(
    role: Role, registry: Registry, authority: trustme.CA
) -> None:
    """They are no API: nothing is asked of them."""
    (found,) = await probed(registry, authority, target=registry.host(role))
    assert (found.ok, found.detail, found.role) == (True, "established, TLSv1.3", role)
    assert registry.auth.heads == registry.blob.heads == []


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (answer(302, b"", "Location: https://login.test/"), "sent to another place (302), as by a captive portal"),
        (answer(200, b"<p>Welcome", "Content-Type: text/html"), "a page that is no registry's (200)"),
        (answer(403, b"blocked"), "no registry's answer (403)"),
        (answer(503), "the registry is broken (503)"),
        (answer(401), "no registry's answer (401 without its challenge)"),
        (says(GARBAGE), "no HTTP answer: illegal request line"),
        (answer(302, b"", "Location: https://login.test:port/"), "no HTTP answer: Invalid URL in location header"),
    ],
    ids=["portal", "page", "block page", "broken", "no challenge", "garbage", "nowhere"],
)
async def test_what_answers_in_its_place(
    script: Script, detail: str, registry: Registry, authority: trustme.CA
) -> None:
    """It is told in words what came, and the host itself is blamed: it showed its certificate."""
    registry.api.now("/v2/", script)
    (found,) = await probed(registry, authority, image=IMAGE)
    assert (found.ok, found.blame) == (False, Blame.TARGET)
    assert found.detail.startswith(detail)
    assert len(registry.api.heads) == 1


@pytest.mark.parametrize("role", [Role.API, Role.BLOB])
async def test_a_poisoned_address(role: Role, registry: Registry, authority: trustme.CA) -> None:
    """A certificate of another name is the route's fault; where it was shown is told."""
    host = registry.api if role is Role.API else registry.blob
    host.certificate = authority.issue_cert("blocked.test")
    (found,) = await probed(registry, authority, target=registry.host(role))
    assert (found.ok, found.blame) == (False, Blame.ROUTE)
    assert found.detail.startswith("certificate not trusted: Hostname mismatch")
    assert found.detail.endswith(f"reached at 127.0.0.1:{registry.ports[role]}")


async def test_a_dead_host(registry: Registry, authority: trustme.CA) -> None:
    """In the dialer's own words; there is no time to tell."""
    (found,) = await probed(registry, authority, target=Target(NAME, closed_port()))
    assert (found.ok, found.detail, found.dial, found.first_byte, found.spent) == (False, "refused", None, None, 0)


async def test_a_host_that_is_silent(
    registry: Registry, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a bounded time, wherever it stops."""
    monkeypatch.setattr(probing, "HEAR_TIME", 0.5)
    registry.api.now("/v2/", says(b"HTTP/1.1 200 OK\r\nContent-Le"))
    (found,) = await probed(registry, authority)
    assert re.fullmatch(r"timeout \d\.\d s waiting for its answer", found.detail)
    async with Peer(says(b"")) as mute:
        (found,) = await probed(registry, authority, target=Target(NAME, mute.port))
    assert re.fullmatch(r"timeout \d\.\d s in the TLS handshake", found.detail)
    with silent_listener() as (_, port):
        (found,) = await probed(registry, authority, target=Target(NAME, port))
    assert re.fullmatch(r"timeout \d\.\d s", found.detail)


@pytest.mark.parametrize("head", ["", "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"], ids=["head", "body"])
async def test_a_flood_ends_early(head: str, registry: Registry, authority: trustme.CA) -> None:
    """However much comes, about as much is taken as a probe may cost."""

    async def flood(client: Client) -> None:
        await client.send(head.encode())
        await repeats(b"x" * 16384)(client)

    registry.api.now("/v2/", flood)
    (found,) = await probed(registry, authority)
    assert not found.ok
    assert found.spent < HEAR_COST + 2 * 16384


async def test_the_environments_proxies_are_not_used(
    registry: Registry, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor its .netrc: the way is the route's alone."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    (found,) = await probed(registry, authority)
    assert found.ok


# Reading


@pytest.mark.parametrize("kind", KINDS)
async def test_a_blob_is_read_in_part(kind: str, registry: Registry, authority: trustme.CA) -> None:
    """By token, manifests, and redirect: each host is told of, and the blob's with what it carried."""
    api, auth, blob = await probed(registry, authority, kind=kind, image=IMAGE)
    assert (api.ok, api.target, api.detail) == (True, registry.target, "answers as a registry (401)")
    assert (auth.ok, auth.target, auth.detail) == (True, registry.host(Role.AUTH), "gives tokens (200)")
    assert (blob.ok, blob.target, blob.role) == (True, registry.host(Role.BLOB), Role.BLOB)
    assert READ_SIZE < blob.spent < READ_SIZE + 16384
    assert api.spent + auth.spent + blob.spent < READ_COST
    (asked,) = registry.auth.asked("/token")
    assert "service=registry.test" in asked
    (asked,) = registry.blob.heads
    assert f"Range: bytes=0-{READ_SIZE - 1}\r\n" in asked


async def test_its_rate_is_told(registry: Registry, authority: trustme.CA) -> None:
    """The rate at which the blob's host sends, of a stretch of the bytes."""

    async def at_a_megabyte(client: Client) -> None:
        await client.send(f"HTTP/1.1 206 Partial\r\nContent-Length: {READ_SIZE}\r\n\r\n".encode())
        loop = asyncio.get_running_loop()
        began = loop.time()
        for sent in range(0, READ_SIZE, 8192):
            await asyncio.sleep(began + sent / 1_000_000 - loop.time())
            await client.send(b"x" * 8192)

    registry.blob.now("/layer", at_a_megabyte)
    *_, blob = await probed(registry, authority, image=IMAGE)
    assert blob.carried is not None
    assert 300_000 < blob.carried.rate < 2_500_000
    assert re.fullmatch(r"a blob at \d\.\d MB/s", blob.detail)


async def test_what_was_learned_is_not_asked_again(
    registry: Registry, authority: trustme.CA, known: PublicImages
) -> None:
    """The manifests are asked for once in a run, a token once while it holds, over each route."""
    for _ in range(2):
        assert all(found.ok for found in await probed(registry, authority, image=IMAGE, known=known))
    assert len(registry.auth.heads) == 1
    assert len(registry.api.asked("/v2/library/test/manifests/")) == 3  # the first without a token
    assert len(registry.blob.heads) == 2
    await probed(registry, authority, kind="http", image=IMAGE, known=known)
    assert len(registry.auth.heads) == 2
    assert len(registry.api.asked("/v2/library/test/manifests/")) == 3


async def test_a_token_that_holds_no_more_is_asked_for_anew(
    registry: Registry, authority: trustme.CA, known: PublicImages
) -> None:
    """Whether its time is over or the registry says so."""
    await probed(registry, authority, image=IMAGE, known=known)
    ((key, _),) = known.tokens.items()
    known.tokens[key] = ("worn", float("inf"))
    assert all(found.ok for found in await probed(registry, authority, image=IMAGE, known=known))
    known.tokens[key] = ("sesame", 0.0)
    assert all(found.ok for found in await probed(registry, authority, image=IMAGE, known=known))
    assert len(registry.auth.heads) == 3


async def test_a_token_goes_to_its_registry_alone(registry: Registry, authority: trustme.CA) -> None:
    """The host that the redirect names does not see it."""
    await probed(registry, authority, image=IMAGE)
    assert not [head for head in registry.blob.heads + registry.auth.heads if "sesame" in head]


async def test_a_registry_that_serves_its_blobs_itself(registry: Registry, authority: trustme.CA) -> None:
    """There is one host then, and what it carried is told with it."""
    registry.api.now("/v2/library/test/blobs/", part_of(bytes(LAYER), registry.api))
    api, *_ = await probed(registry, authority, image=IMAGE)
    assert re.fullmatch(r"answers as a registry \(401\), a (small blob|blob at .* MB/s)", api.detail)
    assert api.ok
    assert api.spent > READ_SIZE
    assert registry.blob.heads == []


@pytest.mark.parametrize(
    ("script", "detail", "blame"),
    [
        (answer(503), "the registry is broken (503)", Blame.TARGET),
        (answer(403, b"AccessDenied"), "no blob (403)", Blame.TARGET),
        (reset, "reset", Blame.ROUTE),
    ],
    ids=["broken", "denied", "reset"],
)
async def test_a_half_broken_registry(
    script: Script, detail: str, blame: Blame, registry: Registry, authority: trustme.CA
) -> None:
    """Its API is well, its blobs do not come: that is told of the blob's host."""
    registry.blob.now("/layer", script)
    api, _, blob = await probed(registry, authority, image=IMAGE)
    assert api.ok
    assert (blob.ok, blob.detail, blob.blame, blob.role) == (False, detail, blame, Role.BLOB)


async def test_a_blob_host_that_is_poisoned(registry: Registry, authority: trustme.CA) -> None:
    """Each host is reached by its own name and address."""
    registry.blob.certificate = authority.issue_cert("blocked.test")
    api, _, blob = await probed(registry, authority, image=IMAGE)
    assert (api.ok, blob.ok) == (True, False)
    assert blob.detail.startswith("certificate not trusted")


async def test_bulk_that_stands_still(
    registry: Registry, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small answers pass and bulk does not: the route is at fault."""
    monkeypatch.setattr(probing, "READ_TIME", 0.3)
    monkeypatch.setattr(probing, "STILL", 0.2)
    registry.blob.now("/layer", says(b"HTTP/1.1 206 Partial\r\nContent-Length: 262144\r\n\r\n" + b"x" * 20_000))
    *_, blob = await probed(registry, authority, image=IMAGE)
    assert (blob.ok, blob.blame) == (False, Blame.ROUTE)
    assert blob.detail == "stands still after 20000 bytes of a blob"


async def test_bulk_that_is_slow(registry: Registry, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come when the time is up tells the rate."""
    monkeypatch.setattr(probing, "READ_TIME", 2.2)
    head = b"HTTP/1.1 206 Partial\r\nContent-Length: 262144\r\n\r\n"

    async def trickle(client: Client) -> None:
        await client.send(head)
        await repeats(b"x" * 1000, pause=0.05)(client)

    registry.blob.now("/layer", trickle)
    *_, blob = await probed(registry, authority, image=IMAGE)
    assert blob.ok
    assert blob.carried is not None
    assert 2_000 < blob.carried.rate < 22_000


async def test_a_whole_blob_is_not_taken(registry: Registry, authority: trustme.CA, known: PublicImages) -> None:
    """A server that does not know ranges costs a probe little, and is not asked again for a while."""
    registry.blob.now("/layer", repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 16384))
    api, *others = await probed(registry, authority, image=IMAGE, known=known)
    assert api.detail.endswith("not read over: the whole blob is sent where a part was asked for")
    assert api.ok
    assert sum(found.spent for found in (api, *others)) < READ_COST
    (api,) = await probed(registry, authority, image=IMAGE, known=known)
    assert api.detail == "answers as a registry (401)"


async def blocked(registry: Registry, authority: trustme.CA, path: str, script: Script) -> str:
    """Why nothing is read where the API answers so; that is no route's fault."""
    registry.api.now(path, script)
    api, *_ = await probed(registry, authority, kind="http", image=IMAGE)
    assert api.ok
    assert registry.blob.heads == []
    return api.detail.partition("not read over: ")[2]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("https://other.test/layer", "sent to other.test:443, which this route may not serve"),
        ("http://blob.test/layer", "sent to blob.test without TLS"),
        (
            "https://blob.test:99999/layer",
            "sent to blob.test: the port is not a number from 1 to 65535 without leading zeros",
        ),
        ("https://127.1/layer", "sent to 127.1: the IPv4 address is not in its canonical form"),
        ("/v2/library/test/blobs/again", "sent on and on"),
    ],
)
async def test_where_a_redirect_may_lead(location: str, why: str, registry: Registry, authority: trustme.CA) -> None:
    """To hosts that this route may serve, by TLS, a few times."""
    script = answer(307, b"", f"Location: {location}")
    assert await blocked(registry, authority, "/v2/library/test/blobs/", script) == why


async def test_a_redirect_with_a_final_dot(registry: Registry, authority: trustme.CA) -> None:
    """It leads to the same host, which is told of."""
    blob = registry.host(Role.BLOB)
    registry.api.now("/v2/library/test/blobs/", answer(307, b"", f"Location: https://{blob.host}.:{blob.port}/layer"))
    *_, last = await probed(registry, authority, image=IMAGE)
    assert (last.target, last.ok) == (blob, True)
    assert last.carried is not None


async def test_the_guard_is_asked(registry: Registry, authority: trustme.CA) -> None:
    """A host that may not be reached is not, whoever names it."""

    def rank(target: Target) -> Ranking:
        if target.host == "blob.test":
            raise Refused(403, "private", "towline: not allowed")  # type: ignore[arg-type]
        return registry.rank(target)

    async with dialer_of("direct", authority) as dialer:
        sought = Sought(registry.target, registry.rank(registry.target).classification, IMAGE)
        api, *_ = await probe("direct", dialer, sought, rank=rank, known=PublicImages())
    assert api.detail.endswith("not read over: sent to blob.test: towline: not allowed")


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("https://other.test/token", "sent to other.test:443, which this route may not serve"),
        ("http://auth.test/token", "sent to auth.test without TLS"),
        ("https://auth.test:port/", "sent for a token to what is no URL"),
        ("", "no manifest of library/test:latest (401)"),
    ],
)
async def test_where_a_token_may_be_asked_for(realm: str, why: str, registry: Registry, authority: trustme.CA) -> None:
    """At hosts of this registry, by TLS."""
    script = answer(401, b"", CHALLENGE.format(f'Bearer realm="{realm}"' if realm else "Basic"))
    assert await blocked(registry, authority, "/v2/library/test/manifests/", script) == why


async def test_a_token_host_of_another_registry(registry: Registry, authority: trustme.CA) -> None:
    """A route may serve it, and yet it is not asked."""
    realm = CHALLENGE.format('Bearer realm="https://other.test/token"')
    registry.api.now("/v2/library/test/manifests/", answer(401, b"", realm))
    api, *_ = await probed(registry, authority, image=IMAGE)
    assert api.detail.endswith("not read over: sent for a token to other.test:443, a host of another registry")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"token": 3}', b'{"token": "two\\nlines"}', b'{"token": "' + b"x" * 9000 + b'"}'],
    ids=["nothing", "list", "number", "lines", "long"],
)
async def test_what_is_no_token(body: bytes, registry: Registry, authority: trustme.CA) -> None:
    """It never becomes part of a request."""
    registry.auth.now("/token", answer(200, body))
    api, *_ = await probed(registry, authority, image=IMAGE)
    assert api.detail.endswith(f"not read over: no token from {registry.host(Role.AUTH)} (200)")


async def test_a_token_host_that_is_down(registry: Registry, authority: trustme.CA) -> None:
    """It is the one that failed."""
    registry.auth.now("/token", answer(500))
    api, auth = await probed(registry, authority, image=IMAGE)
    assert (api.ok, auth.ok, auth.detail) == (True, False, "the registry is broken (500)")


@pytest.mark.parametrize("life", [b'"soon"', b"NaN", b"-1", b"4", b"true", b"1" * 400, b"1e999"])
async def test_the_other_name_of_a_token(registry: Registry, authority: trustme.CA, life: bytes) -> None:
    """OAuth 2.0's, for as long as tokens hold at least where what it says of time cannot be believed."""
    registry.auth.now("/token", answer(200, b'{"access_token": "sesame", "expires_in": %s}' % life))
    found = await probed(registry, authority, image=IMAGE)
    assert all(one.ok and "not read over" not in one.detail for one in found)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no manifest of library/test:latest (200)"),
        (b'{"layers": [{"digest": "sha256:%064d", "size": 5}]}' % 0, "no layer in library/test:latest"),
        (b'{"manifests": [{"digest": "sha256:%064d", "size": 5}]}' % 0, "no layer in library/test:latest"),
        (b"[" * 60_000, "no manifest of library/test:latest (200)"),
        (b" " * 100_000, "no manifest of library/test:latest (200)"),
    ],
    ids=["nothing", "small", "index in index", "deep", "long"],
)
async def test_what_leads_to_no_layer(body: bytes, why: str, registry: Registry, authority: trustme.CA) -> None:
    """An image that cannot be read from is left alone; the registry is well."""
    assert await blocked(registry, authority, "/v2/library/test/manifests/", answer(200, body)) == why


async def test_a_layer_that_is_gone(registry: Registry, authority: trustme.CA, known: PublicImages) -> None:
    """The next one is looked for, after a while."""
    await probed(registry, authority, image=IMAGE, known=known)
    assert known.layers
    registry.api.now("/v2/library/", answer(404))
    api, *_ = await probed(registry, authority, image=IMAGE, known=known)
    assert api.detail.endswith("not read over: no blob (404)")
    assert not known.layers


async def test_routes_are_read_over_one_at_a_time(
    registry: Registry, authority: trustme.CA, known: PublicImages
) -> None:
    """They may share a link."""
    async with known.turn:
        waiting = asyncio.create_task(probed(registry, authority, image=IMAGE, known=known))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        assert len(registry.api.heads) == 1
    assert len(await waiting) == 3


async def test_cancelled_it_closes_all(registry: Registry, authority: trustme.CA) -> None:
    """In the middle of a blob, with three connections open."""
    registry.blob.now("/layer", says(b"HTTP/1.1 206 Partial\r\nContent-Length: 262144\r\n\r\n" + b"x" * 20_000))
    task = asyncio.create_task(probed(registry, authority, image=IMAGE))
    await asyncio.wait_for(registry.blob.reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_with_eager_tasks(registry: Registry, authority: trustme.CA) -> None:
    """mitmproxy's loop starts every task at once."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    found = await asyncio.create_task(probed(registry, authority, image=IMAGE))
    assert [finding.ok for finding in found] == [True, True, True]
