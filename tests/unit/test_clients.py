"""Clients by example: what tells one from another, and how long each waits before it returns."""

from __future__ import annotations

import math

import pytest

from towline.core.clients import CONFIRMATIONS, PROCESSES, ClientKind, Identity, identify, kind_by_pause, wait

AT_ONCE = [0.05] * CONFIRMATIONS


@pytest.mark.parametrize(
    ("process", "kind"),
    [
        ("dockerd", ClientKind.DOCKERD),
        ("containerd", ClientKind.CONTAINERD),
        ("nerdctl", ClientKind.CONTAINERD),
        ("ctr", ClientKind.CONTAINERD),
        ("buildkitd", ClientKind.BUILDKIT),
        ("podman", ClientKind.CONTAINERS_IMAGE),
        ("skopeo", ClientKind.CONTAINERS_IMAGE),
        ("buildah", ClientKind.CONTAINERS_IMAGE),
        ("crio", ClientKind.CONTAINERS_IMAGE),
        ("crane", ClientKind.HTTP2),
    ],
)
def test_told_by_name(process: str, kind: ClientKind) -> None:
    """A local process is known by its name before it has done anything."""
    assert identify(process, [], http2=False) == Identity(kind, f"process {process}", certain=True)


@pytest.mark.parametrize("process", [None, "", "curl"])
def test_told_by_nothing(process: str | None) -> None:
    """A client elsewhere, or one of another name, is unknown at first."""
    assert identify(process, [], http2=False) == Identity(ClientKind.UNKNOWN, "unknown client")


@pytest.mark.parametrize("process", [None, *PROCESSES])
def test_http2_comes_first(process: str | None) -> None:
    """Whoever offers HTTP/2 has several layers on one tunnel, whatever its name and conduct."""
    assert identify(process, AT_ONCE, http2=True) == Identity(ClientKind.HTTP2, "offers HTTP/2", certain=True)


@pytest.mark.parametrize("process", sorted(PROCESSES.keys() - {"dockerd"}))
def test_name_comes_before_conduct(process: str) -> None:
    """Pauses do not change what a name tells."""
    assert identify(process, [5.2] * CONFIRMATIONS, http2=False).kind is PROCESSES[process]


@pytest.mark.parametrize(
    ("pauses", "kind"),
    [
        (AT_ONCE, ClientKind.CONTAINERD),
        ([5.1] * CONFIRMATIONS, ClientKind.DOCKERD),
        ([1.05] * CONFIRMATIONS, ClientKind.DOCKERD),
        (AT_ONCE[1:], ClientKind.DOCKERD),
        ([*AT_ONCE, 5.1], ClientKind.DOCKERD),
        ([5.1, *AT_ONCE], ClientKind.CONTAINERD),
    ],
)
def test_stores_of_dockerd(pauses: list[float], kind: ClientKind) -> None:
    """Only a dockerd whose latest returns were all at once is taken to have the containerd store, with a reserve."""
    who = identify("dockerd", pauses, http2=False)
    assert (who.kind, who.certain) == (kind, kind is ClientKind.DOCKERD)


def test_reason_of_containerd_store() -> None:
    """The reader is told by what the store of a dockerd is known."""
    assert identify("dockerd", AT_ONCE, http2=False).why == "dockerd, returns as the containerd store does"


@pytest.mark.parametrize(
    ("pauses", "kind"),
    [
        (AT_ONCE, ClientKind.CONTAINERD),
        ([1.0, 1.1, 1.3], ClientKind.CONTAINERS_IMAGE),
        ([5.0, 10.2, 15.4], ClientKind.DOCKERD),
        ([0.1, 0.1], ClientKind.UNKNOWN),
        ([0.1, 1.05, 0.1], ClientKind.UNKNOWN),
        ([3.0, 3.0, 3.0], ClientKind.UNKNOWN),
    ],
)
def test_told_by_conduct(pauses: list[float], kind: ClientKind) -> None:
    """A client elsewhere is known by three pauses in a row that agree, and never for certain."""
    who = identify(None, pauses, http2=False)
    assert (who.kind, who.certain) == (kind, False)


def test_reason_of_conduct() -> None:
    """The reader is told that conduct is all there is."""
    assert identify(None, AT_ONCE, http2=False).why == "returns as containerd does"


@pytest.mark.parametrize(
    ("pause", "kind"),
    [
        (0.0, ClientKind.CONTAINERD),
        (0.3, ClientKind.CONTAINERD),
        (0.6, ClientKind.UNKNOWN),
        (0.95, ClientKind.CONTAINERS_IMAGE),
        (1.1, ClientKind.CONTAINERS_IMAGE),
        (1.7, ClientKind.UNKNOWN),
        (4.0, ClientKind.UNKNOWN),
        (4.95, ClientKind.DOCKERD),
        (5.3, ClientKind.DOCKERD),
        (6.0, ClientKind.UNKNOWN),
        (9.95, ClientKind.DOCKERD),
        (20.4, ClientKind.DOCKERD),
    ],
)
def test_pauses(pause: float, kind: ClientKind) -> None:
    """Each kind has its pauses, with some room for the way to the API; what lies between speaks for nobody."""
    assert kind_by_pause(pause) is kind


@pytest.mark.parametrize(
    ("kind", "first", "third"),
    [
        (ClientKind.CONTAINERD, 0.0, 0.0),
        (ClientKind.BUILDKIT, 0.0, 0.0),
        (ClientKind.CONTAINERS_IMAGE, 1.1, 1.1),
        (ClientKind.DOCKERD, 5.0, 15.0),
        (ClientKind.UNKNOWN, 5.0, 15.0),
        (ClientKind.HTTP2, math.inf, math.inf),
    ],
)
def test_wait(kind: ClientKind, first: float, third: float) -> None:
    """dockerd waits 5 s longer after each failure, an unknown client is expected to; others wait alike each time."""
    assert (wait(kind, 1), wait(kind, 3)) == (first, third)
