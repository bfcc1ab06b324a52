"""Silent peers at every phase: the deadline is kept, a cancelled dial leaves at once, and neither leaks a descriptor.

The laboratory (conftest.py) counts descriptors after every test.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.conformance.conftest import FAULTS, KINDS, PROXY_KINDS, Lab
from tests.net.peers import repeats, silence
from tests.net.proxies import Fault
from tests.net.resolvers import SilentResolver

from towline.errors import DialError
from towline.net.dialer import Dialer
from towline.types import Blame, OutcomeKind, Phase, Target

DEADLINE = 0.15  # seconds: enough for a handshake on loopback, short enough for a suite
MARGIN = 2.0  # seconds: the machine may be busy, but not this busy
PHASE_OF_STEP = {"tls": Phase.TLS}
TARGET = Target("127.0.0.1", 443)


async def times_out(dialer: Dialer, target: Target = TARGET) -> DialError:
    """Dial, and hold the dialer to its deadline: no failure before it, none much after it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DialError) as caught:
        await dialer.dial(target, deadline=began + DEADLINE)
    # The loop rounds its timers to the clock's resolution.
    assert DEADLINE - 0.01 <= loop.time() - began < DEADLINE + MARGIN
    assert (caught.value.kind, caught.value.blame) == (OutcomeKind.TIMEOUT, Blame.ROUTE)
    return caught.value


async def cancel(dialer: Dialer, reached: asyncio.Event | None, target: Target = TARGET) -> None:
    """Cancel a dial once it has come to where it hangs; without an event that is where its first step ends."""
    task = asyncio.create_task(dialer.dial(target, deadline=asyncio.get_running_loop().time() + 30))
    await (reached.wait() if reached else asyncio.sleep(0))
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("kind", "step"), FAULTS)
async def test_keeps_the_deadline_at_a_proxy_that_falls_silent(lab: Lab, kind: str, step: str) -> None:
    """A proxy that stops answering costs no more than the deadline, and the outcome says where it stopped."""
    error = await times_out(await lab.dialer(kind, fault=Fault(step, silence)))
    assert error.phase is PHASE_OF_STEP.get(step, Phase.PROXY)
    assert error.detail.startswith("proxy: timeout 0.")


@pytest.mark.parametrize(("kind", "step"), FAULTS)
async def test_leaves_at_once_when_cancelled_at_a_silent_proxy(lab: Lab, kind: str, step: str) -> None:
    """Cancellation during a handshake ends the dial and closes what it opened."""
    fault = Fault(step, silence)
    await cancel(await lab.dialer(kind, fault=fault), fault.reached)


@pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
async def test_keeps_the_deadline_while_connecting(lab: Lab, kind: str) -> None:
    """So does an address that swallows every SYN."""
    silent = lab.silent()
    error = await times_out(lab.make(kind, None if kind == "direct" else silent), Target(*silent))
    assert error.phase is Phase.CONNECT


@pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
async def test_leaves_at_once_when_cancelled_while_connecting(lab: Lab, kind: str) -> None:
    """Cancellation while the kernel connects closes the socket."""
    silent = lab.silent()
    await cancel(lab.make(kind, None if kind == "direct" else silent), None, Target(*silent))


@pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
async def test_keeps_the_deadline_while_resolving(lab: Lab, kind: str) -> None:
    """A resolver that never answers is bounded by the dial, even where it ignores the deadline itself."""
    dialer = lab.make(kind, None if kind == "direct" else ("proxy.test", 3128), resolver=SilentResolver())
    error = await times_out(dialer, Target("registry.test", 443))
    assert error.phase is Phase.RESOLVE


@pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
async def test_leaves_at_once_when_cancelled_while_resolving(lab: Lab, kind: str) -> None:
    """Cancellation while the resolver is asked opens nothing."""
    resolver = SilentResolver()
    dialer = lab.make(kind, None if kind == "direct" else ("proxy.test", 3128), resolver=resolver)
    await cancel(dialer, resolver.asked, Target("registry.test", 443))


async def test_the_fake_hangs_like_the_others(lab: Lab) -> None:
    """The fake's silent step keeps the deadline and can be cancelled."""
    dialer = await lab.dialer("fake", fault=Fault("any", silence))
    assert (await times_out(dialer)).phase is Phase.CONNECT
    await cancel(dialer, None)


@pytest.mark.parametrize("kind", ["http", "https"])
async def test_keeps_the_deadline_at_a_reply_that_drips(lab: Lab, kind: str) -> None:
    """Bytes that keep coming do not extend the deadline."""
    drip = Fault("reply", repeats(b"HTTP/1.1 200 Connection established, at last", pause=0.01))
    error = await times_out(await lab.dialer(kind, fault=drip))
    assert error.phase is Phase.PROXY


@pytest.mark.parametrize("kind", KINDS)
async def test_fails_at_once_when_the_deadline_has_passed(lab: Lab, kind: str) -> None:
    """A dial that begins too late does not connect."""
    fault = Fault("none", silence) if kind == "fake" else None
    dialer = await lab.dialer(kind, fault=fault)
    with pytest.raises(DialError) as caught:
        await dialer.dial(TARGET, deadline=asyncio.get_running_loop().time() - 1)
    assert caught.value.kind is OutcomeKind.TIMEOUT


@pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
async def test_leaks_nothing_wherever_it_is_cancelled(lab: Lab, kind: str) -> None:
    """A dial cancelled after any number of turns of the loop either succeeded, or has closed everything."""
    target = await lab.target()
    dialer = await lab.dialer(kind)
    succeeded = 0
    for turns in range(60):
        task = asyncio.create_task(
            dialer.dial(Target("127.0.0.1", target.port), deadline=asyncio.get_running_loop().time() + 30)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).close()
            succeeded += 1
    assert succeeded < 60, "no dial was cancelled in time"
