"""Releases by example: each client's rule, what a layer has been through, and what is forgotten."""

from __future__ import annotations

import math

import pytest

from towline.core.clients import ClientKind, Identity
from towline.core.releases import EMPTY, LATENESS, MAX_ENDS, PROGRESS, SPACING, Past, Releases, may_release
from towline.core.stall import Cause, Release

KINDS = list(ClientKind)
CLIENT, HOST = "10.0.0.2", "blobs.example"
MUCH = 50_000_000  # bytes


def wish(cause: Cause = Cause.STUCK, *, silence: float = 8.0, gain: float = math.inf) -> Release:
    """What a Watch wishes for."""
    return Release(cause, "vpn", silence, gain, "")


def who(kind: ClientKind, *, certain: bool = True) -> Identity:
    """A client of this kind."""
    return Identity(kind, "as told", certain=certain)


def allowed(kind: ClientKind, past: Past, release: Release, *, moved: int = MUCH, now: float = 1000.0) -> bool:
    """Whether the release is allowed."""
    return may_release(who(kind), past, release, moved=moved, now=now).allowed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moved", [0, MUCH])
@pytest.mark.parametrize("cause", [Cause.DEAD, Cause.GONE])
def test_new_layer_on_a_dead_route(kind: ClientKind, moved: int, cause: Cause) -> None:
    """Whoever the client is, a layer that never failed leaves a dead or lost way out, whatever it has moved."""
    assert allowed(kind, Past(), wish(cause), moved=moved)


@pytest.mark.parametrize("cause", [Cause.STUCK, Cause.TRICKLE])
def test_http2_on_a_living_route(cause: Cause) -> None:
    """A tunnel of several layers is given up for a dead route alone."""
    decision = may_release(who(ClientKind.HTTP2), Past(), wish(cause, silence=100.0), moved=MUCH, now=0.0)
    assert not decision.allowed
    assert decision.reason == "http/2 (as told): it would not resume, and its route is alive"


@pytest.mark.parametrize("kind", KINDS)
def test_never_twice_too_soon(kind: ClientKind) -> None:
    """A tunnel that follows a cut one is kept until it moved 1.1 MiB or 60 s have passed, also over a dead route."""
    past = Past(failures=1, ended_at=1000.0)
    dead = wish(Cause.DEAD)
    assert not allowed(kind, past, dead, moved=PROGRESS - 1, now=1000.0 + SPACING - 1)
    assert allowed(kind, past, dead, moved=PROGRESS, now=1001.0)
    assert allowed(kind, past, dead, moved=PROGRESS - 1, now=1000.0 + SPACING)


def test_reason_of_too_soon() -> None:
    """The reader is told how far the layer has come since."""
    past = Past(failures=1, ended_at=1000.0)
    decision = may_release(who(ClientKind.BUILDKIT), past, wish(), moved=5000, now=1012.0)
    assert decision.reason == "buildkit (as told): cut 12.0 s ago, it has moved 5000 bytes of 1153434 since"


@pytest.mark.parametrize("kind", KINDS)
def test_empty_in_a_row(kind: ClientKind) -> None:
    """After two tunnels that brought nothing, only containers/image may lose a third: it does not count them."""
    dead = wish(Cause.DEAD, silence=100.0)
    twice = Past(failures=2, empty=2, ended_at=0.0)
    assert allowed(kind, twice, dead, moved=EMPTY) is (kind is ClientKind.CONTAINERS_IMAGE)
    assert allowed(kind, twice, dead, moved=EMPTY + 1)
    assert allowed(kind, Past(failures=1, empty=1, ended_at=0.0), dead, moved=EMPTY)


@pytest.mark.parametrize("kind", [ClientKind.DOCKERD, ClientKind.UNKNOWN])
@pytest.mark.parametrize(
    ("failures", "cause", "silence", "expected"),
    [
        (2, Cause.STUCK, 8.0, True),
        (3, Cause.STUCK, 8.0, False),
        (3, Cause.STUCK, 60.0, True),
        (3, Cause.DEAD, 2.0, True),
        (4, Cause.DEAD, 2.0, False),
        (4, Cause.DEAD, 60.0, True),
        (4, Cause.STUCK, 59.0, False),
    ],
)
def test_failures_of_dockerd(kind: ClientKind, failures: int, cause: Cause, silence: float, expected: bool) -> None:
    """Three failures of a layer are free, the fourth is for a dead route; the fatal one waits for a minute."""
    past = Past(failures=failures, ended_at=0.0)
    assert allowed(kind, past, wish(cause, silence=silence)) is expected


OTHERS = [ClientKind.CONTAINERD, ClientKind.BUILDKIT, ClientKind.CONTAINERS_IMAGE]


@pytest.mark.parametrize("kind", OTHERS)
def test_failures_of_others(kind: ClientKind) -> None:
    """Nobody else counts the failures of a layer that moves in between."""
    assert allowed(kind, Past(failures=50, ended_at=0.0), wish())


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("past", [Past(failures=4, ended_at=0.0), Past(failures=1, empty=2, ended_at=0.0)])
def test_conduct_relaxes_no_rule(kind: ClientKind, past: Past) -> None:
    """A client that is known by its conduct alone is spared as one that is not known."""
    decision = may_release(who(kind, certain=False), past, wish(Cause.DEAD), moved=EMPTY, now=1000.0)
    assert not decision.allowed


@pytest.mark.parametrize(
    ("kind", "failures", "gain", "expected"),
    [
        (ClientKind.DOCKERD, 0, 5.0, False),
        (ClientKind.DOCKERD, 0, 5.1, True),
        (ClientKind.DOCKERD, 2, 14.9, False),
        (ClientKind.DOCKERD, 2, 15.1, True),
        (ClientKind.DOCKERD, 3, 1000.0, False),
        (ClientKind.UNKNOWN, 0, 5.0, False),
        (ClientKind.CONTAINERS_IMAGE, 9, 1.1, False),
        (ClientKind.CONTAINERS_IMAGE, 9, 1.2, True),
        (ClientKind.CONTAINERD, 9, 0.1, True),
        (ClientKind.BUILDKIT, 9, 0.0, False),
    ],
)
def test_gain_of_a_trickle(kind: ClientKind, failures: int, gain: float, expected: bool) -> None:
    """A trickle is left for what saves more time than the client waits before it returns."""
    past = Past(failures=failures, ended_at=0.0) if failures else Past()
    assert allowed(kind, past, wish(Cause.TRICKLE, silence=0.0, gain=gain)) is expected


def test_reset_is_for_containers_image_known_by_name() -> None:
    """podman's older versions resume after RST alone; one known by its conduct has resumed after FIN."""
    resets = {
        (kind, certain)
        for kind in ClientKind
        for certain in (True, False)
        if may_release(who(kind, certain=certain), Past(), wish(Cause.DEAD), moved=MUCH, now=0.0).reset
    }
    assert resets == {(ClientKind.CONTAINERS_IMAGE, True)}


def test_all_layers_of_a_pull_at_once() -> None:
    """When a route dies under six layers all six are released, and each has one failure of its own when it returns."""
    releases = Releases()
    pasts = [releases.opened(CLIENT, HOST, now=0.0) for _ in range(6)]
    for past in pasts:
        assert allowed(ClientKind.DOCKERD, past, wish(Cause.DEAD), now=20.0)
        releases.ended_early(CLIENT, HOST, past, moved=MUCH, now=20.0)
    assert {releases.opened(CLIENT, HOST, now=25.2) for _ in range(6)} == {
        Past(failures=1, ended_at=20.0, returned=True)
    }


def test_layer_that_fails_again_and_again() -> None:
    """A layer's failures add up over its tunnels, each of which returns 5 s later than the one before."""
    releases = Releases()
    now = 0.0
    past = releases.opened(CLIENT, HOST, now=now)
    for failure in range(1, 5):
        now += 100.0
        releases.ended_early(CLIENT, HOST, past, moved=MUCH, now=now)
        now += 5.0 * failure + 0.3
        past = releases.opened(CLIENT, HOST, now=now)
        assert past.failures == failure


@pytest.mark.parametrize(
    ("after", "failures"), [(0.2, 0), (4.8, 0), (4.95, 1), (5.0, 1), (14.9, 1), (15.0, 0), (100.0, 0)]
)
def test_when_a_failure_is_counted(after: float, failures: int) -> None:
    """dockerd returns 5 s after the first failure and may be late; a tunnel before or after carries another layer."""
    releases = Releases()
    releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=0.0)
    assert releases.opened(CLIENT, HOST, now=after).failures == failures


def test_worst_of_several() -> None:
    """Where a tunnel may carry one layer or another, it is treated as the one that has been through most."""
    releases = Releases()
    releases.ended_early(CLIENT, HOST, Past(failures=1), moved=0, now=0.0)
    releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=6.0)
    assert releases.opened(CLIENT, HOST, now=11.5) == Past(failures=2, empty=1, ended_at=6.0, returned=True)


@pytest.mark.parametrize(("after", "returned"), [(0.2, True), (2.2, True), (3.9, False), (5.2, True), (8.0, False)])
def test_who_is_back(after: float, returned: bool) -> None:
    """A tunnel that comes as long after any of several ends as a client waits is a return, whatever ended since."""
    releases = Releases()
    releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=-3.0)
    releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=0.0)
    assert releases.opened(CLIENT, HOST, now=after).returned is returned


def test_empty_ends_when_something_came() -> None:
    """Only tunnels in a row that brought nothing are counted as such."""
    releases = Releases()
    past = Past()
    counts = []
    for now, moved in ((0.0, EMPTY), (100.0, 0), (200.0, EMPTY + 1), (300.0, 0)):
        releases.ended_early(CLIENT, HOST, past, moved=moved, now=now)
        past = releases.opened(CLIENT, HOST, now=now + 0.1)
        counts.append(past.empty)
    assert counts == [1, 2, 0, 1]


@pytest.mark.parametrize(("client", "host"), [("10.0.0.3", HOST), (CLIENT, "other.example")])
def test_others_are_not_concerned(client: str, host: str) -> None:
    """An early end concerns one client and one host."""
    releases = Releases()
    releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=0.0)
    assert releases.opened(client, host, now=5.1) == Past()


def test_conduct_is_learned() -> None:
    """The first tunnel after each early end shows the client's pause; three that agree tell who it is."""
    releases = Releases()
    for now in (0.0, 100.0, 200.0):
        assert releases.identify(CLIENT, None, http2=False).kind is ClientKind.UNKNOWN
        releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=now)
        releases.opened(CLIENT, HOST, now=now + 0.1)
        releases.opened(CLIENT, HOST, now=now + 3.0)  # another layer: no pause
    assert releases.identify(CLIENT, None, http2=False).kind is ClientKind.CONTAINERD
    assert releases.identify(CLIENT, "dockerd", http2=False).kind is ClientKind.CONTAINERD
    assert releases.identify(CLIENT, "podman", http2=False).kind is ClientKind.CONTAINERS_IMAGE
    assert releases.identify(CLIENT, None, http2=True).kind is ClientKind.HTTP2
    assert releases.identify("10.0.0.3", None, http2=False).kind is ClientKind.UNKNOWN


def test_conduct_is_learned_anew() -> None:
    """One return that does not fit, and the client is unknown again."""
    releases = Releases()
    for now, pause in ((0.0, 0.1), (100.0, 0.1), (200.0, 0.1), (300.0, 5.1)):
        releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=now)
        releases.opened(CLIENT, HOST, now=now + pause)
    assert releases.identify(CLIENT, None, http2=False).kind is ClientKind.UNKNOWN


def test_late_tunnel_teaches_nothing() -> None:
    """A client that was idle when it was released returns when it likes."""
    releases = Releases()
    for now in (0.0, 100.0, 200.0):
        releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=now)
        releases.opened(CLIENT, HOST, now=now + 5.0 + LATENESS)
    assert releases.identify(CLIENT, None, http2=False).kind is ClientKind.UNKNOWN


def test_the_least_recently_used_is_forgotten() -> None:
    """Beyond its size the record forgets the client that has neither failed nor returned for longest."""
    releases = Releases(max_entries=2)
    for client in ("a", "b"):
        releases.ended_early(client, HOST, Past(), moved=MUCH, now=0.0)
        releases.opened(client, HOST, now=0.0)
    assert releases.opened("a", HOST, now=0.1) != Past()
    releases.ended_early("c", HOST, Past(), moved=MUCH, now=0.2)
    assert releases.opened("b", HOST, now=0.3) == Past()
    assert releases.opened("a", HOST, now=0.3) != Past()
    assert releases.opened("c", HOST, now=0.3) != Past()


def test_ends_of_one_host_are_bounded() -> None:
    """However many tunnels of one client end at once, the oldest ends beyond the bound are forgotten."""
    releases = Releases()
    releases.ended_early(CLIENT, HOST, Past(empty=4), moved=0, now=0.0)
    for number in range(MAX_ENDS - 1):
        releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=0.001 * number)
    assert releases.opened(CLIENT, HOST, now=0.1).empty == 5
    releases.ended_early(CLIENT, HOST, Past(), moved=MUCH, now=0.2)
    assert releases.opened(CLIENT, HOST, now=0.3).empty == 0
