"""Towline: a forward proxy that gets container pulls through bad networks.

A client's CONNECT flows downward through the layers; nothing imports upward (import-linter holds it):

    cli       commands: run, check, status, explain
    admin     page, JSON and health over HTTP            system   signals of the host: descriptors, systemd
    proxy     mitmproxy's side: listeners, addon, hand-off; the only code that imports mitmproxy
    service   the composition root: classify -> guard -> rank -> race -> relay
    config    YAML to frozen values                       net      dialers, racer, relay: the I/O
    core      the decisions: pure, no socket, no clock
    errors, types                                         the vocabulary

    host, port --classify--> registry, role --rank--> candidates --race--> Dialed --relay--> bytes, outcome, ledger
"""

__version__ = "0.1.0"
