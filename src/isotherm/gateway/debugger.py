"""A debugger's connection to the instance of a development revision: bytes both ways over one request.

`POST /api/v1/namespaces/NS/functions/NAME/debugger`: the request's body, in chunks, is what the debugger's client says;
the answer's body, in chunks, is what the debugger in the instance says. Either may be silent for as long as it likes.
"""

import re
from urllib.parse import unquote

from isotherm.base.errors import Conflict, Forbidden, Invalid, IsothermError, NotFound, Unauthenticated, Unavailable
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.keys import KeyRing, Principal
from isotherm.gateway.messages import status_line
from isotherm.gateway.names import Reference
from isotherm.gateway.request import Request
from isotherm.gateway.routes import RouteTable
from isotherm.pool.debugging import DebugStream
from isotherm.pool.revision import RevisionPool

__all__ = ["DEBUGGER_SUFFIX", "DebugExchange", "Debugging"]

DEBUGGER_SUFFIX = b"/debugger"
_path = re.compile(rb"/api/v1/namespaces/([^/]{1,190})/functions/([^/]{1,190})/debugger")
HEAD = (
    f"{status_line(200)}content-type: application/octet-stream\r\ncache-control: no-store\r\n"
    "transfer-encoding: chunked\r\n\r\n"
).encode()


class Debugging:
    """Lets debuggers in: of who may deploy the function, and to instances of development revisions alone."""

    def __init__(self, keys: KeyRing, routes: RouteTable) -> None:
        self._keys = keys
        self._routes = routes
        self._open: set[DebugExchange] = set()

    def exchange(self, connection: ClientConnection, request: Request) -> "DebugExchange | None":
        """None where the path is another's. Raises what the request is refused with."""
        match = _path.fullmatch(request.url)
        if match is None:
            return None
        namespace, name = (unquote(part.decode("latin-1")) for part in match.groups())
        principal, revision = self._revision(request, namespace, name)
        if not connection.chunked:
            raise Invalid("a debugger's bytes come in chunks: send `Transfer-Encoding: chunked`")
        return DebugExchange(connection, request, revision, principal, self._open)

    def tick(self) -> None:
        """End those whose key or session is over, or has no such role any more."""
        for each in list(self._open):
            principal, spec = self._keys.renewed(each.principal), each.revision.spec
            if principal is None or not principal.may_deploy(spec.namespace, spec.name):
                each.cut(Unauthenticated("this key or login may not debug any more"))

    def _revision(self, request: Request, namespace: str, name: str) -> tuple[Principal, RevisionPool]:
        given = request.header(b"authorization")
        if given is None:
            raise Unauthenticated("a key is needed: send `Authorization: Bearer KEY`")
        principal = self._keys.principal(given)
        absent = NotFound(f"there is no function {namespace}/{name}", namespace=namespace, name=name)
        if not principal.knows(namespace):
            raise absent
        if not principal.may_deploy(namespace, name):  # whether the function is there or not
            raise Forbidden(
                f"this key may not debug {namespace}/{name}; it takes the role developer and, of a key with scopes, "
                "the scope deploy"
            )
        route = self._routes.find(namespace, name)
        if route is None:
            raise absent
        revision = self._routes.target(route, Reference(namespace, name, None)).pick()
        if not (revision.spec.debug and revision.spec.development):
            raise Conflict(
                f"{namespace}/{name} is not deployed to be debugged; `isotherm dev DIR --debug` deploys code so",
                name=name,
            )
        return principal, revision


class DebugExchange:
    """See `gateway.request.BodyStream` and `pool.debugging.DebugClient`."""

    patient = True
    digest: str | None = None

    def __init__(
        self,
        connection: ClientConnection,
        request: Request,
        revision: RevisionPool,
        principal: Principal,
        open_: set["DebugExchange"],
    ) -> None:
        self._connection = connection
        self._request = request
        self.revision = revision
        self.principal = principal
        self._open = open_  # where it is from its turn to its end
        self._stream: DebugStream | None = None
        self._early: list[bytes] = []  # what came before its turn
        self._unread_bytes = 0
        self._over = False

    # -- the client's side -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """It is this request's turn."""
        instance = self.revision.debugged()
        if instance is None:
            self._refuse(Unavailable("no instance of the function is ready yet; try again", retry_after_s=0.5))
            return
        self._open.add(self)
        self._connection.on_left = self._left
        self._connection.download = self
        self._connection.transport.write(HEAD)
        self._stream = instance.attach(self)
        spec = self.revision.spec
        line = f"a debugger was attached by {self.principal.id}"
        self.revision.outcomes.line(spec, instance.id, line, stream="platform")
        early, self._early = self._early, []
        for data in early:
            self.feed(data)

    def feed(self, data: bytes) -> None:
        if self._stream is None:
            self._early.append(data)
            self._connection.hold(True)
            return
        self._stream.send(data)
        self._connection.hold(self._stream.full())

    def end(self) -> None:
        """The client has said all: its debugger is gone."""
        if self._stream is not None:
            self._stream.close()
        self._finish()

    def cut(self, _error: IsothermError) -> None:
        self._left()
        self._connection.transport.close()

    def resume(self) -> None:
        """The client reads again."""
        if self._unread_bytes and self._stream is not None:
            size, self._unread_bytes = self._unread_bytes, 0
            self._stream.taken(size)

    # -- the instance's side -----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self._over or self._stream is None:
            return
        self._connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if self._connection.blocked_since_s:
            self._unread_bytes += len(data)
        else:
            self._stream.taken(len(data))

    def room(self) -> None:
        self._connection.hold(False)

    def ended(self, _why: str) -> None:
        self._finish()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._over:
            return
        self._end()
        connection = self._connection
        connection.on_left = connection.download = None
        if self._stream is None:
            return
        connection.transport.write(b"0\r\n\r\n")
        self._request.keep_alive = False
        connection.done()

    def _left(self) -> None:
        """The client is gone."""
        self._end()
        if self._stream is not None:
            self._stream.close()

    def _refuse(self, error: IsothermError) -> None:
        self._end()
        self._request.keep_alive = False
        self._connection.reply_error(error)

    def _end(self) -> None:
        self._over = True
        self._open.discard(self)
