"""The test's own certificate authority, and the token that a registry behind `auth.docker.io` accepts.

Docker Hub's registry trusts tokens that its authorization service signed. Here the token is signed once with the key of
the test's own auth.docker.io, so that a plain web server can hand it out and the real registry still checks it.
Format: docs.docker.com, registry token authentication; JWS with ES256 (RFC 7518 3.4) and the chain in `x5c`.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

ISSUER = "towline-tests"
SERVICE = "registry.docker.io"
TOKEN_SECONDS = 3600
SCALAR = 32  # bytes of one P-256 signature value (RFC 7518 3.4)


class Authority:
    """A certificate authority in a folder: `ca` is its certificate file, `issue` makes one for names.

    It signs by way of an intermediate with an RSA key, as public ones do, so that a server's first flight is longer
    than a packet: a handshake tells as much of a network here as it does outside.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        root = trustme.CA(key_type=trustme.KeyType.RSA)
        self._authority = root.create_child_ca(key_type=trustme.KeyType.RSA)
        self.ca = folder / "ca.crt"
        root.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Certificate chain file and key file for `names`; the first name names the files."""
        issued = self._authority.issue_cert(*names)
        certificate, key = self._folder / f"{names[0]}.crt", self._folder / f"{names[0]}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key


def pull_token(certificate: Path, key: Path, *repositories: str) -> str:
    """A signed token that allows pulling from `repositories` for an hour."""
    chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    private = load_pem_private_key(key.read_bytes(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("ES256 wants an elliptic-curve key, which is what trustme issues")
    x5c = [base64.b64encode(link.public_bytes(Encoding.DER)).decode() for link in chain]
    header = {"typ": "JWT", "alg": "ES256", "x5c": x5c}
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": ISSUER, "sub": "", "aud": SERVICE, "jti": "towline",
        "iat": now, "nbf": now - 60, "exp": now + TOKEN_SECONDS,
        "access": [{"type": "repository", "name": name, "actions": ["pull"]} for name in repositories],
    }  # fmt: skip
    signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
    r, s = utils.decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_encoded(r.to_bytes(SCALAR) + s.to_bytes(SCALAR))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
