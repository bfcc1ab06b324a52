"""The racer on a real loop: who wins, what is closed, and that nothing of a race outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs
from tests.net.fake_dialer import Establish, Fail, FakeDialer, Hang

from towline.core.policy import FailoverPolicy
from towline.errors import DialError, NoRoute
from towline.net.dialer import Dialed, Dialer
from towline.net.racer import Won, race
from towline.types import Blame, Candidate, Classification, OutcomeKind, Phase, Ranking, Role, Target

TARGET = Target("registry.test", 443)
API = Classification("test", Role.API, "registry.test", "api host of test")
DELAY = 0.01  # seconds between the starts of two dials
REFUSED = Fail(DialError(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, "refused"))
POLICY = FailoverPolicy(budget_api=30.0)  # seconds: no race here may end by its deadline unless it means to

pytestmark = pytest.mark.usefixtures("task_factory", "no_complaint", "nothing_left")


class Gate:
    """A dialer that is established when the test opens it; cancelled, it waits for `may_end` and then does as told."""

    def __init__(self, *, ignores_cancel: bool = False) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_end = asyncio.Event()
        self._ignores_cancel = ignores_cancel
        self.sock = socket.socket()

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Wait to be opened."""
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.may_end.wait()
            if not self._ignores_cancel:
                self.sock.close()
                raise
        return Dialed(self.sock, peer=target.authority)

    @property
    def closed(self) -> bool:
        """Whether the connection has been closed."""
        return self.sock.fileno() == -1


class Broken:
    """A dialer with a bug: it raises what no dialer may raise."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Raise."""
        raise self._error


def ranking(*routes: str, delay: float = DELAY, excluded: tuple[tuple[str, str], ...] = ()) -> Ranking:
    """These routes in this order."""
    return Ranking(TARGET, API, tuple(Candidate(route, 0.0, "", delay) for route in routes), excluded)


async def run(dialers: Mapping[str, Dialer], policy: FailoverPolicy = POLICY) -> Won:
    """Race over the dialers in their order."""
    return await race(ranking(*dialers), dialers, policy)


def texts(attempts: object) -> list[str]:
    """Attempts as text."""
    assert isinstance(attempts, tuple)
    return [str(attempt) for attempt in attempts]


async def test_first_route_wins() -> None:
    """The best route is dialled alone and its connection handed out, with what came early."""
    with FakeDialer(Establish(early=b"hello")) as direct, FakeDialer() as vpn:
        won = await run({"direct": direct, "vpn": vpn})
        assert (won.route, won.dialed.early, won.dialed.peer) == ("direct", b"hello", "registry.test:443")
        assert texts(won.attempts) == ["direct: established"]
        assert direct.targets == [TARGET]
        assert vpn.targets == []
        won.dialed.close()


async def test_next_route_after_a_failure() -> None:
    """A route that fails is followed by the next at once, however long its pause."""
    with FakeDialer(REFUSED) as direct, FakeDialer() as vpn:
        won = await race(ranking("direct", "vpn", delay=2.0), {"direct": direct, "vpn": vpn}, POLICY)
        assert won.route == "vpn"
        assert texts(won.attempts) == ["direct: refused", "vpn: established"]
        assert won.attempts[1].offset < 2.0
        won.dialed.close()


async def test_loser_is_cancelled() -> None:
    """A route that does not answer in its pause is raced, cancelled when it loses, and the race waits for its end."""
    silent, quick = Gate(), Gate()
    quick.open.set()
    silent.may_end.set()
    won = await run({"direct": silent, "vpn": quick})
    assert won.route == "vpn"
    assert silent.closed
    assert not quick.closed
    assert won.attempts[0].outcome.kind is OutcomeKind.CANCELLED
    won.dialed.close()


async def test_two_established_in_one_turn() -> None:
    """Of two routes that answer in the same turn of the loop the one begun first wins and the other is closed."""
    first, second = Gate(), Gate()
    task = asyncio.create_task(run({"direct": first, "vpn": second}))
    await second.begun.wait()
    second.open.set()
    first.open.set()
    won = await task
    assert won.route == "direct"
    assert second.closed
    assert not first.closed
    won.dialed.close()


async def test_late_winner_is_closed() -> None:
    """A dial that is established although it was cancelled is closed before the race returns."""
    late, quick = Gate(ignores_cancel=True), Gate()
    task = asyncio.create_task(run({"direct": late, "vpn": quick}))
    await quick.begun.wait()
    quick.open.set()
    await late.cancelled.wait()
    assert not task.done()
    late.may_end.set()
    won = await task
    assert won.route == "vpn"
    assert late.closed
    won.dialed.close()


async def test_cancelled_race_closes_all() -> None:
    """Cancelling the race cancels every dial, and CancelledError goes on to the caller."""
    first, second = Gate(), Gate(ignores_cancel=True)
    task = asyncio.create_task(run({"direct": first, "vpn": second}))
    await second.begun.wait()
    for gate in (first, second):
        gate.may_end.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert first.closed
    assert second.closed


async def test_cancelled_after_the_win() -> None:
    """Cancelled while a loser is still ending, the race closes the winner too; the loser, once it has ended."""
    late, winner = Gate(ignores_cancel=True), Gate()
    task = asyncio.create_task(run({"direct": late, "vpn": winner}))
    await winner.begun.wait()
    winner.open.set()
    await late.cancelled.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done(), "the race still waits for its loser"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert winner.closed
    late.may_end.set()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait(others)
    await asyncio.sleep(0)  # the callback of the ended dial
    assert late.closed


@pytest.mark.parametrize("error", [KeyError("host"), asyncio.CancelledError()], ids=["KeyError", "CancelledError"])
async def test_bug_in_a_dialer(error: BaseException) -> None:
    """What no dialer may raise ends its attempt, blames nobody's network, is logged, and the race goes on."""
    with capture_logs() as logs, FakeDialer() as vpn:
        won = await run({"direct": Broken(error), "vpn": vpn})
        won.dialed.close()
    assert won.route == "vpn"
    outcome = won.attempts[0].outcome
    assert (outcome.kind, outcome.blame) == (OutcomeKind.LOCAL, Blame.LOCAL)
    assert outcome.detail == f"internal error: {type(error).__name__}"
    assert [(entry["event"], entry["route"], type(entry["exc_info"])) for entry in logs] == [
        ("dial_crashed", "direct", type(error))
    ]


async def test_no_route() -> None:
    """Where every route fails NoRoute carries each outcome, and the routes that were left out."""
    left_out = (("office", "disabled in the configuration"),)
    with FakeDialer(REFUSED) as direct, FakeDialer(REFUSED) as vpn, pytest.raises(NoRoute) as caught:
        await race(ranking("direct", "vpn", excluded=left_out), {"direct": direct, "vpn": vpn}, POLICY)
    assert texts(caught.value.attempts) == ["direct: refused", "vpn: refused"]
    assert caught.value.excluded == left_out
    assert caught.value.target == TARGET


async def test_no_candidate() -> None:
    """Without candidates nothing is dialled, and NoRoute says why none was there."""
    left_out = (("office", "disabled in the configuration"),)
    with pytest.raises(NoRoute, match="office: disabled in the configuration") as caught:
        await race(ranking(excluded=left_out), {}, POLICY)
    assert caught.value.attempts == ()


async def test_deadline() -> None:
    """Where no route answers the race ends by the budget of the target's role, in the dialers' own words."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with FakeDialer(Hang()) as direct, FakeDialer(Hang()) as vpn, pytest.raises(NoRoute) as caught:
        await run({"direct": direct, "vpn": vpn}, FailoverPolicy(budget_api=0.2))
    assert loop.time() - began >= 0.2 * 0.9
    assert texts(caught.value.attempts) == ["direct: timeout 0.2 s", "vpn: timeout 0.2 s"]


async def test_dialer_that_keeps_no_deadline() -> None:
    """A dialer that overruns its deadline is cut off by the race."""
    endless = Gate()
    endless.may_end.set()
    with pytest.raises(NoRoute, match=r"direct: timeout 0\.1 s"):
        await run({"direct": endless}, FailoverPolicy(budget_api=0.1))
    assert endless.closed


async def test_more_routes_than_parallel_dials() -> None:
    """A route beyond the parallel ones gets its turn though none before it ever answers."""
    with contextlib.ExitStack() as stack:
        dialers = {f"dead{number}": stack.enter_context(FakeDialer(Hang())) for number in range(3)}
        dialers["vpn"] = stack.enter_context(FakeDialer())
        won = await run(dialers, FailoverPolicy(budget_api=0.4, max_parallel=3))
        won.dialed.close()
    assert won.route == "vpn"
