"""mitmproxy's side: the only code that imports mitmproxy."""

import sys
from importlib.util import find_spec, module_from_spec


def leave_out_default_addons() -> None:
    """Have `mitmproxy.addons` name its modules without loading them all; before mitmproxy is first imported.

    The package loads every addon that mitmdump has (LDAP, Flask, the browser, ...), and whatever touches it pays for
    them: a sixth of the time until Towline listens. LeanMaster names the two that it needs. Where mitmproxy has
    loaded them already, as under `mitmdump -s`, nothing is changed.
    """
    spec = find_spec("mitmproxy.addons")
    if spec is not None:
        sys.modules.setdefault(spec.name, module_from_spec(spec))
