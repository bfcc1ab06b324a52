"""Addresses that are not the host's: found by checks over real TLS, avoided where another route is better."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs
from tests.net.name_server import Server, Zone
from tests.net.peers import Client, Peer, Script, says
from tests.net.resolvers import TableResolver

from towline import verifying as subject
from towline.core import poison
from towline.core.evidence import Finding
from towline.dialers import Dialers
from towline.errors import DialError, Refused
from towline.net.dialer import Dialed
from towline.types import (
    UNLISTED,
    Attempt,
    Blame,
    Candidate,
    Classification,
    NameServer,
    Outcome,
    OutcomeKind,
    Phase,
    Ranking,
    Role,
    RouteSpec,
    Target,
)
from towline.verifying import Verifying

HOST = "registry.test"
FORGED, TRUE = "127.0.0.1", "127.0.0.2"
NOT_TLS = DialError(OutcomeKind.NOT_TLS, Phase.FIRST_FLIGHT, Blame.ROUTE, "answered with something that is no TLS")
pytestmark = pytest.mark.usefixtures("system_roots", "task_factory", "no_complaint", "nothing_left")


def https(issuer: trustme.CA) -> Script:
    """A server with a certificate for the host that `issuer` has signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(HOST).configure_cert(context)

    async def serve(client: Client) -> None:
        await client.start_tls(context)
        while await client.read():
            pass

    return serve


@dataclass
class World:
    """Route `direct`, whose names the system resolves to FORGED, and `vpn`, whose own server resolves them to TRUE."""

    servers: dict[str, Peer]
    port: int
    system: dict[str, Sequence[str]] = field(default_factory=lambda: {HOST: [FORGED]})
    registry: str = "test"
    refused: Refused | None = None
    family: Sequence[str] = ()
    """Hosts of the registry."""

    def __post_init__(self) -> None:
        self.verifying = Verifying(self._rank, self._family, lambda: self.dialers)

    def routes(self, *specs: RouteSpec, admit: Callable[..., str | None] = lambda *_: None) -> None:
        """Dial over these routes from now on."""
        sound = self.verifying.sound
        slots = asyncio.Semaphore(16)
        self.dialers = Dialers(specs, system=TableResolver(self.system), sound=sound, admit=admit, slots=slots)

    def _rank(self, target: Target) -> Ranking:
        if self.refused is not None:
            raise self.refused
        kind = Classification(self.registry, Role.API, HOST, "")
        return Ranking(target, kind, tuple(Candidate(route, 0.1, "", 0.25) for route in self.dialers.by_route))

    def _family(self, target: Target) -> list[Target]:
        return [Target(host, target.port) for host in self.family if host != target.host]

    @property
    def target(self) -> Target:
        """The host, where both servers listen."""
        return Target(HOST, self.port)

    async def dial(self, route: str) -> Dialed:
        """A connection over a route; it is closed already."""
        deadline = asyncio.get_running_loop().time() + 10
        dialed = await self.dialers.by_route[route].dial(self.target, deadline=deadline)
        dialed.close()
        return dialed

    async def answered(self, route: str) -> None:
        """A first flight was answered over a route, and what follows from it is done."""
        self.verifying.answered(route, self.target, await self.dial(route))
        await self.checked()

    async def checked(self) -> None:
        """Every check has ended."""
        while self.verifying._checks:  # one may start others
            await asyncio.wait(self.verifying._checks)
            await asyncio.sleep(0)

    async def failure(self, route: str) -> DialError:
        """Why a route is not dialled."""
        with pytest.raises(DialError) as caught:
            await self.dial(route)
        return caught.value

    def connections(self, address: str) -> int:
        """How many were made to the server at an address."""
        return len(self.servers[address].clients)


@asynccontextmanager
async def world(forged: Script, true: Script) -> AsyncIterator[World]:
    """A server at FORGED and one at TRUE, on one port."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Peer(forged, host=FORGED))
        second = await stack.enter_async_context(Peer(true, host=TRUE, port=first.port))
        names = await stack.enter_async_context(Server({HOST: Zone(A=[TRUE])}))
        made = World({FORGED: first, TRUE: second}, first.port)
        own = RouteSpec("vpn", dns=NameServer("udp", ("127.0.0.1", names.port)))
        made.routes(RouteSpec("direct"), own)
        yield made
        made.verifying.close()
        made.dialers.close()


async def test_an_address_is_checked_when_it_is_met_first(authority: trustme.CA) -> None:
    """Beside the client's own connection there is one of the check's, and no more later."""
    async with world(https(authority), https(authority)) as made:
        with capture_logs() as logs:
            for _ in range(3):
                await made.answered("direct")
        assert made.connections(FORGED) == 3 + 1
        assert made.connections(TRUE) == 0
        assert logs == []


async def test_a_wrong_certificate_is_avoided_where_another_route_has_the_right_one(authority: trustme.CA) -> None:
    """One client meets it; for the next the route has no answer, and the log has said once what to do."""
    async with world(https(trustme.CA()), https(authority)) as made:
        with capture_logs() as logs:
            await made.answered("direct")
            error = await made.failure("direct")
            await made.checked()
        assert (error.kind, error.phase, error.blame) == (OutcomeKind.POISONED, Phase.RESOLVE, Blame.ROUTE)
        assert error.detail == f"poisoned answer ({FORGED} for {HOST})"
        assert (await made.dial("vpn")).peer == f"{TRUE}:{made.port}"
        (line,) = logs
        assert (line["event"], line["route"], line["target"]) == ("poisoned", "direct", str(made.target))
        assert line["why"].startswith(f"{FORGED}: certificate not trusted: ")
        assert "set routes.direct.dns: https://..." in line["hint"]
        assert made.connections(FORGED) == 2  # the client, and the check


async def test_a_wrong_certificate_is_dialled_where_nothing_is_better(authority: trustme.CA) -> None:
    """Never worse than direct; but it is said."""
    async with world(https(trustme.CA()), https(authority)) as made:
        made.routes(RouteSpec("direct"))
        with capture_logs() as logs:
            await made.answered("direct")
        assert (await made.dial("direct")).peer == f"{FORGED}:{made.port}"
        assert [line["event"] for line in logs] == ["suspect"]


async def test_an_authority_that_this_machine_does_not_know_is_no_forgery(authority: trustme.CA) -> None:
    """Where no route has a certificate that is trusted here, all are dialled: the client may know it."""
    own = trustme.CA()
    async with world(https(own), https(own)) as made:
        with capture_logs() as logs:
            await made.answered("direct")
            await made.answered("vpn")
        assert (await made.dial("direct")).peer == f"{FORGED}:{made.port}"
        assert (await made.dial("vpn")).peer == f"{TRUE}:{made.port}"
        assert {line["event"] for line in logs} == {"suspect"}


async def test_another_address_of_the_same_answer_is_better(authority: trustme.CA) -> None:
    """Of two addresses the one that is the host's is dialled, over the same route."""
    async with world(https(trustme.CA()), https(authority)) as made:
        made.system[HOST] = [FORGED, TRUE]
        made.routes(RouteSpec("direct"))
        await made.answered("direct")
        assert [(await made.dial("direct")).peer for _ in range(2)] == [f"{TRUE}:{made.port}"] * 2


async def test_a_wrong_answer_is_avoided_at_once(authority: trustme.CA) -> None:
    """No check is waited for: the first flight has seen it, and another route has answered."""
    async with world(says(b"HTTP/1.1 302 Found\r\n\r\n"), https(authority)) as made:
        with capture_logs() as logs:
            made.verifying.wrong_answer("direct", made.target, await made.dial("direct"), NOT_TLS)
            made.verifying.answered("vpn", made.target, await made.dial("vpn"))
            assert (await made.failure("direct")).kind is OutcomeKind.POISONED
            await made.checked()
            assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        assert [line["why"] for line in logs] == [f"{FORGED}: {NOT_TLS.detail}"]


async def test_a_check_that_finds_the_host_takes_the_mark_away(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that said something wrong once is back at the next check; no client's bytes find that out."""
    monkeypatch.setattr(subject, "AWAITED", 0.0)
    async with world(https(authority), https(authority)) as made:
        await made.answered("vpn")
        made.verifying.wrong_answer("direct", made.target, await made.dial("direct"), NOT_TLS)
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        await made.checked()
        assert (await made.dial("direct")).peer == f"{FORGED}:{made.port}"


async def test_what_is_avoided_is_checked_again(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is met again, after a while."""
    monkeypatch.setattr(poison, "RECHECK_AFTER", 0.0)
    async with world(https(trustme.CA()), https(authority)) as made:
        await made.answered("direct")
        before = made.connections(FORGED)
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        await made.checked()
        assert made.connections(FORGED) == before + 1


async def test_a_check_that_reaches_nobody_says_nothing(authority: trustme.CA) -> None:
    """Only a certificate that is not trusted is a mark."""

    async def closes(client: Client) -> None:
        client.sock.close()

    async with world(closes, https(authority)) as made:
        with capture_logs() as logs:
            await made.answered("direct")
            await made.answered("vpn")
        assert logs == []
        await made.dial("direct")


async def test_an_unlisted_host_is_not_asked_what_no_client_asked(authority: trustme.CA) -> None:
    """Nor one that a reload forbids, nor one that a client has by address, nor over a route that is gone."""
    async with world(https(authority), https(authority)) as made:
        dialed = await made.dial("direct")
        before = made.connections(FORGED)
        made.verifying.answered("gone", made.target, dialed)
        made.verifying.answered("direct", Target(FORGED, made.port), dialed)
        made.verifying.wrong_answer("direct", Target(FORGED, made.port), dialed, NOT_TLS)
        made.registry = UNLISTED
        made.verifying.answered("direct", made.target, dialed)
        made.registry, made.refused = "test", Refused(403, "unlisted", "")  # type: ignore[arg-type]
        made.verifying.answered("direct", made.target, dialed)
        await made.checked()
        assert made.connections(FORGED) == before


async def test_a_name_that_a_proxy_resolved_is_its_affair(authority: trustme.CA) -> None:
    """There is no address to mark or to check; that the route was answered still weighs."""
    async with world(says(b"garbage"), https(authority)) as made:
        remote = await made.dial("vpn")
        remote.address = None
        made.verifying.wrong_answer("vpn", made.target, remote, NOT_TLS)
        made.verifying.answered("vpn", made.target, remote)
        made.verifying.wrong_answer("direct", made.target, await made.dial("direct"), NOT_TLS)
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        await made.checked()


async def test_checks_are_bounded(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is met while too many are under way is checked another time."""
    monkeypatch.setattr(subject, "MAX_CHECKS", 1)
    async with world(https(authority), https(authority)) as made:
        first, second = await made.dial("direct"), await made.dial("vpn")
        made.verifying.answered("direct", made.target, first)
        made.verifying.answered("vpn", made.target, second)
        assert len(made.verifying._checks) == 1
        await made.checked()
        await made.answered("vpn")
        assert made.connections(TRUE) == 3


async def test_forgets_what_holds_no_more(authority: trustme.CA) -> None:
    """Of a route whose name means another way out; and all of it when the network changes, checks under way too."""
    async with world(https(trustme.CA()), https(authority)) as made:
        await made.answered("direct")
        made.verifying.forget_routes({"direct"})
        await made.dial("direct")
        await made.answered("direct")
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        made.verifying.forget()
        dialed = await made.dial("direct")
        made.verifying.answered("direct", made.target, dialed)
        made.verifying.forget()
        await asyncio.gather(*made.verifying._checks, return_exceptions=True)
        await made.dial("direct")


async def test_a_check_that_is_given_up_leaves_the_next_alone(authority: trustme.CA) -> None:
    """The network has changed, and the same address is met again before the old check has ended."""
    async with world(https(trustme.CA()), https(authority)) as made:
        dialed = await made.dial("direct")
        made.verifying.answered("direct", made.target, dialed)
        made.verifying.forget()
        made.verifying.answered("direct", made.target, dialed)
        await made.checked()
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        assert made.verifying._checking == {}


async def test_says_once_that_an_answer_is_private(authority: trustme.CA) -> None:
    """The guard refuses it, another route has won: a sign of forgery, and what to do is said once for each route."""
    async with world(https(authority), https(authority)) as made:
        denied = Outcome(OutcomeKind.DENIED, Phase.RESOLVE, Blame.TARGET, 0.0, f"{HOST} is at 10.0.0.1, private")
        refused = Outcome(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, 0.0, "refused")
        attempts = [Attempt("direct", 0.0, denied), Attempt("office", 0.0, refused)]
        with capture_logs() as logs:
            made.verifying.raced(made.target, attempts)
            made.verifying.raced(made.target, attempts)
        facts: list[tuple[Any, ...]] = [(line["event"], line["route"], line["why"]) for line in logs]
        assert facts == [("poisoned", "direct", denied.detail)]
        assert "routes.direct.dns" in logs[0]["hint"]


async def test_a_route_that_has_its_own_server_gets_no_hint(authority: trustme.CA) -> None:
    """It has what the hint would say."""
    async with world(https(authority), https(trustme.CA())) as made:
        with capture_logs() as logs:
            await made.answered("vpn")
        assert [(line["event"], line["hint"]) for line in logs] == [("poisoned", "")]


@pytest.mark.parametrize("wrong", ["answer", "certificate"])
async def test_who_forges_one_name_is_expected_to_forge_others(authority: trustme.CA, wrong: str) -> None:
    """The rest of the registry is met ahead of the client, over the same route, and found out likewise."""
    forged = https(trustme.CA()) if wrong == "certificate" else says(b"HTTP/1.1 302 Found\r\n\r\n")
    async with world(forged, https(authority)) as made:
        made.family = ["auth.test", HOST, "blob.test"]
        made.system |= {"auth.test": [FORGED]}  # and blob.test does not exist
        if wrong == "certificate":
            await made.answered("direct")
        else:
            made.verifying.wrong_answer("direct", made.target, await made.dial("direct"), NOT_TLS)
            await made.checked()
        assert made.verifying._poison.is_met("direct", "auth.test")
        assert not made.verifying._poison.is_met("direct", "blob.test")
        before = made.connections(FORGED)
        made.verifying._look_around("direct", made.target)
        made.verifying._look_around("gone", made.target)
        await made.checked()
        assert made.connections(FORGED) == before


def finding(route: str, target: Target, *, ok: bool) -> Finding:
    """What a probe found."""
    return Finding(route, target, "test", Role.API, ok=ok, detail="found")


async def test_a_route_that_a_probe_could_not_use_is_met(authority: trustme.CA) -> None:
    """Where another could be: its address may not be the host's. No client has lost a byte to it by then."""
    async with world(https(trustme.CA()), https(authority)) as made:
        found = [finding("direct", made.target, ok=False), finding("vpn", made.target, ok=True)]
        made.verifying.probed([*found, finding("gone", made.target, ok=False)])
        await made.checked()
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        assert made.connections(TRUE) == 0  # that it is the host's was known


async def test_a_host_that_no_probe_could_use_is_left_alone(authority: trustme.CA) -> None:
    """It is down, or this machine knows no authority of it."""
    async with world(https(trustme.CA()), https(authority)) as made:
        made.verifying.probed([finding("direct", made.target, ok=False), finding("vpn", made.target, ok=False)])
        await made.checked()
        assert made.connections(FORGED) == made.connections(TRUE) == 0


async def test_a_client_that_is_back_at_once_waits_for_the_check(authority: trustme.CA) -> None:
    """Its second connection does not go to the forged address while that is being found out."""
    async with world(https(trustme.CA()), https(authority)) as made:
        made.verifying.answered("direct", made.target, await made.dial("direct"))
        assert (await made.failure("direct")).kind is OutcomeKind.POISONED
        assert made.connections(FORGED) == 2  # the client, and the check


async def test_a_check_that_takes_long_is_not_waited_for(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one where there is no other route: nothing could come of it."""
    monkeypatch.setattr(subject, "AWAITED", 0.05)

    async def silent(client: Client) -> None:
        while await client.read():
            pass

    async with world(silent, https(authority)) as made:
        made.verifying.answered("direct", made.target, await made.dial("direct"))
        await made.dial("direct")
        assert made.verifying._checking
        monkeypatch.setattr(subject, "AWAITED", 60.0)
        made.routes(RouteSpec("direct"))
        await made.dial("direct")
        assert made.verifying._checking
        made.verifying.close()
        await made.checked()
