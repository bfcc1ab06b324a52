"""Which registry client is at the other end: its name tells where it is local, its conduct where it is not.

A CONNECT says `Go-http-client/1.1` whoever sends it (clients.md A.7), yet the end of a tunnel that one client does not
even notice ends another's pull. Three things tell them apart, the strongest first:

    HTTP/2 offered in the ClientHello    several layers share the tunnel, whoever reads them (clients.md 0 fact 1)
    the name of the local process        all but dockerd, which has two stores (clients.md A.1)
    the pause before it returns          containerd none, containers/image 1.0 to 1.1 s, dockerd 5 s a failure

A pause is the least that it can be: the way to the API for a fresh redirect comes on top (clients.md 0 fact 10), and a
tunnel that is opened for another layer just then looks like a return. So a few pauses must agree; and what conduct
tells relaxes no rule of releases.py, only a name does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ROUND_TRIP = 0.5  # seconds for the API to answer with a redirect, before the CONNECT that is seen; our choice
CONFIRMATIONS = 3  # pauses in a row that must agree; our choice
TOLERANCE = 0.1  # seconds by which the end of a tunnel may be noted later than its client saw it; our choice
DOCKERD_PAUSE = 5.0  # seconds for each failure of the layer so far (moby xfer/download.go)
CONTAINERS_IMAGE_PAUSE = (1.0, 1.1)  # seconds, random in between (containers/image docker/body_reader.go)


class ClientKind(StrEnum):
    """Clients that react alike to the end of a tunnel."""

    DOCKERD = "dockerd"
    """With the classic store: five failures of a layer end the pull, however much came in between."""
    CONTAINERD = "containerd"
    """Also dockerd with the containerd store, nerdctl, ctr: resumes at once after FIN, never after RST."""
    BUILDKIT = "buildkit"
    """As containerd, and as strict: where the tunnel that follows fails, the build does (clients.md A.4)."""
    CONTAINERS_IMAGE = "containers/image"
    """podman, skopeo, buildah, CRI-O: resumes a layer that has moved 1 MiB or 60 s since it was last cut."""
    HTTP2 = "http/2"
    """crane, kaniko and others of go-containerregistry: all layers on one tunnel, none of them resumed."""
    UNKNOWN = "unknown"
    """Treated as the most delicate of those that resume."""


PROCESSES = {
    "dockerd": ClientKind.DOCKERD,
    "containerd": ClientKind.CONTAINERD,
    "ctr": ClientKind.CONTAINERD,
    "nerdctl": ClientKind.CONTAINERD,
    "buildkitd": ClientKind.BUILDKIT,
    "podman": ClientKind.CONTAINERS_IMAGE,
    "skopeo": ClientKind.CONTAINERS_IMAGE,
    "buildah": ClientKind.CONTAINERS_IMAGE,
    "crio": ClientKind.CONTAINERS_IMAGE,
    "crane": ClientKind.HTTP2,
    "executor": ClientKind.HTTP2,  # kaniko's
    "ko": ClientKind.HTTP2,
    "cosign": ClientKind.HTTP2,
}
"""Names of local processes (clients.md A)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client was found to be, and by what: `why` is a phrase for the reader."""

    kind: ClientKind
    why: str
    certain: bool = False
    """Not told by conduct."""


def identify(process: str | None, pauses: Sequence[float], *, http2: bool) -> Identity:
    """Tell the client by its local `process` (None: unknown), its latest `pauses` (seconds, newest last) and ALPN.

    `pauses` are those between the early end of a tunnel and the client's next tunnel to the same host; `http2` is
    whether its ClientHello offers h2.
    """
    if http2:
        return Identity(ClientKind.HTTP2, "offers HTTP/2", certain=True)
    by_conduct = _kind_by_pauses(pauses)
    by_name = PROCESSES.get(process or "")
    if by_name is None:
        why = "unknown client" if by_conduct is ClientKind.UNKNOWN else f"returns as {by_conduct} does"
        return Identity(by_conduct, why)
    if by_name is ClientKind.DOCKERD and by_conduct is ClientKind.CONTAINERD:
        return Identity(ClientKind.CONTAINERD, "dockerd, returns as the containerd store does")
    return Identity(by_name, f"process {process}", certain=True)


def _kind_by_pauses(pauses: Sequence[float]) -> ClientKind:
    kinds = {kind_by_pause(pause) for pause in pauses[-CONFIRMATIONS:]}
    return kinds.pop() if len(pauses) >= CONFIRMATIONS and len(kinds) == 1 else ClientKind.UNKNOWN


def kind_by_pause(pause: float) -> ClientKind:
    """The kind that one pause speaks for. BuildKit returns as containerd does, and is treated alike."""
    if pause < ROUND_TRIP:
        return ClientKind.CONTAINERD
    shortest, longest = CONTAINERS_IMAGE_PAUSE
    if shortest - TOLERANCE <= pause < longest + ROUND_TRIP:
        return ClientKind.CONTAINERS_IMAGE
    failures, rest = divmod(pause + TOLERANCE, DOCKERD_PAUSE)
    if failures >= 1 and rest < TOLERANCE + ROUND_TRIP:
        return ClientKind.DOCKERD
    return ClientKind.UNKNOWN


def wait(kind: ClientKind, failure: int) -> float:
    """Seconds until a client of this kind returns after a layer's `failure`-th failure (1 is the first)."""
    if kind in (ClientKind.CONTAINERD, ClientKind.BUILDKIT):
        return 0.0
    if kind is ClientKind.CONTAINERS_IMAGE:
        return CONTAINERS_IMAGE_PAUSE[1]
    if kind is ClientKind.HTTP2:
        return math.inf  # it does not resume
    return DOCKERD_PAUSE * failure
