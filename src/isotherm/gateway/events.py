"""Lambda's asynchronous Invoke: the event is checked, handed to the queue, and answered 202 once it is durable."""

import msgspec

from isotherm.base.errors import Invalid, IsothermError
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.messages import status_line
from isotherm.gateway.plan import Plan
from isotherm.gateway.request import Request
from isotherm.queue.model import AsyncCall
from isotherm.queue.service import Queue, json_value

__all__ = ["EventIntake"]

ACCEPTED = status_line(202)


class EventIntake:
    """Between the API port and the queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def take(self, connection: ClientConnection, request: Request, plan: Plan, call_id: str) -> None:
        """Raises `Invalid` where the body is not JSON, and what `Queue.accept` raises."""
        spec = plan.target.route.spec
        call = AsyncCall(
            id=call_id,
            namespace=spec.namespace,
            name=spec.name,
            qualifier=plan.qualifier,
            principal_id=None if plan.principal is None else plan.principal.id,
            client_context=plan.client_context,
            event=checked_event(request.body),
        )

        def accepted(error: IsothermError | None) -> None:
            if connection.current is not request:
                return  # the client left before it was told; the call counts all the same
            if error is None:
                connection.request_id = call_id
                location = f"/api/v1/namespaces/{spec.namespace}/calls/{call_id}"
                connection.reply(f"{ACCEPTED}location: {location}\r\n")
            else:
                connection.reply_error(error)

        self._queue.accept(call, accepted)


def checked_event(body: bytes) -> bytes:
    """The event as JSON; nothing at all is null. Raises `Invalid`."""
    try:
        json_value.decode(body or b"null")
    except msgspec.MsgspecError as exc:
        raise Invalid(f"the event is not valid JSON: {exc}") from exc
    return body or b"null"
