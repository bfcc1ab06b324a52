"""mitmproxy's side: the only code that imports mitmproxy."""

import sys
from importlib.util import find_spec, module_from_spec

LEFT_OUT = ("mitmproxy.addons", "mitmproxy.proxy.layers")


def leave_out_what_mitmdump_needs() -> None:
    """Have two packages of mitmproxy name their modules without loading them all; before mitmproxy is first imported.

    `addons` loads every addon that mitmdump has (LDAP, Flask, the browser, ...), and `layers` every protocol that
    mitmproxy speaks (HTTP/2, QUIC, DNS, WebSockets), of which a tunnel needs none; whatever touches them pays for them,
    with 200 and 140 ms of a start. What is imported from them by name is loaded as ever. Where mitmproxy has loaded
    them already, as under `mitmdump -s`, nothing is changed.
    """
    for name in LEFT_OUT:
        spec = find_spec(name)
        if spec is not None:
            sys.modules.setdefault(name, module_from_spec(spec))
