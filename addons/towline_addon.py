"""Towline for `mitmdump -s addons/towline_addon.py`: the same addon that `towline run` embeds.

The configuration is found as `towline run` finds it (TOWLINE_CONFIG, then the usual places); mitmdump's own listener is
used. Not named towline.py: mitmproxy puts this folder first on the import path, where it would hide the package.
"""

from towline.cli.compose import addon

addons = [addon()]
