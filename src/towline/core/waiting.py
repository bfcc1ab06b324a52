"""Connections that hold no tunnel: not heard yet, or refused and lingering. Which of them makes room for a new one?

A client that means it sends its request in the moment it has connected. So a new connection is always let in, and where
too many wait, one goes that has had its chance: the one that has waited longest, of the client that has most waiting.
Thousands of silent connections then cost each other their places, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Hashable


class Waiting[C: Hashable]:
    """The connections, by client, each client's oldest first."""

    def __init__(self) -> None:
        self._by_client: dict[str, dict[C, None]] = {}
        self._client_of: dict[C, str] = {}

    def __len__(self) -> int:
        return len(self._client_of)

    def enter(self, connection: C, client: str, *, limit: int) -> C | None:
        """Let a connection wait, with at most `limit` others; the one that is to go for it, which is forgotten."""
        if connection in self._client_of:
            return None
        goes = self._longest_waiting() if len(self) >= max(1, limit) else None
        if goes is not None:
            self.leave(goes)
        self._by_client.setdefault(client, {})[connection] = None
        self._client_of[connection] = client
        return goes

    def leave(self, connection: C) -> None:
        """It holds a tunnel, or is gone; also where it was not waiting."""
        client = self._client_of.pop(connection, None)
        if client is None:
            return
        del self._by_client[client][connection]
        if not self._by_client[client]:
            del self._by_client[client]

    def _longest_waiting(self) -> C:
        client = max(self._by_client, key=lambda client: len(self._by_client[client]))
        return next(iter(self._by_client[client]))
