"""What changes the running Towline: each a POST with the token (access.py), and each stands in the log."""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import override

from towline.admin.answers import Writing


class Steer(Writing):
    """A route is drained, or resumed: answered with the route as status.json has it, and those that are in use."""

    @override
    async def perform(self, *groups: str) -> None:
        name, verb = groups
        steered = self.running.drain_route(name) if verb == "drain" else self.running.resume_route(name)
        if steered is None:
            self.refuse(HTTPStatus.NOT_FOUND, "there is no route of this name; `towline status` lists them")
        else:
            self.json(dataclasses.asdict(steered))
