"""Looks at the queue of asynchronous calls and steers it, through a host that is connected."""

from typing import Any

from isotherm.base.errors import Unavailable, error_from_problem
from isotherm.controllers.link import LinkServer
from isotherm.wire.queue import QueueOrder

__all__ = ["HostQueues"]

_timeout_s = 30.0


class HostQueues:
    """See `api.port.Queues`. The hosts of a platform share one queue, so any of them can answer for it."""

    def __init__(self, link: LinkServer) -> None:
        self._link = link

    async def ask(self, order: QueueOrder) -> Any:
        sessions = self._link.sessions()
        if not sessions:
            raise Unavailable(
                "no host is connected, and the hosts have the queue; try again, or see `isotherm status`",
                retry_after_s=1.0,
                begun=False,
            )
        reply = await sessions[0].order("queue", timeout_s=_timeout_s, queue=order)
        if reply.problem is not None:
            raise error_from_problem(reply.problem)
        return reply.result.get("answer")
