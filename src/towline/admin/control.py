"""What changes the running Towline: each a POST with the token (access.py), and each stands in the log."""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import override

from towline.admin.answers import HTTPS, Writing
from towline.errors import Refused
from towline.types import TargetError


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


class Reloading(Writing):
    """The configuration is read again: answered with what came of it, as status.json has it. 422: nothing changed."""

    @override
    async def perform(self, *groups: str) -> None:
        before = self.running.snapshot().reload.count
        if not await self.reload():
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "no reload now: Towline is starting or stopping")
            return
        done = self.running.snapshot().reload
        if done.count == before:
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the reload broke: the log says where")
            return
        if not done.ok:
            self.set_status(HTTPStatus.UNPROCESSABLE_ENTITY)
        self.json(dataclasses.asdict(done) | ({} if done.ok else {"error": "nothing was changed: see `problems`"}))


class Probe(Writing):
    """A host is probed over every route that may serve it, or without `host` every host in use."""

    @override
    async def perform(self, *groups: str) -> None:
        try:
            found = await self.running.probe(self.get_query_argument("host", None), HTTPS)
        except TargetError as error:
            self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        except Refused as refused:
            self.refuse(refused.status, str(refused))
        else:
            self.json({"probed": [dataclasses.asdict(view) for view in found]})
