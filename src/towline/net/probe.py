"""Probes one host over one route as a client would use it, and tells what it found.

    hear    dial, TLS, `GET /v2/`; at a host that is no registry's API, dial and TLS
    read    then a part of a public image's layer, by the registry's token and redirect, from wherever its blobs are

Each host on the way gets a Finding: the one that failed, why; those before it, that they are well. So a registry whose
API answers and whose blobs do not come is told from a dead one, and from whatever else answers in its place: a captive
portal, a block page, an address that is not the registry's. A path on which large packets vanish lets the dial through
and not the certificates; one that is throttled shows in the rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from towline.core.answers import why_no_registry
from towline.core.evidence import Carried, Finding
from towline.errors import DialError
from towline.net.asking import Asking, UnreadableError, answered
from towline.net.dialer import Dialer
from towline.net.images import ASK_TIME, LEAST, Image
from towline.net.sought import CrashedError, PublicImages, Sought
from towline.types import Blame, OutcomeKind, Phase, Ranking, Role, Target

HEAR_TIME = 5.0  # seconds for dial, TLS and the answer: what a client's request to an api host has (budget_api)
READ_TIME = 5.0  # seconds of a blob's bytes: what has come by then tells the rate
STILL = 2.0  # seconds without a byte at the end of these: no slow route but a dead one


async def probe(
    route: str, dialer: Dialer, sought: Sought, *, rank: Callable[[Target], Ranking], known: PublicImages
) -> tuple[Finding, ...]:
    """Probe over one route: a Finding for each host that was met, the one that was sought first.

    `rank` says what a host is and which routes may serve it, and raises Refused. Raises CrashedError.
    """
    target = sought.target
    async with Asking(route, dialer, rank=rank, most=sought.most) as asking:
        asking.classified(target, sought.classification)
        try:
            await _hear(target, sought.classification.role, asking)
            if sought.image is not None:
                await _read(Image(target, sought.image, asking, known), target, asking, known.turn)
        except DialError:
            pass  # the verdict on its host tells
        except Exception as error:
            raise CrashedError(asking.transport.spent) from error
    return asking.findings()


async def _hear(target: Target, role: Role, asking: Asking) -> None:
    """Is the host there, and where it should be one, a registry? Raises DialError where not."""
    async with asking.of(target, HEAR_TIME):
        if role is not Role.API:
            connection = await asking.transport.connect(target)
            asking.tell(target, f"established, {connection.version}")
            await connection.aclose()
            return
        response = await asking.send(httpx.URL(f"https://{target.authority}/v2/"))
        await asking.body(response)
        if why := why_no_registry(response.status_code, response.headers):
            raise answered(why)
        asking.tell(target, f"answers as a registry ({response.status_code})")


async def _read(image: Image, registry: Target, asking: Asking, turn: asyncio.Lock) -> None:
    """Read a part of a layer. Raises DialError."""
    if image.is_passed_over:
        return
    async with turn:
        try:
            response, host = await image.part()
        except UnreadableError as why:
            image.pass_over()
            asking.tell(registry, f"not read over: {why}")
            return
        async with asking.of(host, READ_TIME + ASK_TIME):
            if not response.is_success:
                raise answered(f"no blob ({response.status_code})")
            carried = await _carry(response, host, asking)
    asking.tell(host, f"a blob at {carried.rate / 1e6:.1f} MB/s" if carried else "a small blob", carried)


async def _carry(response: httpx.Response, host: Target, asking: Asking) -> Carried | None:
    """Read a body for READ_TIME at most. Raises DialError where it stands still, or as reading does."""
    arrivals = asking.transport.arrivals(host)
    received, last = 0, asking.clock()
    arrivals.measure(now=last)
    try:
        async with asyncio.timeout(READ_TIME):
            async for part in response.aiter_raw():
                received, last = received + len(part), asking.clock()
    except TimeoutError:
        asking.transport.in_order = False
        if asking.clock() - last > STILL or received < LEAST:
            detail = f"stands still after {received} bytes of a blob"
            raise DialError(OutcomeKind.TIMEOUT, Phase.ESTABLISHED, Blame.ROUTE, detail) from None
    return arrivals.carried(now=asking.clock())
