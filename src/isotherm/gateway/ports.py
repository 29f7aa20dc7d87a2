"""The two listening ports: function URLs on the content port; Invoke, operations and the proxy on the API port."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import monotonic, time_ns
from typing import Protocol

from isotherm.base.errors import IsothermError, NotFound, SignatureRefused, Unavailable
from isotherm.base.ids import request_ids
from isotherm.gateway.checked import CheckedBody, CollectedBody
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.cors import is_preflight
from isotherm.gateway.events import EventIntake
from isotherm.gateway.known import KnownHeads
from isotherm.gateway.messages import HeadCache, date_line, status_line
from isotherm.gateway.names import is_invoke
from isotherm.gateway.plan import INVOKE_SERVICES, URL_SERVICES, Plan, Planner
from isotherm.gateway.rates import RateLimit
from isotherm.gateway.reader import LARGE_BODY, RequestReader
from isotherm.gateway.request import BodyStream, HttpLimits, Request
from isotherm.gateway.target import Target
from isotherm.gateway.upload import Upload
from isotherm.pool.call import Call

__all__ = ["ApiPort", "ContentPort", "Operations"]

HTTP_FLAG = 1


class Operations(Protocol):
    """What the API port answers itself, and where everything else goes."""

    def admit(self, connection: ClientConnection, request: Request) -> BodyStream | None:
        """A stream to control, for what is not the gateway's own."""

    def serve(self, connection: ClientConnection, request: Request) -> None:
        """Answer anything but an Invoke."""

    def tick(self) -> None:
        """About every second: who is on an open connection, and may not be any more."""


class FunctionPort(ABC):
    """What both ports have: connections, the clock, and calls of functions."""

    own_paths: tuple[bytes, ...] = ()

    def __init__(self, limits: HttpLimits, planner: Planner, *, now: Callable[[], float] = monotonic) -> None:
        self.limits = limits
        self.now = now
        self.buffered_bytes = 0
        self.date = date_line()
        self.heads = HeadCache()
        self.draining = False
        self.new_id = request_ids()
        self.requests = 0
        self.refused: dict[int, int] = {}
        self.connections: set[RequestReader] = set()
        self.known = KnownHeads()
        self._planner = planner
        self._routes = planner.routes

    # -- connections -------------------------------------------------------------------------------------------------

    def connection(self) -> ClientConnection:
        """The protocol of a new client."""
        return ClientConnection(self)

    def opened(self, connection: RequestReader) -> bool:
        self.connections.add(connection)
        return len(self.connections) <= self.limits.max_connections

    def closed(self, connection: RequestReader) -> None:
        self.connections.discard(connection)

    def tick(self) -> None:
        """About every second: the date, and clients that are too slow."""
        self.date = date_line()
        now_s = self.now()
        for connection in list(self.connections):
            connection.check_time(now_s)

    def drain(self) -> None:
        """Answers from now on end their connections; idle ones are closed."""
        self.draining = True
        for connection in list(self.connections):
            if connection.idle():
                connection.transport.close()

    @abstractmethod
    def serve(self, connection: ClientConnection, request: Request) -> None:
        """Answer the request, now or later. Raises `IsothermError` where it is refused."""

    # -- requests ----------------------------------------------------------------------------------------------------

    def admit(self, _connection: RequestReader, _request: Request) -> BodyStream | None:
        return None

    def collect(
        self, connection: ClientConnection, request: Request, services: tuple[str, ...]
    ) -> CollectedBody | None:
        """For a large body that is signed. Raises `SignatureRefused` before it is read where that would be in vain."""
        if not (connection.chunked or request.length > LARGE_BODY):
            return None
        if not self._planner.check_signer(request, services):
            return None

        def use(parts: list[bytes]) -> None:
            request.body = b"".join(parts)
            self.serve(connection, request)

        return CollectedBody(connection, request, self.limits.max_body_bytes, use)

    def call(
        self,
        connection: ClientConnection,
        request: Request,
        plan: Plan,
        time_ms: int,
        make: Callable[[str, int, bytes, bytes, ClientConnection, float], Call] = Call,
    ) -> Call:
        """Hand a request to the pool. Raises `TooManyRequests` over the rate of the function or its namespace."""
        target = plan.target
        now_s = request.arrived_s
        if target.route.limiter is not None:
            check_rate(target, target.route.limiter, request)
        self.requests += 1
        call_id = self.new_id()
        if plan.invoke:
            flags = 0
            head = f'["{call_id}{plan.head}'
        else:
            flags = HTTP_FLAG
            head = f'["{call_id}",{time_ms}]{plan.head}'
        call = make(call_id, flags, head.encode(), request.body, connection, now_s)
        call.alias = target.label
        principal = plan.principal
        if principal is not None:
            call.principal_id = principal.id
            principal.used_s = now_s
        if plan.invoke:
            call.source = "invoke"
            if plan.tail:
                call.tail = []
        revision = target.pick(call)
        if plan.qualifier is not None and plan.invoke:
            version = target.version_of(revision.spec)
            call.head = f'["{call_id}",{plan.client_context},"{plan.qualifier}","{version}"]'.encode()
        connection.plan = plan
        connection.call = call
        connection.revision = revision
        revision.submit(call, now_s)
        return call


def check_rate(target: Target, limiter: RateLimit, request: Request) -> None:
    """Raises `TooManyRequests` over the rate of the function or its namespace."""
    refusal = limiter.take(request.arrived_s)
    if refusal is not None:
        target.pick().stats.note("rejected", None, 0.0, 0.0, 0.0, 0.0, len(request.body), 0)
        raise refusal


class ContentPort(FunctionPort):
    """Function URLs."""

    def admit(self, connection: RequestReader, request: Request) -> BodyStream | None:
        if not (request.length or connection.chunked) or not isinstance(connection, ClientConnection):
            return None
        try:
            plan = self._planner.for_url(request, connection.source_ip, secure=connection.secure, whole=False)
        except SignatureRefused:
            return self.collect(connection, request, URL_SERVICES)
        except IsothermError:
            return None  # it is refused in its turn, and the connection goes on
        if plan.signed is None:
            request.keep_plan(plan)
        if not plan.target.streams_bodies:
            return None if plan.signed is None else self.collect(connection, request, URL_SERVICES)
        request.plan = plan
        upload = Upload(self, connection, request, self.limits.max_stream_bytes)
        upload.check()
        return upload if plan.signed is None else CheckedBody(upload, connection, request, plan.signed)

    def serve(self, connection: ClientConnection, request: Request) -> None:
        if is_preflight(request) and (told := self._planner.preflight(request)) is not None:
            connection.reply(told)
            return
        time_ms = time_ns() // 1_000_000
        plan = request.plan
        if not isinstance(plan, Plan) or plan.generation != self._routes.generation or plan.expires_at_ms <= time_ms:
            plan = self._planner.for_url(request, connection.source_ip, secure=connection.secure)
            if plan.signed is None:
                request.keep_plan(plan)
        self.call(connection, request, plan, time_ms)

    def serve_upload(self, connection: ClientConnection, request: Request, upload: Upload) -> None:
        """See `upload.UploadPort`."""
        time_ms = time_ns() // 1_000_000
        plan = request.plan
        if not isinstance(plan, Plan) or plan.generation != self._routes.generation or plan.expires_at_ms <= time_ms:
            plan = self._planner.for_url(request, connection.source_ip, secure=connection.secure, whole=False)
        if not plan.target.streams_bodies:
            raise Unavailable("the function was changed while this request waited for its turn; send it again")
        if self.call(connection, request, plan, time_ms, upload.call).carrier is not None:
            upload.opened()


class ApiPort(FunctionPort):
    """Lambda's Invoke; the rest is for `operations`."""

    own_paths = (b"/api/",)

    def __init__(
        self,
        limits: HttpLimits,
        planner: Planner,
        operations: Operations,
        events: EventIntake,
        *,
        now: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(limits, planner, now=now)
        self._operations = operations
        self._events = events

    def tick(self) -> None:
        super().tick()
        self._operations.tick()

    def admit(self, connection: RequestReader, request: Request) -> BodyStream | None:
        if not isinstance(connection, ClientConnection):
            return None
        if is_invoke(request.url):
            return self.collect(connection, request, INVOKE_SERVICES)
        return self._operations.admit(connection, request)

    def serve(self, connection: ClientConnection, request: Request) -> None:
        if not is_invoke(request.url):
            self._operations.serve(connection, request)
            return
        time_ms = time_ns() // 1_000_000
        plan = request.plan
        if not isinstance(plan, Plan) or plan.generation != self._routes.generation or plan.expires_at_ms <= time_ms:
            if request.method != b"POST":
                raise NotFound("functions are invoked with POST")
            plan = self._planner.for_invoke(request)
            if plan.signed is None:  # one that is signed is checked with its body, each time
                request.keep_plan(plan)
        if not plan.unusual:
            self.call(connection, request, plan, time_ms)
        elif plan.event:
            self._accept(connection, request, plan)
        elif plan.streamed:
            self.call(connection, request, plan, time_ms, _with_events)
        else:
            connection.request_id = self.new_id()
            connection.reply(status_line(204))

    def _accept(self, connection: ClientConnection, request: Request, plan: Plan) -> None:
        """An asynchronous call: answered once it is durable."""
        if plan.target.route.limiter is not None:
            check_rate(plan.target, plan.target.route.limiter, request)
        self.requests += 1
        if plan.principal is not None:
            plan.principal.used_s = request.arrived_s
        self._events.take(connection, request, plan, self.new_id())


def _with_events(call_id: str, flags: int, head: bytes, body: bytes, sink: ClientConnection, arrived_s: float) -> Call:
    """A call whose answer goes out as a stream of events."""
    return Call(call_id, flags, head, body, sink.events(), arrived_s)
