"""What a container client asks of a registry, through Towline: single visits, and pulls that are made of them.

A visit is one tunnel with one request, checked to its last byte. A pull is what dockerd does: ping, token, manifest,
then the layers, three at once; a layer that is cut short is asked for again from where it ended. Which route served a
visit is Towline's to say, in its log, by the client's port.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.e2e.choice.stage import LAYER_PATH, Stage
from tests.e2e.rig.image import MANIFEST_TYPE, REPOSITORY, TAG
from tests.e2e.rig.process import wait_until
from tests.e2e.rig.registry import API_HOST, AUTH_HOST, BLOB_HOST
from tests.e2e.rig.towline import PROXY_ADDRESS, Towline

PARALLEL = 3  # layers at once: dockerd's default, max-concurrent-downloads
TRIES = 5  # of one layer: dockerd's
SILENCE = 60.0  # seconds that a visit waits for anything: longer than any test
BLOCK = 256 * 1024  # bytes of one read
TRIED = "tried, for it may be faster"  # what the log says of a tunnel that explores
LOG_TIMEOUT = 10.0  # seconds until a tunnel that has ended is in the log; milliseconds are usual


@dataclass(frozen=True, slots=True)
class Errand:
    """One request: the role of its host, and what is asked there."""

    role: str
    host: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    expected: int = 200
    """The status that answers it."""


@dataclass(slots=True)
class Visit:
    """One tunnel as its client saw it."""

    role: str
    began: float
    """On the monotonic clock, as all times here."""
    client: tuple[str, int]
    """Its end, by which the log knows it."""
    seconds: float = 0.0
    received: int = 0
    """Bytes of the body."""
    problem: str | None = None
    """Why it brought less than was asked for."""
    route: str | None = None
    """From the log, by `Visitor.find_routes`."""
    why: str = ""
    """Likewise."""

    @property
    def tried(self) -> bool:
        """Whether its route was no choice but a try, to learn of it."""
        return TRIED in self.why

    def __str__(self) -> str:
        way = self.route or self.problem
        return f"{self.role} by {way}, {self.received} bytes in {self.seconds:.2f} s: {self.why}"


@dataclass(slots=True)
class Pull:
    """The visits of one pull, in the order of their beginning."""

    began: float
    visits: list[Visit] = field(default_factory=list)
    seconds: float = 0.0
    problem: str | None = None
    """Why it failed, None where it completed."""

    def __str__(self) -> str:
        routes = (f"{visit.role}:{visit.route or visit.problem}{'(tried)' * visit.tried}" for visit in self.visits)
        return f"{self.seconds:.1f} s over {' '.join(routes)}"


PING = Errand("api", API_HOST, "/v2/", expected=401)
TOKEN = Errand("auth", AUTH_HOST, "/token")


def layer(size: int, start: int = 0) -> Errand:
    """Bytes `start` to `size` of a layer."""
    return Errand("blob", BLOB_HOST, LAYER_PATH, {"Range": f"bytes={start}-{size - 1}"}, expected=206)


class Visitor:
    """Makes visits to a stage's registry through the Towline that runs there."""

    def __init__(self, stage: Stage, towline: Towline) -> None:
        self._near = stage.near
        self._ports = stage.ports
        self._towline = towline
        self._tls = ssl.create_default_context(cafile=stage.ca)
        self.manifest = Errand(
            "api", API_HOST, f"/v2/{REPOSITORY}/manifests/{TAG}",
            {"Authorization": f"Bearer {stage.token}", "Accept": MANIFEST_TYPE},
        )  # fmt: skip
        self._lock = threading.Lock()
        self.visits: list[Visit] = []
        """All so far, in the order of their beginning."""

    def visit(self, errand: Errand) -> Visit:
        """One request in a tunnel of its own."""
        with self._lock:
            visit = Visit(errand.role, time.monotonic(), ("127.0.0.1", next(self._ports)))
            self.visits.append(visit)
        try:
            self._visit(visit, errand)
        except (OSError, http.client.HTTPException) as error:
            visit.problem = f"{type(error).__name__}: {error}"
        visit.seconds = time.monotonic() - visit.began
        return visit

    def _visit(self, visit: Visit, errand: Errand) -> None:
        with self._near.connect(PROXY_ADDRESS, timeout=SILENCE, source=visit.client) as plain:
            plain.sendall(f"CONNECT {errand.host}:443 HTTP/1.1\r\nHost: {errand.host}:443\r\n\r\n".encode())
            head = plain.recv(BLOCK)
            if not head.startswith(b"HTTP/1.1 200 "):
                visit.problem = head.decode(errors="replace").partition("\r\n")[0] or "no answer"
                return
            with self._tls.wrap_socket(plain, server_hostname=errand.host) as secure:
                connection = http.client.HTTPConnection(errand.host)
                connection.sock = secure
                connection.request("GET", errand.path, headers={**errand.headers, "Connection": "close"})
                answer = connection.getresponse()
                if answer.status != errand.expected:
                    visit.problem = f"{answer.status} for {errand.path}"
                while block := answer.read(BLOCK):
                    visit.received += len(block)

    def layer(self, size: int) -> list[Visit]:
        """Fetch a layer, as often as it takes, each time from where it was cut."""
        visits: list[Visit] = []
        received = 0
        while received < size and len(visits) < TRIES:
            visits.append(self.visit(layer(size, received)))
            received += visits[-1].received
        return visits

    def pull(self, layers: Sequence[int]) -> Pull:
        """Pull an image of layers of these sizes."""
        pull = Pull(time.monotonic())
        for errand in (PING, TOKEN, self.manifest):
            pull.visits.append(self.visit(errand))
        with ThreadPoolExecutor(PARALLEL) as pool:
            fetched = list(pool.map(self.layer, layers))
        pull.visits += [visit for visits in fetched for visit in visits]
        pull.seconds = time.monotonic() - pull.began
        last = [*pull.visits[:3], *(visits[-1] for visits in fetched)]
        pull.problem = next((visit.problem for visit in last if visit.problem), None)
        return pull

    def find_routes(self, visits: Iterable[Visit]) -> None:
        """Look up in the log which route served each of these, once they have ended; one that was refused has none."""
        wanted = {"{}:{}".format(*visit.client): visit for visit in visits if visit.route is None and not visit.problem}
        wait_until(lambda: self._look_up(wanted), "every tunnel is in the log", timeout=LOG_TIMEOUT)

    def _look_up(self, wanted: dict[str, Visit]) -> bool:
        for record in self._towline.tunnels():
            if visit := wanted.get(record["client"]):
                visit.route, visit.why = record["route"], record["why"]
        return all(visit.route for visit in wanted.values())
