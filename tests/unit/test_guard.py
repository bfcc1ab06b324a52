"""What the guard lets through, what it refuses and under which code, and what private_targets opens."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal

import pytest

from towline.core.guard import Guard, Refusal, parse_private_targets
from towline.core.policy import TargetPolicy
from towline.types import UNLISTED, Classification, Role, Target

LISTED = Classification("corp", Role.API, "registry.corp.example", "api host of corp")
UNKNOWN = Classification(UNLISTED, Role.UNKNOWN, "", "no rule of the catalogue matches")
OWN = frozenset({("127.0.0.1", 443), ("10.20.0.7", 443), ("203.0.114.9", 443), ("fe80::7%eth0", 443), ("::1", 8443)})
EVERYTHING = ("0.0.0.0/0", "::/0")


def guard(*private: str, unlisted: Literal["direct", "deny"] = "direct") -> Guard:
    """A guard with these private targets and the default ports."""
    return Guard(TargetPolicy(unlisted=unlisted, private_targets=private), OWN)


def code(refusal: Refusal | None) -> str | None:
    """The code of a refusal, None for an answer that lets the target through."""
    return None if refusal is None else refusal.code


def at(ip: str, *private: str, target: str = "registry.corp.example:80") -> str | None:
    """The code for a target that resolved to this address."""
    return code(guard(*private).check_address(Target.parse(target), ip_address(ip)))


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("8.8.8.8", None),
        ("100.63.255.255", None),
        ("100.128.0.0", None),
        ("172.15.255.255", None),
        ("172.32.0.0", None),
        ("2606:4700::1111", None),
        ("127.0.0.1", "dest_loopback"),
        ("::1", "dest_loopback"),
        ("0.0.0.0", "dest_unspecified"),
        ("::", "dest_unspecified"),
        ("10.0.0.5", "dest_private"),
        ("192.168.1.1", "dest_private"),
        ("100.64.0.1", "dest_private"),
        ("fd12::1", "dest_private"),
        ("169.254.1.1", "dest_linklocal"),
        ("fe80::1%eth0", "dest_linklocal"),
        ("169.254.169.254", "dest_metadata"),
        ("fd00:ec2::254", "dest_metadata"),
        ("100.100.100.200", "dest_metadata"),
        ("224.0.0.1", "dest_multicast"),
        ("255.255.255.255", "dest_multicast"),
        ("ff02::1", "dest_multicast"),
        ("192.0.2.1", "dest_reserved"),
        ("198.18.0.1", "dest_reserved"),
        ("240.0.0.1", "dest_reserved"),
        ("2001:db8::1", "dest_reserved"),
        ("64:ff9c::1", "dest_reserved"),
        ("fec0::1", "dest_reserved"),
    ],
)
def test_resolved_addresses(ip: str, expected: str | None) -> None:
    """A resolved address is let through where it is global unicast, and refused by its kind otherwise."""
    assert at(ip) == expected


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("::ffff:8.8.8.8", None),
        ("::ffff:127.0.0.1", "dest_loopback"),
        ("::ffff:169.254.169.254", "dest_metadata"),
        ("::ffff:0.0.0.0", "dest_unspecified"),
        ("64:ff9b::808:808", None),
        ("64:ff9b::a00:1", "dest_embedded_v4"),
        ("64:ff9b::7f00:1", "dest_embedded_v4"),
        ("64:ff9b::a9fe:a9fe", "dest_embedded_v4"),
        ("64:ff9b:1::808:808", "dest_embedded_v4"),
        ("2002:808:808::1", None),
        ("2002:a00:1::1", "dest_embedded_v4"),
        ("2001:0:808:808::f7f7:f7f7", None),
        ("2001:0:808:808::f5ff:fffe", "dest_embedded_v4"),
        ("2001:0:a00:1::f7f7:f7f7", "dest_embedded_v4"),
    ],
)
def test_embedded_addresses(ip: str, expected: str | None) -> None:
    """An IPv6 address that leads to an IPv4 address is judged by that one too."""
    assert at(ip) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("8.8.8.8:443", None),
        ("[2606:4700::1111]:443", None),
        ("127.0.0.1:80", "dest_loopback"),
        ("[::1]:80", "dest_loopback"),
        ("0.0.0.0:80", "dest_unspecified"),
        ("[::]:80", "dest_unspecified"),
        ("[::ffff:127.0.0.1]:80", "dest_loopback"),
        ("localhost:80", "dest_loopback"),
        ("LOCALHOST.:80", "dest_loopback"),
        ("a.localhost:80", "dest_loopback"),
        ("localhost.example:80", None),
        ("10.0.0.5:80", "dest_private"),
        ("169.254.169.254:80", "dest_metadata"),
        ("metadata.google.internal:80", "dest_metadata"),
        ("Metadata.Google.Internal.:80", "dest_metadata"),
        ("metadata:80", "dest_metadata"),
        ("instance-data.ec2.internal:80", "dest_metadata"),
        ("metadata.tencentyun.com:80", "dest_linklocal"),
        ("[64:ff9b::a00:1]:80", "dest_embedded_v4"),
        ("ghcr.io:443", None),
        ("ghcr.io:80", None),
        ("ghcr.io:5000", None),
        ("ghcr.io:8443", None),
        ("ghcr.io:22", "port"),
        ("ghcr.io:25", "port"),
        ("ghcr.io:2375", "port"),
        ("ghcr.io:6379", "port"),
        ("127.0.0.1:22", "dest_loopback"),
    ],
)
def test_targets(target: str, expected: str | None) -> None:
    """Before any dial: literal addresses, names that stand for one, then the port (faults A.2 rows 10 to 14 and 20)."""
    assert code(guard().check_target(Target.parse(target), LISTED)) == expected


def test_unlisted() -> None:
    """Unlisted hosts are refused only where the policy says deny."""
    target = Target("example.com", 443)
    assert guard().check_target(target, UNKNOWN) is None
    assert guard(unlisted="deny").check_target(target, LISTED) is None
    refusal = guard(unlisted="deny").check_target(target, UNKNOWN)
    assert refusal == Refusal(
        "unlisted", "example.com belongs to no registry of the catalogue, and policy.unlisted is deny"
    )


@pytest.mark.parametrize(
    "ip",
    ["127.0.0.1", "127.0.0.2", "10.20.0.7", "203.0.114.9", "fe80::7", "::1", "::ffff:127.0.0.1", "::ffff:10.20.0.7"],
)
@pytest.mark.parametrize("private", [(), EVERYTHING, ("registry.corp.example",)])
def test_own_listeners(ip: str, private: tuple[str, ...]) -> None:
    """Towline never dials itself, by whatever address, and nothing opens that (faults A.2 rows 21 and 23)."""
    assert at(ip, *private, target="registry.corp.example:443") == "loop"


def test_own_listeners_by_name_and_by_port() -> None:
    """`localhost` is the loopback listener; a port on which Towline does not listen is no loop."""
    everything = guard(*EVERYTHING)
    assert code(everything.check_target(Target("localhost", 443), LISTED)) == "loop"
    assert code(everything.check_target(Target("127.0.0.1", 8443), LISTED)) == "loop"
    assert everything.check_target(Target("127.0.0.1", 5000), LISTED) is None
    assert at("10.20.0.7", *EVERYTHING, target="registry.corp.example:5000") is None
    assert at("64:ff9b::a14:7", *EVERYTHING, target="registry.corp.example:443") == "loop"


@pytest.mark.parametrize(
    ("entry", "ip", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3", None),
        ("10.0.0.0/8", "11.0.0.1", None),
        ("10.0.0.0/8", "192.168.0.1", "dest_private"),
        ("10.0.0.5", "10.0.0.5", None),
        ("10.0.0.5", "10.0.0.6", "dest_private"),
        ("fd12::/16", "fd12::1", None),
        ("100.64.0.0/10", "100.64.0.1", None),
        ("100.64.0.0/10", "100.100.100.200", "dest_metadata"),
        ("127.0.0.0/8", "127.0.0.1", None),
        ("198.18.0.0/15", "198.18.0.1", None),
        ("64:ff9b:1::/48", "64:ff9b:1::808:808", None),
        ("64:ff9b:1::/48", "64:ff9b:1::a00:1", "dest_embedded_v4"),
        ("10.0.0.0/8", "64:ff9b::a00:1", None),
        ("10.0.0.0/8", "::ffff:10.0.0.1", None),
        ("registry.corp.example", "10.1.2.3", None),
        ("registry.corp.example", "fd12::1", None),
        ("registry.corp.example", "100.64.0.1", None),
        ("registry.corp.example", "127.0.0.1", None),
        ("registry.corp.example", "64:ff9b::a00:1", None),
        ("registry.corp.example", "198.18.0.1", "dest_reserved"),
        ("*.corp.example", "10.1.2.3", None),
        ("*.CORP.example.", "10.1.2.3", None),
        ("corp.example", "10.1.2.3", "dest_private"),
        ("*.registry.corp.example", "10.1.2.3", "dest_private"),
    ],
)
def test_private_targets(entry: str, ip: str, expected: str | None) -> None:
    """A network opens its addresses for any host, a host opens private addresses for itself."""
    assert at(ip, entry) == expected


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.1.1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_nothing_opens(ip: str) -> None:
    """Metadata, link-local, multicast and unspecified addresses stay closed whatever is listed (faults A.2 row 12)."""
    assert at(ip, *EVERYTHING, "registry.corp.example") is not None


def test_localhost_is_opened_like_its_address() -> None:
    """A name that stands for an address follows the policy for that address."""
    target = Target("localhost", 5000)
    assert guard("127.0.0.0/8").check_target(target, LISTED) is None
    assert guard("localhost").check_target(target, LISTED) is None
    assert code(guard("*.localhost").check_target(target, LISTED)) == "dest_loopback"


@pytest.mark.parametrize(
    ("target", "ip", "place", "entry"),
    [
        ("10.0.0.5:80", "10.0.0.5", "10.0.0.5 is a private address (RFC 1918)", "10.0.0.5"),
        ("hub.corp:80", "10.0.0.5", "hub.corp is at 10.0.0.5, a private address (RFC 1918)", "hub.corp"),
        (
            "[64:ff9b::a00:5]:80",
            "64:ff9b::a00:5",
            "64:ff9b::a00:5 carries 10.0.0.5, a private address (RFC 1918)",
            "10.0.0.5",
        ),
        (
            "hub.corp:80",
            "64:ff9b::a00:5",
            "hub.corp is at 64:ff9b::a00:5, which carries 10.0.0.5, a private address (RFC 1918)",
            "hub.corp",
        ),
        (
            "ghcr.io:443",
            "198.18.0.7",
            "ghcr.io is at 198.18.0.7, a benchmarking address (RFC 2544) or a proxy's fake IP",
            "198.18.0.0/15",
        ),
    ],
)
def test_messages(target: str, ip: str, place: str, entry: str) -> None:
    """A refusal says where the target leads and why that is closed, and what it says to list does open it."""
    refusal = guard().check_address(Target.parse(target), ip_address(ip))
    assert refusal is not None
    assert refusal.message == f"{place}; if that is meant, list {entry} under policy.private_targets"
    assert at(ip, entry, target=target) is None


def test_messages_without_remedy() -> None:
    """Where nothing can be listed, the message says that instead."""
    metadata = guard().check_address(Target("hub.corp", 80), ip_address("169.254.169.254"))
    assert metadata is not None
    assert metadata.message == "hub.corp is at 169.254.169.254, a cloud metadata service, which no policy opens"
    loop = guard().check_address(Target("hub.corp", 443), ip_address("10.20.0.7"))
    assert loop is not None
    assert loop.message == "hub.corp:443 is Towline itself: a request through it would go round in circles"


def test_port_message() -> None:
    """A refused port names the ports that are open."""
    refusal = guard().check_target(Target("ghcr.io", 22), LISTED)
    assert refusal == Refusal("port", "port 22 is not among policy.ports (80, 443, 5000, 8443)")


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' has bits beyond its prefix: write 10.0.0.0/8"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("corp.example/24", "'corp.example/24' is not a network"),
        ("https://corp.example", "'https://corp.example' is not a network"),
        ("corp.example:5000", "'corp.example:5000' is not a host pattern"),
        ("10.0.0", "'10.0.0' ends in a number"),
        ("*", "leaves the last label open"),
        ("", "'' is not a host pattern"),
        ("169.254.0.0/16", "'169.254.0.0/16' is a link-local address .*: no policy opens it"),
        ("169.254.7.0/24", "no policy opens it"),
        ("169.254.169.254", "'169.254.169.254' is a cloud metadata service: no policy opens it"),
        ("ff02::/16", "no policy opens it"),
        ("0.0.0.0", "no policy opens it"),
    ],
)
def test_bad_private_targets(entry: str, fault: str) -> None:
    """An entry that says nothing, or that nothing could open, is an error that quotes it."""
    with pytest.raises(ValueError, match=fault):
        parse_private_targets(["10.0.0.0/8", entry])
    with pytest.raises(ValueError, match=fault):
        guard(entry)


def test_parse_private_targets() -> None:
    """Entries are sorted into networks and hosts, each in the order given."""
    parsed = parse_private_targets(["*.corp.example", "10.0.0.0/8", "fd12::1", "Registry.Corp.Example."])
    assert [str(network) for network in parsed.networks] == ["10.0.0.0/8", "fd12::1/128"]
    assert [pattern.text for pattern in parsed.hosts] == ["*.corp.example", "registry.corp.example"]
