"""Whom our own TLS connections trust: the system's roots, as registry clients do, or those of SSL_CERT_FILE."""

from __future__ import annotations

import asyncio
import errno
import ssl

_contexts: dict[tuple[str, ...], ssl.SSLContext] = {}


async def system_trust(*protocols: str) -> ssl.SSLContext:
    """A context that verifies certificate and host name and offers `protocols` by ALPN: one for each offer.

    Its first use reads the roots, in a thread. Raises OSError where there is no thread for it.
    """
    if protocols not in _contexts:
        try:
            context = await asyncio.to_thread(_context, protocols)
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error
        _contexts.setdefault(protocols, context)
    return _contexts[protocols]


def _context(protocols: tuple[str, ...]) -> ssl.SSLContext:
    """Reading the roots took 60 ms (144 of them, OpenSSL 3.0)."""
    context = ssl.create_default_context()
    # Python 3.13 asks for what RFC 5280 wants of an authority's certificate. Go, and with it the clients, does not, so
    # that they trust many a company's own authority that this flag rejects.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
