"""Target.parse on arbitrary text: canonical or refused, and never an address in disguise."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, ip_address

from hypothesis import example, given
from hypothesis import strategies as st

from towline.types import Target, TargetError

LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
NUMBERS = st.one_of(
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**33).map(hex),
    st.integers(0, 2**33).map(lambda number: f"0{number:o}"),
)
ADDRESS_LIKE = st.lists(NUMBERS, min_size=1, max_size=4).map(".".join)
PORTS = st.integers(1, 65535)


def parse(text: str) -> Target | None:
    """The target, None where it is refused; any other exception is a failure of the test."""
    try:
        return Target.parse(text)
    except TargetError:
        return None


@given(st.one_of(st.text(), st.from_regex(r"[\[\]a-zA-Z0-9.:%@_*/-]{1,40}", fullmatch=True)))
def test_any_text(text: str) -> None:
    """Any text is a target in canonical form or a TargetError, and the canonical form reads back as itself."""
    target = parse(text)
    if target is not None:
        assert target.host == target.host.lower()
        assert 1 <= target.port <= 65535
        assert parse(target.authority) == target


@given(NAMES, PORTS)
def test_names(name: str, port: int) -> None:
    """Case and the final dot of a name make no difference."""
    target = parse(f"{name}:{port}")
    assert parse(f"{name.upper()}:{port}") == target
    if target is None or target.ip is None:
        assert parse(f"{name}.:{port}") == target


@given(st.one_of(NAMES, ADDRESS_LIKE))
@example("127.1")
@example("0x7f.1")
@example("017700000001")
@example("2130706433")
def test_no_address_in_disguise(host: str) -> None:
    """What the C library would read as an IPv4 address is accepted as exactly that address, or not at all."""
    target = parse(f"{host}:443")
    try:
        meant = IPv4Address(socket.inet_aton(host))
    except OSError:
        assert target is None or target.ip is None
    else:
        assert target is None or (target.ip == meant and str(meant) == host)


@given(st.ip_addresses(), PORTS)
def test_literals(ip: IPv4Address, port: int) -> None:
    """Every address is a target, and gives itself back."""
    target = Target.parse(Target(str(ip), port).authority)
    assert target.ip == ip_address(str(ip))
    assert target.port == port
