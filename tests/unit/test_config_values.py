from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from towline.config import values
from towline.config.values import Invalid, Proxy, nearest
from towline.types import NameServer, RouteKind


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.listen_address, "127.0.0.1:3128", ("127.0.0.1", 3128)),
        (values.listen_address, "[::1]:3128", ("::1", 3128)),
        (values.listen_address, "[0:0:0:0:0:0:0:1]:65535", ("::1", 65535)),
        (values.listen_address, "0.0.0.0:1", ("0.0.0.0", 1)),
        (values.host, "Towline.Example.", "towline.example"),
        (values.host, "[0::1]", "::1"),
        (values.host, "10.0.0.5", "10.0.0.5"),
        (values.proxy, "http://proxy.corp.example:3128", Proxy(RouteKind.HTTP, ("proxy.corp.example", 3128))),
        (values.proxy, "HTTPS://Proxy.Corp.Example:443/", Proxy(RouteKind.HTTPS, ("proxy.corp.example", 443))),
        (values.proxy, "socks5://[fd00::7]:1080", Proxy(RouteKind.SOCKS5, ("fd00::7", 1080))),
        (values.proxy, "socks5h://127.0.0.1:7890", Proxy(RouteKind.SOCKS5H, ("127.0.0.1", 7890))),
        (values.name_server, "system", None),
        (values.name_server, "udp://192.0.2.53", NameServer("udp", ("192.0.2.53", 53))),
        (values.name_server, "udp://192.0.2.53:5353/", NameServer("udp", ("192.0.2.53", 5353))),
        (values.name_server, "udp://[2001:DB8::53]", NameServer("udp", ("2001:db8::53", 53))),
        (values.name_server, "https://DNS.example/dns-query", NameServer("https", ("dns.example", 443), "/dns-query")),
        (values.name_server, "https://[fd00::1]:8443/a/b", NameServer("https", ("fd00::1", 8443), "/a/b")),
        (values.source_address, "10.20.0.7", ipaddress.ip_address("10.20.0.7")),
        (values.source_address, "fd00::7", ipaddress.ip_address("fd00::7")),
        (values.network, "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8")),
        (values.network, "10.0.0.5", ipaddress.ip_network("10.0.0.5/32")),
        (values.network, "::1", ipaddress.ip_network("::1/128")),
        (values.interface, "wg0", "wg0"),
        (values.interface, "fifteen-bytes-1", "fifteen-bytes-1"),
        (values.host_pattern, "Registry.Corp.Example.", "registry.corp.example"),
        (values.host_pattern, "*.corp.example", "*.corp.example"),
        (values.private_target, "10.0.0.0/8", "10.0.0.0/8"),
        (values.private_target, "*.corp.example", "*.corp.example"),
        (values.name, "direct", "direct"),
        (values.name, "0-a_b", "0-a_b"),
        (values.name, "x" * 32, "x" * 32),
        (values.registry_name, "dockerhub", "dockerhub"),
    ],
)
def test_text_becomes_a_value(parse: Callable[[str], object], text: str, value: object) -> None:
    """Well-formed text is the value that it stands for, in canonical form."""
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (values.listen_address, "3128", "expected ADDRESS:PORT"),
        (values.listen_address, ":3128", "expected ADDRESS:PORT"),
        (values.listen_address, "*:3128", "expected ADDRESS:PORT"),
        (values.listen_address, "::1:3128", "expected ADDRESS:PORT"),
        (values.listen_address, "127.0.0.1", "expected ADDRESS:PORT"),
        (values.listen_address, "127.0.0.1:0", "expected ADDRESS:PORT"),
        (values.listen_address, "127.0.0.1:65536", "expected ADDRESS:PORT"),
        (values.listen_address, "127.1:3128", "expected ADDRESS:PORT"),
        (values.listen_address, "localhost:3128", "127.0.0.1:PORT and [::1]:PORT"),
        (values.name_server, "192.0.2.53", "expected system, udp://IP[:PORT] or https://HOST[:PORT]/PATH"),
        (values.name_server, "udp://dns.example", "expected system, udp://"),
        (values.name_server, "udp://192.0.2.53:0", "expected system, udp://"),
        (values.name_server, "udp://192.0.2.53/dns-query", "expected system, udp://"),
        (values.name_server, "tcp://192.0.2.53", "expected system, udp://"),
        (values.name_server, "https://dns.example", "https://dns.example/dns-query"),
        (values.name_server, "https://dns.example/dns query", "expected system, udp://"),
        (values.name_server, "https://dns.example/dns-query{?dns}", "expected system, udp://"),
        (values.name_server, "https://me:secret@dns.example/q", "expected system, udp://"),
        (values.name_server, "", "expected system, udp://"),
        (values.host, "towline:3129", "without a port"),
        (values.host, "::1", "for example towline or [::1]"),
        (values.host, "*.corp.example", "expected a host name"),
        (values.proxy, "proxy.corp.example:3128", "SCHEME://HOST:PORT"),
        (values.proxy, "ftp://proxy.corp.example:21", "http, https, socks5, socks5h"),
        (values.proxy, "direct://proxy.corp.example:21", "http, https, socks5, socks5h"),
        (values.proxy, "http://proxy.corp.example", "SCHEME://HOST:PORT"),
        (values.proxy, "http://proxy.corp.example:3128/path", "SCHEME://HOST:PORT"),
        (values.proxy, "http://proxy.corp.example:3128?x", "SCHEME://HOST:PORT"),
        (values.proxy, "http://user:hunter2@proxy.corp.example:3128", "use username and password_file"),
        (values.proxy, "user:hunter2@proxy.corp.example:3128", "use username and password_file"),
        (values.proxy, "http://hunter2:x:y", "SCHEME://HOST:PORT"),
        (values.source_address, "hunter2", "an IP address of this machine"),
        (values.source_address, "10.0.0.0/8", "an IP address of this machine"),
        (values.source_address, "0.0.0.0", "belongs to no interface"),
        (values.source_address, "ff02::1", "belongs to no interface"),
        (values.network, "hunter2", "expected a network"),
        (values.network, "10.0.0.0/33", "expected a network"),
        (values.network, "10.0.0.5/8", "the network is 10.0.0.0/8"),
        (values.network, "fd00::5/8", "the network is fd00::/8"),
        (values.interface, "", "1 to 15 bytes"),
        (values.interface, "sixteen-bytes-12", "1 to 15 bytes"),
        (values.interface, "éééééééé", "1 to 15 bytes"),
        (values.interface, "..", "cannot be the name"),
        (values.interface, "a/b", "cannot be the name"),
        (values.interface, "eth0:1", "cannot be the name"),
        (values.interface, "wg 0", "cannot be the name"),
        (values.host_pattern, "https://hunter2", "is not a host pattern"),
        (values.host_pattern, "a*b*.hunter2", "has more than one *"),
        (values.host_pattern, "hunter2.*", "leaves the last label open"),
        (values.host_pattern, "10.0.0.0/8", "is not a host pattern"),
        (values.private_target, "10.0.0.5/8", "write 10.0.0.0/8"),
        (values.private_target, "hunter2/8", "is not a network"),
        (values.private_target, "169.254.169.254", "no policy opens it"),
        (values.name, "", "a name is 1 to 32"),
        (values.name, "Direct", "a name is 1 to 32"),
        (values.name, "-x", "a name is 1 to 32"),
        (values.name, "x" * 33, "a name is 1 to 32"),
        (values.name, "x\n", "a name is 1 to 32"),
        (values.image, "", "expected an image"),
        (values.image, "registry.example:5000/team/base", "expected an image"),
        (values.image, "Team/hunter2", "expected an image"),
        (values.image, "team//base", "expected an image"),
        (values.image, "team/base:", "expected an image"),
        (values.image, "team/base:hunter2/", "expected an image"),
        (values.image, "x" * 256, "expected an image"),
        (values.registry_name, "unlisted", "choose another name"),
        (values.registry_name, "Corp", "a name is 1 to 32"),
    ],
)
def test_bad_text_is_explained_without_repeating_it(parse: Callable[[str], object], text: str, said: str) -> None:
    """What cannot be used is said in words, with what to write instead, and never with the text itself."""
    with pytest.raises(Invalid) as caught:
        parse(text)

    explanation = f"{caught.value.message}\n{caught.value.hint}"
    assert said in explanation
    assert "hunter2" not in explanation


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("usrname", ["username", "proxy"], "did you mean username?"),
        ("zzz", ["username", "proxy"], "known: proxy, username"),
        ("zzz", [], ""),
        ("zzz", [f"a{n}" for n in range(17)], ""),
    ],
)
def test_nearest_names_the_word_that_was_meant(word: str, known: list[str], hint: str) -> None:
    """A near miss is answered with the word, anything else with the words there are where they are few."""
    assert nearest(word, known) == hint


@pytest.mark.parametrize("text", ["alpine", "library/alpine", "a/b-c/d__e.f:v1.2_x", "team/base:" + "x" * 128])
def test_image_is_a_name_and_perhaps_a_tag(text: str) -> None:
    """As it stands after the host in a pull."""
    assert values.image(text) == text
