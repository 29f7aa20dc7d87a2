"""The developer's end of a debugger: a port on this machine's loopback, carried to the function's instance."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import msgspec

from isotherm.base.errors import Invalid, IsothermError, Unavailable, error_from_problem
from isotherm.client.profiles import Profile

__all__ = ["Bridge"]

CONNECT_S = 5.0
READY_S = 20.0  # an instance that starts is there by then
PAUSE_S = 0.2
PIECE_BYTES = 64 * 1024
MAX_CLIENTS = 4


class Bridge:
    """Listens on 127.0.0.1. Use as a context. `say` hears what goes on, and what goes wrong."""

    def __init__(
        self, profile: Profile, name: str, port: int, say: Callable[[str, IsothermError | None], None]
    ) -> None:
        """`port` 0 takes a free one. Raises `Invalid` where it cannot be listened on."""
        self._profile = profile
        self._path = f"/api/v1/namespaces/{quote(profile.namespace, safe='')}/functions/{quote(name, safe='')}/debugger"
        self._say = say
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("127.0.0.1", port))
        except OSError as exc:
            self._listener.close()
            raise Invalid(f"--debug-port {port}: {exc.strerror}; choose another") from exc
        self._listener.listen(MAX_CLIENTS)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="debugger", daemon=True)

    def __enter__(self) -> "Bridge":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait in `accept`
        self._listener.close()
        self._thread.join(2)
        self.drop()

    def drop(self) -> None:
        """Hang up on debuggers: the instance that they were in is going. An editor that restarts attaches anew."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                busy = len(self._clients) >= MAX_CLIENTS
                if not busy:
                    self._clients.add(client)
            if busy:
                client.close()
            else:
                threading.Thread(target=self._serve, args=(client,), name="debugger client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.closing(self._connection()) as connection:
                answer = self._attach(connection)
                self._say("a debugger is attached", None)
                self._carry(client, connection, answer)
                self._say("the debugger is gone", None)
        except IsothermError as error:
            self._say("", error)
        except (OSError, http.client.HTTPException) as exc:
            if not self._over.is_set():
                self._say("", Unavailable(f"the debugger lost {self._profile.url}: {exc or type(exc).__name__}"))
        finally:
            with self._lock:
                self._clients.discard(client)

    def _connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self._profile.url)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        return kind(url.hostname or "", url.port, timeout=CONNECT_S)

    def _attach(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        """The answer, whose body is what the debugger says. Raises what the platform refuses it with."""
        deadline = time.monotonic() + READY_S
        while True:
            connection.putrequest("POST", self._path, skip_accept_encoding=True)
            connection.putheader("Authorization", f"Bearer {self._profile.key}")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            answer = connection.getresponse()
            if answer.status == http.client.OK:
                return answer
            error = _refusal(answer)
            connection.close()
            if error.code not in ("unavailable", "not_found") or time.monotonic() > deadline or self._over.is_set():
                raise error
            time.sleep(PAUSE_S)

    def _carry(
        self, client: socket.socket, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> None:
        """Both ways, until either side ends."""
        platform = connection.sock
        platform.settimeout(None)
        up = threading.Thread(target=_send_chunks, args=(client, platform), name="debugger up", daemon=True)
        up.start()
        while data := answer.read1(PIECE_BYTES):
            client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        up.join(CONNECT_S)


def _send_chunks(client: socket.socket, platform: socket.socket) -> None:
    """What the debugger's client says, as the request's body."""
    with contextlib.suppress(OSError):
        try:
            while data := client.recv(PIECE_BYTES):
                platform.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        finally:
            platform.sendall(b"0\r\n\r\n")


def _refusal(answer: http.client.HTTPResponse) -> IsothermError:
    content = answer.read(PIECE_BYTES)
    try:
        return error_from_problem(msgspec.json.decode(content))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return Unavailable(f"the platform answered {answer.status} to a debugger")
