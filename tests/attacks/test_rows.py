"""Every row of bytes on a Towline at work: safe, with the answer, the code, the count and the one log line it has."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.attacks.doors import TowlineDoor
from tests.attacks.row import Row, Safe, Seen, attempt
from tests.attacks.rows import ROWS

MAX_BODY = 512


def check(door: TowlineDoor, row: Row, seen: Seen, *, since: int) -> None:
    """What every row promises; its lines of the log are behind the first `since`."""
    assert list(seen.faults(row)) == []
    assert seen.status == row.status, seen.answer
    if row.safe is not Safe.REFUSED:
        return
    head, _, body = seen.answer.partition(b"\r\n\r\n")
    assert len(body) <= MAX_BODY
    assert b"\r\nConnection: close" in head
    assert body.decode("ascii").strip().isprintable()
    assert row.secret == b"" or row.secret.decode() not in door.process.output()
    client = "{}:{}".format(*seen.client)
    told = [record for record in door.records()[since:] if record.get("client") == client]
    codes = [record.get("code", record["event"]) for record in told if record["event"] in {"refused", "no_route"}]
    assert codes == [row.code], told


@pytest.mark.parametrize("row", [row for row in ROWS if not row.is_slow], ids=str)
def test_row(towline: TowlineDoor, row: Row) -> None:
    """One attempt, and what came of it."""
    since = len(towline.records())
    check(towline, row, attempt(towline.world, row, count=False), since=since)


def test_slow_rows(towline: TowlineDoor) -> None:
    """Those that are ended by the head's timer, all at once."""
    slow, since = [row for row in ROWS if row.is_slow], len(towline.records())
    with ThreadPoolExecutor(len(slow)) as pool:
        for row, seen in zip(slow, pool.map(lambda row: attempt(towline.world, row, count=False), slow), strict=True):
            check(towline, row, seen, since=since)
            assert 9 < seen.seconds < 12


def test_nothing_strayed(towline: TowlineDoor) -> None:
    """After all of them: not one SYN went where it should not, and every refusal was counted and logged."""
    assert towline.world.strays() == 0
    records = towline.records()
    told = Counter(record["code"] for record in records if record["event"] == "refused")
    told["no_route"] = sum(record["event"] == "no_route" for record in records)
    assert towline.status()["totals"]["refused"] == +told
    assert not [record for record in records if record["level"] in {"error", "critical"} or "exception" in record]
