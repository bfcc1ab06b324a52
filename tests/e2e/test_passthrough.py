"""TLS is never opened: the client sees the registry's own certificate, and no CA comes into being."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable

import pytest
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.image import Image
from tests.e2e.rig.registry import API_HOST, BLOB_HOST
from tests.e2e.rig.towline import PROXY_ADDRESS, StartTowline
from tests.e2e.rig.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PEM_HEAD, PEM_FOOT = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def fingerprint(world: World, authority: Authority, host: str, *proxy: str) -> str:
    """SHA-256 of the certificate that openssl was shown and could verify."""
    said = world.near.run(
        "openssl", "s_client", "-connect", f"{host}:443", "-servername", host, *proxy,
        "-CAfile", str(authority.ca), "-verify_return_error", "-verify_hostname", host,
        stdin="", timeout=15,
    )  # fmt: skip
    pem = PEM_HEAD + said.partition(PEM_HEAD)[2].partition(PEM_FOOT)[0] + PEM_FOOT
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("host", [API_HOST, BLOB_HOST])
def test_certificate_is_the_registrys_own(
    host: str, world: World, authority: Authority, start_towline: StartTowline
) -> None:
    """The certificate's fingerprint through Towline is the one seen without it."""
    without = fingerprint(world, authority, host)
    start_towline({"direct": {}})
    proxy = ("-proxy", "{}:{}".format(*PROXY_ADDRESS))
    assert fingerprint(world, authority, host, *proxy) == without


def test_no_certificate_authority_is_made(
    client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline
) -> None:
    """After a whole pull, no key, certificate or mitmproxy folder exists in Towline's home."""
    towline = start_towline({"direct": {}})
    assert client("skopeo").pull() == image.digest
    towline.finish()
    made = [
        path for path in towline.home.rglob("*") if path.suffix in {".pem", ".p12", ".cer"} or "mitmproxy" in path.name
    ]
    assert made == []
