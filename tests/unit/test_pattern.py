"""Host patterns: what they match, and which ones are refused."""

from __future__ import annotations

import pytest

from towline.core.pattern import HostPattern, canonical_host

MATCHES = [
    # pattern, host, whether it matches
    ("ghcr.io", "ghcr.io", True),
    ("ghcr.io", "a.ghcr.io", False),
    ("ghcr.io", "evilghcr.io", False),
    ("*.gcr.io", "eu.gcr.io", True),
    ("*.gcr.io", "a.b.gcr.io", True),
    ("*.gcr.io", "gcr.io", False),
    ("*.gcr.io", "evilgcr.io", False),
    ("*.gcr.io", "eu.gcr.io.evil", False),
    ("cdn*.quay.io", "cdn.quay.io", True),
    ("cdn*.quay.io", "cdn06.quay.io", True),
    ("cdn*.quay.io", "cdn.evil.quay.io", False),
    ("cdn*.quay.io", "a.cdn01.quay.io", False),
    ("api.ecr.*.amazonaws.com", "api.ecr.eu-west-1.amazonaws.com", True),
    ("api.ecr.*.amazonaws.com", "api.ecr.a.b.amazonaws.com", False),
    ("api.ecr.*.amazonaws.com", "api.ecr.amazonaws.com", False),
    ("*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com", True),
    ("*.dkr.ecr.*.amazonaws.com", "dkr.ecr.eu-west-1.amazonaws.com", False),
    ("crpi-*.*.personal.cr.aliyuncs.com", "crpi-x1.cn-hangzhou.personal.cr.aliyuncs.com", True),
    ("crpi-*.*.personal.cr.aliyuncs.com", "crpi-x1.personal.cr.aliyuncs.com", False),
    ("GHCR.io.", "ghcr.io", True),
    ("a.b", "a-b", False),
    ("10.20.0.7", "10.20.0.7", True),
    ("FD00::0:7", "fd00::7", True),
]


@pytest.mark.parametrize(("pattern", "host", "expected"), MATCHES)
def test_matches(pattern: str, host: str, expected: bool) -> None:
    """A star stands for whole leading labels, for one label, or for characters inside one, but never for a dot."""
    assert HostPattern.parse(pattern).matches(host) is expected


@pytest.mark.parametrize(
    ("pattern", "exact", "ending", "fixed"),
    [
        ("ghcr.io", True, "ghcr.io", 7),
        ("*.gcr.io", False, "gcr.io", 7),
        ("cdn*.quay.io", False, "quay.io", 11),
        ("docker-images-prod*.s3.*.amazonaws.com", False, "amazonaws.com", 36),
        ("10.0.0.5", True, "10.0.0.5", 8),
    ],
)
def test_properties(pattern: str, exact: bool, ending: str, fixed: int) -> None:
    """The fixed ending and the number of fixed characters say how specific a pattern is."""
    parsed = HostPattern.parse(pattern)
    assert (parsed.exact, parsed.ending, parsed.fixed) == (exact, ending, fixed)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("", "not a host pattern"),
        (".", "not a host pattern"),
        ("a..b", "not a host pattern"),
        ("https://ghcr.io", "not a host pattern"),
        ("ghcr.io:443", "not a host pattern"),
        ("ghcr.io/v2", "not a host pattern"),
        ("-a.io", "not a host pattern"),
        ("a-.io", "not a host pattern"),
        ("a b.io", "not a host pattern"),
        ("镜像.io", "not a host pattern"),
        ("a" * 64 + ".io", "not a host pattern"),
        (".".join(["abcdefg"] * 32), "not a host pattern"),
        ("**.gcr.io", "more than one * in a label"),
        ("a*b*.gcr.io", "more than one * in a label"),
        ("*", "last label"),
        ("ghcr.*", "last label"),
        ("ghcr.io*", "last label"),
        ("*.0.0.1", "ends in a number"),
        ("10.0.0", "ends in a number"),
    ],
)
def test_bad_patterns(pattern: str, fault: str) -> None:
    """A pattern that is no pattern is refused in a sentence that quotes it."""
    with pytest.raises(ValueError, match=fault.replace("*", r"\*")) as caught:
        HostPattern.parse(pattern)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("host", ["ghcr.io", "GHCR.IO", "Ghcr.io.", "ghcr.io."])
def test_canonical_host(host: str) -> None:
    """Case and the final dot do not matter."""
    assert canonical_host(host) == "ghcr.io"
