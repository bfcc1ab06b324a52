"""The bench's table: which peer is the best, and how Towline stands to it."""

import pytest
from tests.bench.peers.table import table


def cells(text: str, row: str) -> list[str]:
    """The cells of one row, after its name."""
    line = next(line for line in text.splitlines() if line.startswith(row))
    return line[len(row) :].split()


def test_the_ratio_is_to_the_least_of_a_cost() -> None:
    """Of CPU-seconds the fewest are the best, whoever's they are."""
    text = table({"towline": {"CPU-s/GB 1": 0.3}, "a": {"CPU-s/GB 1": 0.6}, "b": {"CPU-s/GB 1": 0.4}})
    assert cells(text, "CPU-s/GB 1") == ["0.3", "0.6", "0.4", "0.75", "b"]


@pytest.mark.parametrize("row", ["GB/s 4", "tunnels/s", "slow least"])
def test_the_ratio_is_to_the_most_of_a_yield(row: str) -> None:
    """Of bytes and of tunnels a second the most are the best, and of what is left to slow tunnels."""
    text = table({"towline": {row: 3.0}, "a": {row: 2.0}, "b": {row: 1.0}})
    assert cells(text, row) == ["3", "2", "1", "1.50", "a"]


def test_the_straight_way_and_what_takes_no_connect_are_no_peers() -> None:
    """They do less work, and are shown for comparison alone."""
    text = table(
        {"straight": {"p50 ms": 0.1}, "towline": {"p50 ms": 2.0}, "haproxy": {"p50 ms": 0.5}, "a": {"p50 ms": 1.0}}
    )
    assert cells(text, "p50 ms")[-2:] == ["2.00", "a"]


def test_what_was_not_measured_is_a_dash() -> None:
    """A contender that failed has an empty column, and a best of nothing gives no ratio."""
    text = table({"towline": {"failed": 0.0}, "a": {"failed": 0.0}, "b": {}})
    assert cells(text, "failed") == ["0", "0", "-", "-", "a"]
