"""The attacks that are bytes, by the numbers of table.py, which names the tests that hold the others."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attacks.row import Row, Safe
from tests.attacks.world import ADMIN_PORT, HOSTNAME, OWN, PORT

HOST = "registry.test"
GOOD = f"{HOST}:443"
SECRET = b"s3cr3t-of-a-user"


def connect(authority: str | bytes, *fields: bytes, version: bytes = b"HTTP/1.1", host: bytes | None = None) -> bytes:
    """The head of a CONNECT; Host is the authority unless it is given."""
    asked = authority.encode() if isinstance(authority, str) else authority
    lines = [b"CONNECT " + asked + b" " + version, b"Host: " + (asked if host is None else host), *fields]
    return b"\r\n".join([*lines, b"", b""])


def get(uri: str, *fields: bytes, method: str = "GET", host: str = HOST) -> bytes:
    """The head of another request."""
    return b"\r\n".join([f"{method} {uri} HTTP/1.1".encode(), b"Host: " + host.encode(), *fields, b"", b""])


def _targets(number: int, *authorities: str | bytes, status: int = 400, code: str = "bad_target") -> Iterator[Row]:
    """A CONNECT to each, with a Host field that is none of the matter."""
    for authority in authorities:
        name = authority.decode("latin-1") if isinstance(authority, bytes) else authority
        yield Row(number, name if len(name) < 40 else name[:36] + "...", connect(authority, host=b"h"), status, code)


def _heads(number: int, **heads: bytes) -> Iterator[Row]:
    """Heads that are malformed: 400."""
    for name, sent in heads.items():
        yield Row(number, name.replace("_", " "), sent)


def _spelling() -> Iterator[Row]:
    """1 to 9: ways to spell a target."""
    yield from _targets(1, HOST, f"{HOST}:", f"{HOST}:0", f"{HOST}:65536", f"{HOST}:-1", f"{HOST}:+443", f"{HOST}:4_43")
    yield from _targets(2, f"{HOST}:009443", f"{HOST}:0443", f"{HOST}:0x1bb")
    yield Row(3, "full-width digits", connect(f"{HOST}:\uff14\uff14\uff13", host=b"h"))
    yield Row(3, "Arabic digits", connect(f"{HOST}:\u0664\u0664\u0663", host=b"h"))
    userinfo = (f"user:{SECRET.decode()}@{GOOD}", f"{SECRET.decode()}@{GOOD}", f"{HOST}:443@{SECRET.decode()}:443")
    for number, authority in enumerate(userinfo):
        yield Row(4, f"user information {number}", connect(authority, host=b"h"), code="bad_target", secret=SECRET)
    uri = f"http://user:{SECRET.decode()}@{HOST}/"
    yield Row(4, "user information in a URI", get(uri), code="bad_target", secret=SECRET)
    yield from _targets(5, f"https://{GOOD}/", f"{GOOD}/", f"{GOOD}?x", f"{GOOD}#x", f"{HOST}:443:443", f"//{GOOD}")
    yield from _targets(6, ":443", "x..y:443", f"{'a' * 64}.test:443", f"{'a.' * 127}test:443", "*.test:443", "..:443")
    yield from _targets(6, "%31%32%37.0.0.1:443", "registry.test%00.evil.test:443", f"{HOST}\\@10.0.0.5:443", ".:443")
    yield Row(6, "NUL in the host", connect(b"registry.test\0.evil.test:443", host=b"h"))
    yield from _targets(7, "-oProxyCommand=x:443", "-h.test:443", "--help:443", "h-.test:443")
    for name, host in {
        "ideographic dots": "127\u30020\u30020\u30021",
        "full-width localhost": "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
        "circled digits": "\u2460\u2461\u2466.0.0.1",
        "sharp s": "stra\u00dfe.test",
    }.items():
        yield Row(8, name, connect(f"{host}:443", host=b"h"))
    yield from _targets(9, "127.1:443", "2130706433:443", "0x7f000001:443", "0x7f.1:443", "0177.0.0.1:443", "0:443")
    yield from _targets(9, "127.0.0.01:443", "127.0.0.1.:443", "0x7F.0.0.1:443", "127.0x0.1:443", "10.5:443")
    yield from _targets(9, "[127.0.0.1]:443", "[::1:443", "::1:443", "[::1]443", "[0:0:0:0:0:0:0:0:1]:443")


def _addresses() -> Iterator[Row]:
    """10 to 14: addresses that are not the Internet's."""
    yield from _targets(10, "127.0.0.1:443", "127.1.2.3:443", "[::1]:443", status=403, code="dest_loopback")
    yield from _targets(10, "localhost:443", "LOCALHOST.:443", "x.localhost:443", status=403, code="dest_loopback")
    yield from _targets(10, "0.0.0.0:443", "[::]:443", status=403, code="dest_unspecified")
    yield from _targets(11, "[::ffff:127.0.0.1]:443", "[::ffff:7f00:1]:443", status=403, code="dest_loopback")
    yield from _targets(11, "[0:0:0:0:0:ffff:10.0.0.5]:443", status=403, code="dest_private")
    yield from _targets(12, "[fe80::1%lo]:443", "[fe80::1%25lo]:443")
    yield from _targets(12, "[fe80::1]:443", "169.254.1.1:443", status=403, code="dest_linklocal")
    yield from _targets(
        12, "169.254.169.254:443", "[::ffff:169.254.169.254]:443", "[fd00:ec2::254]:443",
        "metadata.google.internal:443", "100.100.100.200:443", "168.63.129.16:80", status=403, code="dest_metadata",
    )  # fmt: skip
    yield from _targets(
        13, "10.0.0.5:443", "172.16.0.5:443", "172.31.255.255:443", "192.168.1.1:443", "100.64.0.5:443",
        "[fd00::5]:443", status=403, code="dest_private",
    )  # fmt: skip
    yield from _targets(13, "192.0.2.5:443", "198.18.0.5:443", "240.0.0.1:443", status=403, code="dest_reserved")
    yield from _targets(13, "224.0.0.5:443", "255.255.255.255:443", "[ff02::1]:443", status=403, code="dest_multicast")
    yield from _targets(
        14, "[64:ff9b::a00:5]:443", "[2002:a00:5::1]:443", "[2001::1:0:0:f5ff:fffa]:443", "[64:ff9b::7f00:1]:443",
        "[64:ff9b:1::a00:5]:443", status=403, code="dest_embedded_v4",
    )  # fmt: skip
    yield from _targets(14, "[::127.0.0.1]:443", "[::ffff:0:a00:5]:443", status=403, code="dest_reserved")


def _names() -> Iterator[Row]:
    """15 to 23: names, ports, and ways back to the proxy itself."""
    private = ("private.test", "metadata.test", "loopback.test", "mapped.test", "nat64.test", "alias.test")
    yield from _targets(15, *(f"{name}:443" for name in private), status=403, code="no_route")
    for name in ("registry.test.", "REGISTRY.TEST", "Registry.Test."):
        yield _served(18, name, connect(f"{name}:443", host=b"h"))
    yield from _targets(18, "PRIVATE.test.:443", status=403, code="no_route")
    yield from _targets(19, "registry.test.evil.test:443", "evilregistry.test:443", status=403, code="no_route")
    yield from _targets(20, *(f"{HOST}:{port}" for port in (22, 25, 2375, 6379)), status=403, code="port")
    selves = ("127.0.0.1", "127.1.2.3", "localhost", "[::1]", "[::ffff:127.0.0.1]", OWN, f"[::ffff:{OWN}]")
    yield from _targets(21, *(f"{host}:{PORT}" for host in selves), status=403, code="loop")
    yield from _targets(21, f"0.0.0.0:{PORT}", f"[::]:{PORT}", status=403, code="dest_unspecified")
    yield from _targets(21, f"own.test:{PORT}", f"loopback.test:{PORT}", status=403, code="no_route")
    yield from _targets(21, f"{HOSTNAME}:{PORT}", status=403, code="no_route")
    yield Row(21, "its own page", get(f"http://{OWN}:{PORT}/", host=f"{OWN}:{PORT}"), 403, "loop")
    yield from _targets(23, f"127.0.0.1:{ADMIN_PORT}", f"localhost:{ADMIN_PORT}", status=403, code="loop")
    yield Row(23, "the admin page", get(f"http://127.0.0.1:{ADMIN_PORT}/api/v1/status"), 403, "loop")
    yield Row(23, "the admin page by Host", get("/api/v1/status", host=f"127.0.0.1:{ADMIN_PORT}"), code="not_proxied")


def _requests() -> Iterator[Row]:
    """24 to 34: what is no well-formed CONNECT."""
    yield Row(24, "origin-form", get("/"), code="not_proxied")
    yield Row(24, "OPTIONS *", get("*", method="OPTIONS"), code="not_proxied")
    yield Row(24, "TRACE", get(f"http://{HOST}/", method="TRACE"), 501)
    yield Row(24, "https in absolute-form", get(f"https://{HOST}/"))
    yield Row(24, "ftp", get(f"ftp://{HOST}/"), code="not_proxied")
    yield Row(24, "mitm.it", get("http://mitm.it/", host="mitm.it"), 502, "no_route")
    filler = b"X-Filler: " + b"x" * 8000 + b"\r\n"
    start = connect(GOOD)[:-2]
    yield Row(25, "endless head", start, 431, "head_too_large", flood=filler)
    yield Row(25, "endless field", start + b"X: ", 431, "head_too_large", flood=b"x" * 8192)
    yield Row(25, "endless request line", b"CONNECT ", 414, "head_too_large", flood=b"a" * 8192)
    yield Row(26, "slow head", connect(GOOD), 408, "head_timeout", drips=True)
    yield Row(26, "half a head", start, 408, "head_timeout")
    yield Row(27, "nothing", b"", 408, "head_timeout")
    yield _served(28, "leading CRLF", b"\r\n" + connect(GOOD), Safe.EITHER)
    yield from _heads(
        28,
        leading_CRLF_twice=b"\r\n\r\n" + connect(GOOD),
        leading_LF=b"\n" + connect(GOOD),
        leading_CR=b"\r" + connect(GOOD),
        leading_space=b" " + connect(GOOD),
        bare_CR=connect(GOOD).replace(b"\r\n", b"\r"),
        bare_CR_in_a_value=connect(GOOD, b"X: a\rb"),
    )
    yield from _heads(
        29,
        bare_LF=connect(GOOD).replace(b"\r\n", b"\n"),
        bare_LF_at_the_end=connect(GOOD)[:-4] + b"\n\n",
        one_bare_LF=connect(GOOD, b"X: a\nY: b"),
        obs_fold=connect(GOOD, b"X: a\r\n b"),
        two_spaces=connect(GOOD).replace(b" HTTP", b"  HTTP"),
        tab=connect(GOOD).replace(b" HTTP", b"\tHTTP"),
        trailing_space=connect(GOOD).replace(b"1.1\r", b"1.1 \r"),
        NUL_in_a_value=connect(GOOD, b"X: a\0b"),
        ESC_in_a_value=connect(GOOD, b"X: \x1b[2J"),
        fold_before_fields=connect(GOOD).replace(b"\r\nHost", b"\r\n Host"),
    )
    yield from _heads(
        30,
        no_colon=connect(GOOD, b"Nothing"),
        space_before_the_colon=connect(GOOD, b"X : a"),
        no_name=connect(GOOD, b": a"),
        blank_in_a_name=connect(GOOD, b"X Y: a"),
    )
    post = f"http://{HOST}/"
    yield from _heads(
        31,
        two_framings=get(post, b"Content-Length: 5", b"Transfer-Encoding: chunked", method="POST"),
        two_lengths=get(post, b"Content-Length: 5", b"Content-Length: 6", method="POST"),
        the_same_length_twice=get(post, b"Content-Length: 5", b"Content-Length: 5", method="POST"),
        negative_length=get(post, b"Content-Length: -5", method="POST"),
        signed_length=get(post, b"Content-Length: +5", method="POST"),
        list_of_lengths=get(post, b"Content-Length: 5, 5", method="POST"),
        chunked_in_HTTP_1_0=get(post, b"Transfer-Encoding: chunked", method="POST").replace(b"/1.1", b"/1.0"),
    )
    for name, coding in {
        "chunked twice": b"chunked, chunked",
        "xchunked": b"xchunked",
        "identity": b"identity",
    }.items():
        yield Row(31, name, get(post, b"Transfer-Encoding: " + coding, method="POST"), 501)
    yield from _heads(
        32,
        length_on_CONNECT=connect(GOOD, b"Content-Length: 5") + b"hello",
        no_length_on_CONNECT=connect(GOOD, b"Content-Length: 0"),
        chunked_CONNECT=connect(GOOD, b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        both_on_CONNECT=connect(GOOD, b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    )
    yield from _heads(
        33,
        two_Hosts=connect(GOOD, b"Host: 10.0.0.5"),
        no_Host=connect(GOOD).replace(b"Host: registry.test:443\r\n", b""),
        a_list_in_Host=connect(GOOD, host=b"registry.test, 10.0.0.5"),
        user_information_in_Host=connect(GOOD, host=b"user@registry.test"),
    )
    yield _served(33, "another Host", connect(GOOD, host=b"10.0.0.5:443"), Safe.EITHER)
    yield from (
        Row(33, "a good Host on a bad target", connect("10.0.0.5:443", host=GOOD.encode()), 403, "dest_private"),
        Row(33, "a good Host on a bad URI", get("http://10.0.0.5/"), 403, "dest_private"),
    )
    for version in (b"HTTP/1.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/0.9"):
        yield Row(34, version.decode(), connect(GOOD, version=version), 505)
    yield from _heads(
        34,
        no_version=b"CONNECT registry.test:443\r\nHost: registry.test:443\r\n\r\n",
        HTTP_1=connect(GOOD, version=b"HTTP/1"),
        http_in_lower_case=connect(GOOD, version=b"http/1.1"),
        three_digits=connect(GOOD, version=b"HTTP/1.11"),
        junk_behind_the_version=connect(GOOD, version=b"HTTP/1.1 x"),
    )
    yield Row(34, "connect in lower case", connect(GOOD).replace(b"CONNECT", b"connect"), code="not_proxied")


def _streams() -> Iterator[Row]:
    """35 and 36: what follows a head, and what is no HTTP at all."""
    early = b"\x16\x03\x01early data of a client"
    yield _served(35, "early data on accept", connect(GOOD) + early, behind=early)
    bad = connect("10.0.0.5:443")
    for name, behind in {"early data on reject": early, "a second CONNECT on reject": connect(GOOD)}.items():
        yield Row(35, name, bad + behind, 403, "dest_private")
    yield Row(35, "a second CONNECT on a bad head", connect(GOOD, b"X : a") + connect(GOOD))
    yield Row(35, "a second CONNECT on no route", connect("private.test:443") + connect(GOOD), 403, "no_route")
    yield Row(36, "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), code="http2")
    yield Row(36, "SOCKS 4", b"\x04\x01\x01\xbb\x14\0\0\x05user\0", code="socks")
    yield Row(36, "SOCKS 5", b"\x05\x01\x00", code="socks")
    yield Row(36, "TLS", bytes.fromhex("16030100c8010000c40303") + bytes(32), code="tls")
    yield Row(36, "SSLv2", b"\x80\x2e\x01\x00\x02" + bytes(41))
    yield Row(36, "SSH", b"SSH-2.0-OpenSSH_9.2\r\n", code="bad_request")
    yield Row(36, "random bytes", bytes((131 * n + 200) % 256 for n in range(64)))
    yield Row(36, "PROXY protocol 2", b"\r\n\r\n\0\r\nQUIT\n" + bytes(4))
    yield Row(36, "PROXY protocol 1", b"PROXY TCP4 10.0.0.5 10.0.0.5 1 443\r\n" + connect(GOOD))


def _served(number: int, name: str, sent: bytes, safe: Safe = Safe.SERVED, *, behind: bytes = b"hello") -> Row:
    """A request that is good after all."""
    return Row(number, name, sent if behind in sent else sent + behind, 200, "", safe, behind=behind)


ROWS: tuple[Row, ...] = (*_spelling(), *_addresses(), *_names(), *_requests(), *_streams())
