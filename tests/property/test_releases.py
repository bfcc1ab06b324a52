"""No release ends a pull: clients that keep their own counters, as their sources do, under any order of events."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from towline.core.clients import ClientKind
from towline.core.releases import EMPTY, MAX_ENDS, Past, Releases, may_release
from towline.core.stall import Cause, Release

CLIENT, HOST = "10.0.0.2", "blobs.example"
OVERHEAD = 8_000  # bytes of TLS and HTTP before a body begins
LAYERS = 6  # at once; containers/image's number
SPARED = 60.0  # seconds of silence after which even a fatal release is right

NAMES = {
    ClientKind.DOCKERD: "dockerd",
    ClientKind.CONTAINERD: "containerd",
    ClientKind.BUILDKIT: "buildkitd",
    ClientKind.CONTAINERS_IMAGE: "podman",
}


@dataclass
class Layer:
    """One layer as its client sees it, on the tunnel that carries it now."""

    past: Past
    failures: int = 0
    nothing: int = 0
    """Failures in a row that brought no byte."""
    cut_at: float = -math.inf
    moved: int = 0
    """Bytes on the present tunnel, overhead included."""
    back_at: float | None = None
    """When it returns; None while it has a tunnel."""

    @property
    def body(self) -> int:
        """Bytes of the body on the present tunnel."""
        return max(0, self.moved - OVERHEAD)

    def would_die(self, kind: ClientKind, now: float) -> bool:
        """Whether an end now would be the last, by the rules that the client's source has."""
        match kind:
            case ClientKind.DOCKERD:  # xfer/download.go
                return self.failures + 1 >= 5
            case ClientKind.CONTAINERS_IMAGE:  # docker/body_reader.go
                return self.failures > 0 and self.body < 1 << 20 and now - self.cut_at < 60.0
            case _:  # httpreadseeker.go
                return self.body == 0 and self.nothing + 1 > 3

    def pause(self, kind: ClientKind) -> float:
        """Seconds that the client waits after a failure."""
        return {ClientKind.DOCKERD: 5.0 * self.failures, ClientKind.CONTAINERS_IMAGE: 1.0}.get(kind, 0.0)


class PullMachine(RuleBasedStateMachine):
    """A client pulls layers over several tunnels at once; its network cuts some, and Towline would release others."""

    @initialize(kind=st.sampled_from(sorted(NAMES)), named=st.booleans())
    def begin(self, kind: ClientKind, named: bool) -> None:
        """A pull begins, of a client that is known by name or not at all."""
        self.kind = kind
        self.process = NAMES[kind] if named else None
        self.releases = Releases()
        self.now = 1000.0
        self.layers: list[Layer] = []

    def working(self) -> list[Layer]:
        """The layers that have a tunnel."""
        return [layer for layer in self.layers if layer.back_at is None]

    def end(self, layer: Layer, late: float) -> None:
        """A layer's tunnel ends early; it comes back after its pause, `late` seconds later than it could."""
        self.releases.ended_early(CLIENT, HOST, layer.past, moved=layer.moved, now=self.now)
        layer.failures += 1
        layer.nothing = 0 if layer.body else layer.nothing + 1
        layer.cut_at = self.now
        layer.back_at = self.now + layer.pause(self.kind) + late

    @precondition(lambda self: len(self.layers) < LAYERS)
    @rule()
    def open(self) -> None:
        """A layer begins."""
        self.layers.append(Layer(self.releases.opened(CLIENT, HOST, now=self.now)))

    @rule(seconds=st.one_of(st.floats(0.0, 2.0), st.floats(0.0, 70.0)))
    def wait(self, seconds: float) -> None:
        """Time passes, and the layers return whose time has come."""
        until = self.now + seconds
        for layer in sorted(self.layers, key=lambda layer: layer.back_at or 0.0):
            if layer.back_at is not None and layer.back_at <= until:
                self.now = layer.back_at
                layer.past = self.releases.opened(CLIENT, HOST, now=self.now)
                layer.back_at, layer.moved = None, 0
        self.now = until

    @precondition(lambda self: self.working())
    @rule(data=st.data(), size=st.sampled_from([100, OVERHEAD, EMPTY, 500_000, 700_000, 5_000_000]))
    def move(self, data: st.DataObject, size: int) -> None:
        """Bytes come for a layer."""
        data.draw(st.sampled_from(self.working())).moved += size

    @precondition(lambda self: self.working())
    @rule(data=st.data(), late=st.floats(0.0, 9.5))
    def cut(self, data: st.DataObject, late: float) -> None:
        """The network ends a tunnel; where that ends the pull, it is not Towline's doing, and another layer begins."""
        layer = data.draw(st.sampled_from(self.working()))
        if layer.would_die(self.kind, self.now):
            self.layers.remove(layer)
        self.end(layer, late)

    @precondition(lambda self: self.working())
    @rule(
        data=st.data(),
        cause=st.sampled_from(Cause),
        silence=st.floats(0.0, 90.0),
        gain=st.floats(0.0, 100.0),
        late=st.floats(0.0, 9.5),
    )
    def release(self, data: st.DataObject, cause: Cause, silence: float, gain: float, late: float) -> None:
        """A release is wished for; where it is allowed, the layer survives it, or was hopeless anyway."""
        layer = data.draw(st.sampled_from(self.working()))
        who = self.releases.identify(CLIENT, self.process, http2=False)
        wish = Release(cause, "vpn", silence, gain, "")
        decision = may_release(who, layer.past, wish, moved=layer.moved, now=self.now)
        note(f"{self.now:.1f}: {layer} {decision}")
        assert decision.reason
        assert decision.reset is (decision.allowed and self.process == "podman")
        if not decision.allowed:
            assert layer.past.ended_at is not None or cause is Cause.TRICKLE, "a new layer may always be released"
            return
        assert silence >= SPARED or not layer.would_die(self.kind, self.now)
        if cause is Cause.TRICKLE and self.process is not None:
            assert gain > layer.pause(self.kind)
        self.end(layer, late)

    @invariant()
    def never_less_than_it_was(self) -> None:
        """Of the layer on a tunnel at least as much is known as it has been through."""
        for layer in self.working():
            if layer.failures:
                assert layer.past.ended_at is not None
                assert layer.past.ended_at >= layer.cut_at
                assert layer.past.empty >= layer.nothing
            if self.kind is ClientKind.DOCKERD:
                assert layer.past.failures >= layer.failures


PullMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPull = PullMachine.TestCase


@given(
    size=st.integers(1, 8),
    events=st.lists(st.tuples(st.sampled_from("abcdefghij"), st.booleans(), st.floats(0.0, 20.0)), max_size=60),
)
def test_memory_is_bounded(size: int, events: list[tuple[str, bool, float]]) -> None:
    """However many clients fail and return, no more than so many are kept, each with a bounded number of ends."""
    releases = Releases(max_entries=size)
    now = 0.0
    for client, ends, seconds in events:
        now += seconds
        past = releases.opened(client, HOST, now=now)
        if ends:
            releases.ended_early(client, HOST, past, moved=0, now=now)
        kept = releases._ends._entries
        assert len(kept) <= size
        assert len(releases._pauses._entries) <= size
        assert all(len(entry.ends) <= MAX_ENDS for entry in kept.values())


@given(st.integers(1, 3 * MAX_ENDS))
def test_ends_are_bounded(count: int) -> None:
    """However many tunnels of one client end at once, so many ends are kept, the newest."""
    releases = Releases()
    for number in range(count):
        releases.ended_early(CLIENT, HOST, Past(), moved=0, now=number / 1000)
    ends = releases._ends._entries[CLIENT, HOST].ends
    assert len(ends) == min(count, MAX_ENDS)
    assert ends[-1].at == (count - 1) / 1000
