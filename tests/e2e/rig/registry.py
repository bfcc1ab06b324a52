"""Docker Hub in small, on the far side: the same hosts, the same hops, real servers.

registry-1.docker.io:443               docker-registry: TLS, wants a token, sends blob requests elsewhere (307)
auth.docker.io:443                     nginx: hands out the signed token
production.cloudflare.docker.com:443   nginx: serves the blobs, with ranges, from the registry's own storage
plain.corp.test:5000                   docker-registry over the same storage: plain HTTP, no token ("insecure")
docs.corp.test:443 and :80             nginx: ordinary documents, for clients that are not container clients
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import yaml
from tests.e2e.rig.certificates import ISSUER, SERVICE, TOKEN_SECONDS, Authority, pull_token
from tests.e2e.rig.image import REPOSITORY, TAG, Image, make_image, push
from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import Daemon, undone_on_failure
from tests.e2e.rig.world import REGISTRY, WEB

API_HOST = "registry-1.docker.io"
AUTH_HOST = "auth.docker.io"
BLOB_HOST = "production.cloudflare.docker.com"
PLAIN_HOST = "plain.corp.test"
PLAIN_PORT = 5000
DOCS_HOST = "docs.corp.test"

PUBLIC_REPOSITORY, PUBLIC_TAG = "library/alpine", "latest"  # what Towline's probes read from (registries.yaml)
PUBLIC_LAYER_BYTES = 512 * 1024  # more than a probe reads

NGINX = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/nginx.access.log;
    default_type application/octet-stream;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    sendfile on;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    server {{
        listen {address}:443 ssl;
        server_name {auth};
        location = /token {{ default_type application/json; alias {folder}/token.json; }}
    }}
    server {{
        listen {address}:443 ssl;
        server_name {blob};
        root {storage};
    }}
    server {{
        listen {address}:443 ssl;
        listen {address}:80;
        server_name {docs};
        root {documents};
    }}
}}
"""


class Registry:
    """The far side's servers, up once made: they listen at REGISTRY and WEB, which are addresses of that side.

    `documents` is the folder that docs.corp.test serves, `storage` the one whose files the blob host serves.
    """

    def __init__(self, far: Namespace, authority: Authority, image: Image) -> None:
        self._far = far
        self._folder = far.folder
        self._authority = authority
        self.storage = self._folder / "storage"
        self.documents = self._folder / "documents"
        for folder in (self.storage, self.documents):
            folder.mkdir()
        self._owned = ExitStack()
        with undone_on_failure(self._owned):
            self._start_web()
            self._start_registry("plain", PLAIN_PORT, self._plain_settings())
            self._start_registry("hub", 443, self._hub_settings())
            with self._far.http((REGISTRY, PLAIN_PORT)) as connection:
                push(image, connection, REPOSITORY, TAG)
                push(make_image(PUBLIC_LAYER_BYTES), connection, PUBLIC_REPOSITORY, PUBLIC_TAG)

    def _start_web(self) -> None:
        certificate, key = self._authority.issue(AUTH_HOST, BLOB_HOST, DOCS_HOST)
        token = {"token": pull_token(certificate, key, REPOSITORY, PUBLIC_REPOSITORY), "expires_in": TOKEN_SECONDS}
        (self._folder / "token.json").write_text(json.dumps(token))
        config = self._folder / "nginx.conf"
        config.write_text(
            NGINX.format(
                folder=self._folder, certificate=certificate, key=key, address=WEB,
                auth=AUTH_HOST, blob=BLOB_HOST, docs=DOCS_HOST, storage=self.storage, documents=self.documents,
            )
        )  # fmt: skip
        self._own(self._far.start("nginx", "nginx", "-c", str(config), "-e", "stderr"), (WEB, 443))

    def _start_registry(self, name: str, port: int, settings: dict[str, Any]) -> None:
        config = self._folder / f"registry-{name}.yaml"
        config.write_text(yaml.safe_dump(settings))
        daemon = self._far.start(f"registry-{name}", "docker-registry", "serve", str(config))
        self._own(daemon, (REGISTRY, port))

    def _own(self, daemon: Daemon, address: tuple[str, int]) -> None:
        self._owned.enter_context(daemon)
        self._far.await_listener(daemon, address)

    def _plain_settings(self) -> dict[str, Any]:
        return {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}},
            "http": {"addr": f"{REGISTRY}:{PLAIN_PORT}"},
        }

    def _hub_settings(self) -> dict[str, Any]:
        certificate, key = self._authority.issue(API_HOST)
        token = {"realm": f"https://{AUTH_HOST}/token", "service": SERVICE, "issuer": ISSUER}
        return {
            **self._plain_settings(),
            "http": {"addr": f"{REGISTRY}:443", "tls": {"certificate": str(certificate), "key": str(key)}},
            # Blobs live on another host, as Docker Hub's do: the client is sent there with a redirect.
            "middleware": {"storage": [{"name": "redirect", "options": {"baseurl": f"https://{BLOB_HOST}"}}]},
            "auth": {"token": {**token, "rootcertbundle": str(self._authority.ca)}},
        }

    def close(self) -> None:
        """Stop every server."""
        self._owned.close()
