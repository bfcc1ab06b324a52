"""The system resolver, with getaddrinfo replaced by one that hangs, fails or answers on demand."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from tests.net.resolvers import TableResolver

from towline.errors import DialError
from towline.net.resolve import Endpoint, FixedResolver, SoundResolver, SystemResolver, interleave, literal
from towline.types import Blame, IPAddress, OutcomeKind, Phase

type Found = tuple[int, int, int, str, tuple[str, int]]


def endpoints(*addresses: str, port: int = 443) -> list[Endpoint]:
    """The endpoints at these addresses."""
    return [Endpoint(ipaddress.ip_address(address), port) for address in addresses]


def soon(seconds: float = 10.0) -> float:
    """A deadline on the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


class HeldLookups:
    """A getaddrinfo that blocks until `release`, and counts who asks."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.running = 0
        self.most_running = 0
        self.error: OSError | None = None
        self._lock = threading.Lock()
        self._released = threading.Event()

    def __call__(self, host: str, port: int, **options: int) -> list[Found]:
        with self._lock:
            self.asked[host] += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self._released.wait(30)
        with self._lock:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    def release(self) -> None:
        """Let every lookup answer, now and later."""
        self._released.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldLookups]:
    """Lookups that hang until released; released at the end, so that no thread outlives its test by much."""
    lookups = HeldLookups()
    monkeypatch.setattr(socket, "getaddrinfo", lookups)
    yield lookups
    lookups.release()


def test_alternates_address_families() -> None:
    """The families take turns, the first one's first, and what is left over follows (RFC 8305 section 4)."""
    found = endpoints("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1")
    assert interleave(found) == endpoints("2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3")
    assert interleave(endpoints("192.0.2.1", "192.0.2.2", "2001:db8::1")) == endpoints(
        "192.0.2.1", "2001:db8::1", "192.0.2.2"
    )
    assert interleave([]) == []


def test_knows_literals() -> None:
    """An address needs no lookup; a name is no literal."""
    assert literal("192.0.2.1", 443) == endpoints("192.0.2.1")[0]
    assert str(literal("2001:db8::1", 443)) == "[2001:db8::1]:443"
    assert literal("registry.test", 443) is None


async def test_resolves_a_name_of_this_machine() -> None:
    """The real getaddrinfo finds localhost, without repeats."""
    found = await SystemResolver().resolve("localhost", 443, deadline=soon())
    assert found
    assert all(endpoint.ip.is_loopback and endpoint.port == 443 for endpoint in found)
    assert len(set(found)) == len(found)


async def test_answers_literals_without_a_lookup(held: HeldLookups) -> None:
    """A hanging name server does not matter to addresses."""
    assert await SystemResolver().resolve("192.0.2.9", 443, deadline=soon()) == endpoints("192.0.2.9")
    assert not held.asked


async def test_makes_one_lookup_of_many_for_the_same_name(held: HeldLookups) -> None:
    """Who asks while a lookup runs shares its answer; who asks later starts another."""
    resolver = SystemResolver()
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(resolver.resolve("registry.test", 443, deadline=soon())) for _ in range(20)]
        await asyncio.sleep(0)
        held.release()
    assert all(task.result() == endpoints("192.0.2.1") for task in asking)
    assert held.asked["registry.test"] == 1
    await resolver.resolve("registry.test", 443, deadline=soon())
    assert held.asked["registry.test"] == 2


async def test_keeps_the_deadline_while_a_lookup_hangs(held: HeldLookups) -> None:
    """The caller returns at its deadline; the thread is left to itself."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DialError) as caught:
        await SystemResolver().resolve("registry.test", 443, deadline=began + 0.05)
    assert loop.time() - began < 2
    error = caught.value
    assert (error.kind, error.phase, error.blame) == (OutcomeKind.TIMEOUT, Phase.RESOLVE, Blame.ROUTE)


async def test_one_cancelled_caller_does_not_take_the_answer_from_the_others(held: HeldLookups) -> None:
    """Cancellation returns at once, and the shared lookup goes on."""
    resolver = SystemResolver()
    first = asyncio.create_task(resolver.resolve("registry.test", 443, deadline=soon()))
    second = asyncio.create_task(resolver.resolve("registry.test", 443, deadline=soon()))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    held.release()
    assert await second == endpoints("192.0.2.1")


async def test_bounds_the_lookups_under_way(held: HeldLookups) -> None:
    """Beyond the bound names wait their turn, and all are answered in the end."""
    resolver = SystemResolver(max_lookups=3)
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(resolver.resolve(f"r{number}.test", 443, deadline=soon())) for number in range(12)]
        await asyncio.sleep(0)
        held.release()
    assert all(task.result() == endpoints("192.0.2.1") for task in asking)
    assert len(held.asked) == 12
    assert held.most_running <= 3


async def test_a_hanging_name_does_not_stop_the_loops_own_threads(held: HeldLookups) -> None:
    """asyncio's default executor stays free while lookups hang."""
    resolver = SystemResolver()
    hanging = [asyncio.create_task(resolver.resolve(f"r{n}.test", 443, deadline=soon())) for n in range(40)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10) == "free"
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_gives_a_failure_to_everyone_who_asked(held: HeldLookups) -> None:
    """A shared lookup that fails is a DialError of its own for each caller."""
    held.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver = SystemResolver()
    asking = [asyncio.create_task(resolver.resolve("nowhere.test", 443, deadline=soon())) for _ in range(2)]
    await asyncio.sleep(0)
    held.release()
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(error, DialError) and error.detail == "no such host" for error in errors)
    assert errors[0] is not errors[1]


async def test_a_name_that_cannot_be_encoded_does_not_exist() -> None:
    """getaddrinfo's UnicodeError, for a label of more than 63 characters, is no foreign exception to the caller."""
    with pytest.raises(DialError, match="no such host"):
        await SystemResolver().resolve("a" * 64 + ".test", 443, deadline=soon())


async def test_reports_want_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, this machine is to blame, and the next lookup gets its chance."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = SystemResolver(max_lookups=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(DialError) as caught:
            await resolver.resolve("registry.test", 443, deadline=soon())
    assert (caught.value.kind, caught.value.blame) == (OutcomeKind.LOCAL, Blame.LOCAL)
    assert await resolver.resolve("localhost", 443, deadline=soon())


def test_a_lookup_that_outlives_its_loop_ends_quietly(held: HeldLookups) -> None:
    """A thread that answers after the loop has closed has nobody to tell, and says nothing."""

    async def ask_and_leave() -> None:
        with pytest.raises(DialError):
            await SystemResolver().resolve("late.test", 443, deadline=soon(0.01))

    asyncio.run(ask_and_leave())
    late = [thread for thread in threading.enumerate() if thread.name == "look up late.test"]
    held.release()
    for thread in late:
        thread.join(10)
    assert len(late) == 1  # an exception in it would fail this test as an unhandled thread exception


async def test_leaves_out_what_is_known_to_be_poisoned() -> None:
    """The others keep their order, and the choice is told all that it turns on."""
    asked: list[tuple[str, int, Sequence[IPAddress]]] = []

    async def choose(host: str, port: int, addresses: Sequence[IPAddress]) -> Sequence[IPAddress]:
        asked.append((host, port, addresses))
        return [addresses[2], addresses[0]]

    three = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    resolver = SoundResolver(TableResolver({"registry.test": three}), choose)
    assert await resolver.resolve("registry.test", 443, deadline=soon()) == endpoints(three[0], three[2])
    assert asked == [("registry.test", 443, [endpoint.ip for endpoint in endpoints(*three)])]


async def test_says_that_every_address_is_poisoned() -> None:
    """Then the route has no answer, which is its fault, and the next one's turn."""

    async def nothing(*_: object) -> Sequence[IPAddress]:
        return ()

    resolver = SoundResolver(TableResolver({"registry.test": ["192.0.2.1"]}), nothing)
    with pytest.raises(DialError) as caught:
        await resolver.resolve("registry.test", 443, deadline=soon())
    error = caught.value
    assert (error.kind, error.phase, error.blame) == (OutcomeKind.POISONED, Phase.RESOLVE, Blame.ROUTE)
    assert error.detail == "poisoned answer (192.0.2.1 for registry.test)"


async def test_every_name_is_at_a_fixed_address() -> None:
    """What is checked is that address, whatever name servers say."""
    (endpoint,) = endpoints("2001:db8::1")
    assert await FixedResolver(endpoint.ip).resolve("registry.test", 443, deadline=soon()) == [endpoint]
