"""What the bench asks of a policy, and how it runs one over a trace.

    begin(world)               once; probes are processes in the background
    serve(request, left, ...)  one tunnel for a client, from its CONNECT to its end, whatever that is

The client (client.py) is the same for all of them: it comes back for what is left, or gives up.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.bench.policy import client
from tests.bench.policy.clock import Clock, Process
from tests.bench.policy.trace import Network, Request
from tests.bench.policy.world import Counts, Paths, World


class Policy(Protocol):
    """Decides over which route each tunnel goes."""

    name: str
    """In the report."""

    def begin(self, world: World) -> None:
        """The run begins."""
        ...

    def serve(self, request: Request, left: int, *, deadline: float) -> Process[int]:
        """Serve one tunnel that asks for `left` bytes; the client leaves at `deadline`. Returns the bytes it got."""
        ...

    def network_changed(self, network: str) -> None:
        """The machine is in another network."""
        ...


@dataclass(frozen=True, slots=True)
class Transfer:
    """One request and what came of it."""

    request: Request
    seconds: float
    """From when it was asked for until its last byte, or until it failed."""
    ok: bool
    ways: tuple[str, ...] = ()
    """The routes that its tunnels went over, one after the other."""

    @property
    def cost(self) -> float:
        """Its completion time; a failure counts with its penalty."""
        return self.seconds if self.ok else self.seconds + client.PENALTY


@dataclass(frozen=True, slots=True)
class Run:
    """One policy over one trace."""

    transfers: tuple[Transfer, ...]
    """In the order of the trace's requests."""
    counts: Counts
    begins: float
    hours: float


def run(paths: Paths, policy: Policy, *, seed: int = 0) -> Run:
    """Run a policy, which is new, over the paths of a trace; equal seeds give equal runs."""
    trace, clock = paths.trace, Clock(paths.trace.begins)
    world = World(paths, Random(f"{seed} {policy.name}"), clock)
    policy.begin(world)
    ended: dict[int, Transfer] = {}
    for network in trace.networks:
        clock.spawn(_change(policy, network), at=network.t, background=True)
    for number, request in enumerate(trace.requests):
        clock.spawn(_transfer(number, request, policy, world, ended), at=request.t)
    clock.run()
    transfers = tuple(ended[number] for number in range(len(trace.requests)))
    return Run(transfers, world.counts, trace.begins, (trace.ends - trace.begins) / 3600)


def _change(policy: Policy, network: Network) -> Process[None]:
    policy.network_changed(network.network)
    return
    yield


def _transfer(number: int, request: Request, policy: Policy, world: World, ended: dict[int, Transfer]) -> Process[None]:
    """A client asks for something, and again after each failure for what is left of it, until it has it or gives up."""
    clock, left, failures = world.clock, request.bytes, 0
    deadline = client.gives_up(request.role, request.t)
    while True:
        left -= yield from policy.serve(request, left, deadline=deadline)
        failures += 1
        again = clock.now + client.pause(request.role, failures)
        if left <= 0 or again >= deadline:
            break
        yield again
    ended[number] = Transfer(request, clock.now - request.t, left <= 0, tuple(world.ways.get(request, ())))
