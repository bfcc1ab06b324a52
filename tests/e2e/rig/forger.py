"""Whoever answers at a forged address, in a process of its own: `python -m tests.e2e.rig.forger ADDRESS [CHAIN KEY]`.

With a certificate it shakes hands in TLS and then says nothing; without one it answers a ClientHello with a page. Each
connection's ClientHello is a line of JSON on stdout: the host asked for, and whether it is a client's or Towline's own.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading

from towline.core.tls import HEADER, _extensions

PAGE = b"HTTP/1.1 302 Found\r\nLocation: http://portal.corp.test/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOSTS = ("registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com")
ENCRYPT_THEN_MAC = 22  # extension type (RFC 7366): OpenSSL offers it, with which Towline checks, and Go never does
PATIENCE = 10.0  # seconds for a ClientHello, and for whoever opened the connection to leave


def main(address: str, *certificate: str) -> None:
    """Serve until killed."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    with socket.create_server((address, 443), backlog=64) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, context), daemon=True).start()


def serve(sock: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer one connection."""
    with sock:
        sock.settimeout(PATIENCE)
        try:
            hello = sock.recv(16384, socket.MSG_PEEK)
            note(hello)
            if context is None:
                sock.recv(16384)
                sock.sendall(PAGE)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(16384):
                    pass
            else:
                with context.wrap_socket(sock, server_side=True) as tls:
                    while tls.recv(16384):
                        pass
        except OSError:  # it has left, as who meets a certificate for somebody else does
            return


def note(hello: bytes) -> None:
    """Write down what was asked for; a connection without a word was opened to find an address, and says nothing."""
    if hello:
        host = next((host for host in HOSTS if host.encode() in hello), None)
        ours = any(kind == ENCRYPT_THEN_MAC for kind, _ in _extensions(hello[HEADER + 4 :]))
        print(json.dumps({"host": host, "ours": ours}), flush=True)  # noqa: T201 - what it is read by


if __name__ == "__main__":
    main(*sys.argv[1:])
