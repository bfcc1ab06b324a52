"""The fault table: what came of all pulls of a row by one client, and whether that is what was asked."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.clients import OWN_WAIT
from tests.faults.meter import NOTHING, Moved
from tests.faults.row import Row
from tests.faults.scene import Pull

MIB = 2**20
TWICE_PER_FAILOVER = MIB  # bytes that a client which resumes may fetch twice for each tunnel that was moved
PHASES = ("connect", "first_flight", "release")
REASON_WIDTH = 60
COLUMNS = "{:33} {:10} {:>7} {:>6} {:>6} {:>6} {:>6} {:>9}  {} | {}"
HEAD = COLUMNS.format("fault", "client", "done", "over", "max", "twice", "sent", "c/f/r", "verdict", "reason")
LEGEND = """\
done: pulls completed with the right digest, of those tried. over, max: seconds beyond the clean pull, median and worst;
of two clean pulls, over two routes and over one, the slower counts. twice: MiB beyond it that the client got; sent:
that the registry sent, with what was lost, sent again by TCP, or left in the buffers of a dead route. Both are means of
the pulls that completed.
c/f/r: failovers that Towline counted, at connect, first flight and by release, in all pulls together."""


@dataclass(frozen=True, slots=True)
class Clean:
    """What a client needs without a fault."""

    seconds: float
    fetched: int
    """Bytes of payload."""


@dataclass(slots=True)
class Line:
    """All pulls of one row by one client, each beside the clean pull of its time."""

    row: Row
    client: str
    pulls: list[tuple[Pull, Clean]] = field(default_factory=list)
    slack: float = 0.0
    """Seconds that a pull may take beyond what is asked."""

    @property
    def completed(self) -> int:
        """Pulls that completed."""
        return sum(pull.completed for pull, _ in self.pulls)

    @property
    def over(self) -> list[float]:
        """Seconds over the clean pull, of pulls that completed."""
        return [pull.seconds - clean.seconds for pull, clean in self.pulls if pull.completed]

    @property
    def extra(self) -> Moved:
        """Bytes moved beyond what the clean pull fetched, on average of the pulls that completed."""
        extra = [_extra(pull, clean) for pull, clean in self.pulls if pull.completed]
        return Moved(*(round(statistics.fmean(sizes)) for sizes in zip(*extra, strict=True))) if extra else NOTHING

    @property
    def failovers(self) -> Counter[str]:
        """Of all pulls together."""
        return sum((pull.failovers for pull, _ in self.pulls), Counter())

    @property
    def reason(self) -> str:
        """What Towline says most often about why a tunnel was moved, or what a client that failed said last."""
        failed = next((pull.words for pull, _ in self.pulls if pull.words), "")
        if failed:
            return " ".join(failed.split())
        told = Counter(reason for pull, _ in self.pulls for reason in reasons(pull.log))
        return told.most_common(1)[0][0] if told else ""

    def complaints(self) -> Iterator[str]:
        """What is not as it was asked."""
        asked, tried = self.row.asked, len(self.pulls)
        if self.completed < tried:
            yield f"{tried - self.completed} of {tried} failed"
        if landed := sum(not pull.landed for pull, _ in self.pulls):
            yield f"struck too late in {landed}"
        if asked.over is not None and self.over:
            bound = asked.over + self.slack + (OWN_WAIT.get(self.client, 0.0) if asked.waits else 0.0)
            if (median := statistics.median(self.over)) > bound:
                yield f"{median:.1f} s over, {bound:.1f} asked"
        if not asked.releases and self.failovers["release"]:
            yield f"{self.failovers['release']} releases"
        moved = sum(self.failovers.values()) / max(1, tried)
        if self.client in OWN_WAIT and self.extra.fetched > TWICE_PER_FAILOVER * max(1.0, moved):
            yield "fetched too much twice"

    @property
    def is_judged(self) -> bool:
        """Whether something is asked of Towline for this client."""
        return self.client in self.row.clients

    def verdict(self) -> str:
        """One word, or the complaints."""
        complaints = "; ".join(self.complaints())
        if not self.is_judged:
            return f"told: {complaints or 'ok'}"
        return f"NO: {complaints}" if complaints else "ok"

    def __str__(self) -> str:
        over = self.over
        middle, worst = (f"{statistics.median(over):.1f}", f"{max(over):.1f}") if over else ("-", "-")
        counts = "/".join(str(self.failovers[phase]) for phase in PHASES)
        done = f"{self.completed}/{len(self.pulls)}"
        twice, sent = (f"{size / MIB:.2f}" for size in self.extra)
        reason = self.reason[:REASON_WIDTH]
        return COLUMNS.format(
            self.row.name, self.client, done, middle, worst, twice, sent, counts, self.verdict(), reason
        )

    def as_json(self) -> dict[str, Any]:
        """The line with every pull."""
        return {
            "fault": self.row.name,
            "phase": self.row.asked.phase,
            "client": self.client,
            "tried": len(self.pulls),
            "completed": self.completed,
            "verdict": self.verdict(),
            "reason": self.reason,
            "failovers": {phase: self.failovers[phase] for phase in PHASES},
            "pulls": [_pull_as_json(pull, clean) for pull, clean in self.pulls],
        }


def _extra(pull: Pull, clean: Clean) -> Moved:
    return Moved(pull.moved.fetched - clean.fetched, pull.moved.sent - clean.fetched)


def _pull_as_json(pull: Pull, clean: Clean) -> dict[str, Any]:
    extra = _extra(pull, clean)
    figures = {
        "completed": pull.completed,
        "landed": pull.landed,
        "seconds": round(pull.seconds, 3),
        "clean_seconds": round(clean.seconds, 3),
        "fetched_twice": extra.fetched,
        "sent_twice": extra.sent,
        "failovers": pull.failovers,
    }
    return figures if pull.completed else {**figures, "words": pull.words, "log": pull.log}


def reasons(log: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Why tunnels were moved, in Towline's own words."""
    for record in log:
        match record["event"]:
            case "tunnel" if "; then " in record["why"]:
                yield record["why"].partition("; then ")[0]
            case "cut":
                yield f"cut: {record['why']}"
            case "released":
                yield f"{record['cause']}: {record['why']}"


def table(lines: Sequence[Line]) -> str:
    """The whole table as text."""
    judged = [line for line in lines if line.is_judged]
    good = sum(line.verdict() == "ok" for line in judged)
    return "\n".join([HEAD, *map(str, lines), "", LEGEND, f"{good} of {len(judged)} lines are as asked."])
