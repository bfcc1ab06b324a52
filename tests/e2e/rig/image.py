"""A container image made from scratch: layers of random bytes, pushed by the registry's own API.

The layers are gzip with stored blocks: every client takes them, and 128 MiB are made in a second.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import io
import json
import platform
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname's word -> the image specification's

REPOSITORY, TAG = "library/haul", "1"
LAYERS, LAYER_BYTES = 4, 32 * 2**20
CREATED = "2024-01-01T00:00:00Z"  # fixed, so that the digest is the same in every run


type Blob = bytes | Path
"""A blob, or the file that has it."""


def digest_of(data: bytes) -> str:
    """The content's name, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image ready to push: the manifest's bytes and every blob that it names, by digest."""

    manifest: bytes = field(repr=False)
    blobs: dict[str, Blob] = field(repr=False)

    @property
    def digest(self) -> str:
        """What a client that pulled it must report."""
        return digest_of(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all blobs: the least that a pull into an empty store moves."""
        return sum(size_of(blob) for blob in self.blobs.values())


def make_image(layer_bytes: int = LAYER_BYTES) -> Image:
    """An image of LAYERS layers, each one file of so many random bytes, for this machine's architecture."""
    tars = [_layer(number, layer_bytes) for number in range(LAYERS)]
    blobs = [gzip.compress(tar, compresslevel=0, mtime=0) for tar in tars]
    return assemble([(digest_of(tar), digest_of(blob), blob) for tar, blob in zip(tars, blobs, strict=True)])


def assemble(layers: Sequence[tuple[str, str, Blob]]) -> Image:
    """An image for this machine's architecture; of each layer the digest of its tar, that of its blob, and the blob."""
    platform_of = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux"}
    root = {"type": "layers", "diff_ids": [tar for tar, _, _ in layers]}
    history = [{"created": CREATED, "created_by": f"layer {number}"} for number in range(len(layers))]
    settings = {**platform_of, "created": CREATED, "config": {}, "rootfs": root, "history": history}
    config = json.dumps(settings).encode()
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, digest_of(config), config),
        "layers": [_descriptor(LAYER_TYPE, digest, blob) for _, digest, blob in layers],
    }
    blobs = {digest_of(config): config, **{digest: blob for _, digest, blob in layers}}
    return Image(json.dumps(manifest).encode(), blobs)


def push(image: Image, connection: http.client.HTTPConnection, repository: str, tag: str) -> None:
    """Put the image into the registry at the other end (distribution specification, "Pushing")."""
    for digest, blob in image.blobs.items():
        location = urlsplit(_send(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", 202))
        _send(connection, "PUT", f"{location.path}?{location.query}&digest={digest}", blob, 201)
    _send(connection, "PUT", f"/v2/{repository}/manifests/{tag}", image.manifest, 201)


def _send(connection: http.client.HTTPConnection, method: str, path: str, body: Blob, expected: int) -> str:
    kind = MANIFEST_TYPE if "/manifests/" in path else "application/octet-stream"
    headers = {"Content-Type": kind, "Content-Length": str(size_of(body))}
    with contextlib.nullcontext(body) if isinstance(body, bytes) else body.open("rb") as content:
        connection.request(method, path, content, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != expected:
        raise AssertionError(f"the registry answered {answer.status} to {method} {path}: {text[:500]!r}")
    return answer.getheader("Location", "")


def _layer(number: int, size: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        entry = tarfile.TarInfo(f"cargo-{number}.bin")
        entry.size = size
        archive.addfile(entry, io.BytesIO(random.Random(number).randbytes(size)))
    return sink.getvalue()


def _descriptor(kind: str, digest: str, blob: Blob) -> dict[str, str | int]:
    return {"mediaType": kind, "size": size_of(blob), "digest": digest}


def size_of(blob: Blob) -> int:
    """Its bytes."""
    return len(blob) if isinstance(blob, bytes) else blob.stat().st_size
