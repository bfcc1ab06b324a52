"""The vocabulary: what a target may look like, and the phrases that values describe themselves with."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from towline.types import (
    MAX_HOST,
    Attempt,
    Blame,
    Candidate,
    Classification,
    NameServer,
    Outcome,
    OutcomeKind,
    Phase,
    Ranking,
    Role,
    RouteKind,
    RouteSpec,
    Secret,
    Target,
    TargetError,
    literal,
)

LABEL = "a" * 63

REFUSED = {  # by the rows of faults A.2
    1: [
        "ghcr.io",
        "[2606:4700::1111]",
        "ghcr.io:",
        "[2606:4700::1111]:",
        "ghcr.io:0",
        "ghcr.io:65536",
        "ghcr.io:99999",
        "ghcr.io:100000",
        "ghcr.io:-1",
        "ghcr.io:+443",
        "ghcr.io:443 ",
        "ghcr.io: 443",
        "ghcr.io:4_43",
        "ghcr.io:0x1bb",
        "ghcr.io:https",
        "ghcr.io:443:443",
    ],
    2: [
        "ghcr.io:009443",
        "ghcr.io:0443",
    ],
    3: [
        "ghcr.io:\uff14\uff14\uff13",
        "ghcr.io:\u0664\u0664\u0663",
    ],
    4: [
        "user:pw@ghcr.io:443",
        "user@ghcr.io:443",
        "@ghcr.io:443",
    ],
    5: [
        "https://ghcr.io:443/",
        "ghcr.io:443/",
        "ghcr.io/:443",
        "ghcr.io:443?x",
        "ghcr.io:443#x",
        "//ghcr.io:443",
    ],
    6: [
        "",
        ":443",
        ".:443",
        "..:443",
        "x..y:443",
        "x.y..:443",
        ".x.y:443",
        f"{LABEL}a.io:443",
        ".".join(["abcdefg"] * 32) + ":443",
        "*.x:443",
        "%31.example:443",
        "ghcr.io\x00:443",
        "ghcr.io\n:443",
        "ghcr.io\t:443",
        "ghcr.io\x7f:443",
        "ghcr .io:443",
        "ghcr,io:443",
    ],
    7: [
        "-oProxyCommand=x:443",
        "-o.example:443",
        "a-.example:443",
    ],
    8: [
        "ghcr\u3002io:443",
        "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:443",
        "①②⑦.0.0.1:443",
        "镜像.example:443",
        "ghcr.io\u00ad:443",
    ],
    9: [
        "127.1:80",
        "2130706433:80",
        "0x7f000001:80",
        "0X7F000001:80",
        "0x7f.1:80",
        "127.0.0.0x1:80",
        "0x:80",
        "0177.0.0.1:80",
        "127.0.0.01:80",
        "0:80",
        "1.2.3.4.5:80",
        "256.0.0.1:80",
        "127.0.0.1.:80",
        "example.1:80",
    ],
    11: [
        "[127.0.0.1]:80",
        "[ghcr.io]:80",
        "[]:80",
        "[::1:80",
        "[::1]80",
        "[::1]x:80",
        "::1:80",
        "2606:4700::1111:443",
    ],
    12: [
        "[fe80::1%eth0]:80",
        "[fe80::1%25eth0]:80",
    ],
}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ghcr.io:443", "ghcr.io", 443),
        ("ghcr.io:1", "ghcr.io", 1),
        ("ghcr.io:65535", "ghcr.io", 65535),
        ("Registry-1.Docker.IO:443", "registry-1.docker.io", 443),
        ("ghcr.io.:443", "ghcr.io", 443),
        ("localhost:5000", "localhost", 5000),
        ("my_registry.corp.example:5000", "my_registry.corp.example", 5000),
        ("xn--fsqu00a.xn--0zwm56d:443", "xn--fsqu00a.xn--0zwm56d", 443),
        ("1password.com:443", "1password.com", 443),
        ("10.com:443", "10.com", 443),
        ("0xcafe.io:443", "0xcafe.io", 443),
        (f"{LABEL}.io:443", f"{LABEL}.io", 443),
        ("8.8.8.8:443", "8.8.8.8", 443),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[2606:4700::1111]:443", "2606:4700::1111", 443),
        ("[2606:4700:0:0::1111]:443", "2606:4700::1111", 443),
        ("[2606:4700::ABCD]:443", "2606:4700::abcd", 443),
    ],
)
def test_parse(text: str, host: str, port: int) -> None:
    """A target is read into its one canonical spelling."""
    assert Target.parse(text) == Target(host, port)


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=f"row {row}: {text!a}") for row in REFUSED for text in REFUSED[row]]
)
def test_parse_refuses(text: str) -> None:
    """Whatever can be read in more than one way is refused."""
    with pytest.raises(TargetError):
        Target.parse(text)


@pytest.mark.parametrize("text", ["user:hunter2@ghcr.io:443", "hunter2@ghcr.io:443", "hunter2@[::1]:443", "a@hunter2"])
def test_userinfo_is_not_echoed(text: str) -> None:
    """A password in the target reaches neither the client's error nor a log (faults A.2 row 4)."""
    with pytest.raises(TargetError) as caught:
        Target.parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("GHCR.IO:443", "ghcr.io:443"),
        ("ghcr.io.:443", "ghcr.io:443"),
        ("Ghcr.Io.:443", "ghcr.io:443"),
        ("[0:0::0:1]:443", "[::1]:443"),
        ("[::FFFF:127.0.0.1]:443", "[::ffff:7f00:1]:443"),
    ],
)
def test_spellings_are_one_target(spelling: str, canonical: str) -> None:
    """Two spellings of one place are equal after parsing (faults A.2 row 18)."""
    assert Target.parse(spelling) == Target.parse(canonical)


@pytest.mark.parametrize("text", ["registry.example.evil:443", "evilregistry.example:443"])
def test_lookalikes_stay_apart(text: str) -> None:
    """A name that contains another is not that other (faults A.2 row 19)."""
    assert Target.parse(text).host != "registry.example"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io", Target("ghcr.io", 80)),
        ("ghcr.io:5000", Target("ghcr.io", 5000)),
        ("[::1]", Target("::1", 80)),
        ("[::1]:5000", Target("::1", 5000)),
    ],
)
def test_default_port(text: str, expected: Target) -> None:
    """An absolute-form request may leave its port out."""
    assert Target.parse(text, default_port=80) == expected


@pytest.mark.parametrize("text", ["ghcr.io:", "[::1]:", "ghcr.io:0"])
def test_default_port_does_not_mend(text: str) -> None:
    """A default stands in for a missing port, not for a bad one."""
    with pytest.raises(TargetError, match="port"):
        Target.parse(text, default_port=80)


def test_longest_name() -> None:
    """A name may have 253 characters and its final dot beside them."""
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(name) == MAX_HOST
    assert Target.parse(f"{name}.:443").host == name
    with pytest.raises(TargetError, match="longer than 253"):
        Target.parse(f"{name}e:443")


@pytest.mark.parametrize(
    ("target", "ip", "authority"),
    [
        (Target("ghcr.io", 443), None, "ghcr.io:443"),
        (Target("127.0.0.1", 80), "127.0.0.1", "127.0.0.1:80"),
        (Target("2606:4700::1111", 443), "2606:4700::1111", "[2606:4700::1111]:443"),
    ],
)
def test_target_forms(target: Target, ip: str | None, authority: str) -> None:
    """A target gives its address where it is a literal, and its text as CONNECT wants it."""
    assert target.ip == (None if ip is None else ip_address(ip))
    assert target.authority == authority
    assert str(target) == authority
    assert Target.parse(authority) == target


@pytest.mark.parametrize(
    ("route", "phrase"),
    [
        (RouteSpec("direct"), "direct"),
        (RouteSpec("vpn", interface="wg0"), "direct by interface wg0"),
        (RouteSpec("leased", source=ip_address("10.20.0.7")), "direct by source 10.20.0.7"),
        (RouteSpec("tagged", mark=0x20), "direct by mark 0x20"),
        (RouteSpec("unmarked", mark=0), "direct by mark 0x0"),
        (
            RouteSpec("all", interface="wg0", source=ip_address("fd00::1"), mark=1),
            "direct by interface wg0, source fd00::1, mark 0x1",
        ),
        (
            RouteSpec(
                "office", RouteKind.HTTP, proxy=("proxy.corp.example", 3128), username="ci", password=Secret("s3cret")
            ),
            "http proxy proxy.corp.example:3128 as ci",
        ),
        (RouteSpec("clash", RouteKind.SOCKS5H, proxy=("127.0.0.1", 7890)), "socks5h proxy 127.0.0.1:7890"),
        (
            RouteSpec("far", RouteKind.HTTPS, interface="wg0", proxy=("fd00::1", 443)),
            "https proxy [fd00::1]:443 by interface wg0",
        ),
    ],
)
def test_route_description(route: RouteSpec, phrase: str) -> None:
    """A route says in one phrase how it leaves this machine, and never its password."""
    assert route.describe() == phrase
    assert "s3cret" not in f"{route!r} {route}"


@pytest.mark.parametrize(
    ("route", "names"),
    [
        (RouteSpec("direct"), "system"),
        (RouteSpec("vpn", dns=NameServer("udp", ("192.0.2.53", 53))), "udp://192.0.2.53"),
        (RouteSpec("vpn", dns=NameServer("udp", ("2001:db8::53", 5353))), "udp://[2001:db8::53]:5353"),
        (RouteSpec("vpn", dns=NameServer("https", ("dns.example", 443), "/q")), "https://dns.example/q"),
        (RouteSpec("clash", RouteKind.SOCKS5, proxy=("p", 1)), "system"),
        (RouteSpec("clash", RouteKind.SOCKS5H, proxy=("p", 1)), "remote"),
        (RouteSpec("office", RouteKind.HTTP, proxy=("p", 1)), "remote"),
        (RouteSpec("office", RouteKind.HTTPS, proxy=("p", 1)), "remote"),
    ],
)
def test_route_says_where_names_are_resolved(route: RouteSpec, names: str) -> None:
    """By the system, by a DNS server as its URL is written, or by the proxy."""
    assert route.names == names


def test_secret() -> None:
    """A secret shows itself on request alone, and is compared by what it holds."""
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "s3cret"
    assert secret == Secret("s3cret") != "s3cret"
    assert hash(secret) == hash(Secret("s3cret"))


@pytest.mark.parametrize(
    ("candidates", "excluded", "why"),
    [
        (
            (Candidate("vpn", 1.0, "1.0 s expected", 0.25), Candidate("direct", 9.0, "slow", 0.25)),
            (),
            "vpn: 1.0 s expected; direct: slow",
        ),
        ((Candidate("vpn", 1.0, "1.0 s expected", 0.25),), (), "vpn: 1.0 s expected"),
        ((), (("vpn", "circuit open"), ("office", "disabled")), "vpn: circuit open; office: disabled"),
        ((), (), "no route is configured"),
    ],
)
def test_ranking_explains_itself(
    candidates: tuple[Candidate, ...], excluded: tuple[tuple[str, str], ...], why: str
) -> None:
    """A ranking says why its first is first, or why there is none."""
    unlisted = Classification("unlisted", Role.UNKNOWN, "", "no rule matches")
    ranking = Ranking(Target("ghcr.io", 443), unlisted, candidates, excluded)
    assert ranking.why == why
    if len(candidates) > 1:
        assert ranking.why_of("direct") == "slow; vpn: 1.0 s expected"


def test_outcomes() -> None:
    """Only an established dial is ok; an attempt reads as its route and how it ended."""
    refused = Outcome(OutcomeKind.REFUSED, Phase.CONNECT, Blame.ROUTE, 0.1, "refused")
    established = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, 0.1, "established")
    assert established.ok
    assert not refused.ok
    assert str(Attempt("vpn", 0.0, refused)) == "vpn: refused"


def test_literal() -> None:
    """A host that spells out an address is one, and a name is none; asked anew, whatever was asked before."""
    literal.cache_clear()
    assert literal("192.0.2.7") == ip_address("192.0.2.7")
    assert literal("registry.test") is None
