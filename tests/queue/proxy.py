"""A TCP proxy before Postgres that loses what a test says."""

import contextlib
import socket
import threading

__all__ = ["Proxy"]

CHUNK_BYTES = 65_536


class Proxy:
    """On a free port of loopback. What it does to connections holds for those that are there, unless said otherwise."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.refusing = False  # new connections end at once
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections."""
        for pair in self._taken():
            pair.end()

    def lose_answers(self) -> None:
        """What is sent arrives, and the connection ends when the server answers."""
        for pair in self._taken():
            pair.deaf = True

    def lose_questions(self) -> None:
        """The connection ends with the next thing that is sent, which does not arrive."""
        for pair in self._taken():
            pair.mute = True

    def hang(self) -> None:
        """Nothing arrives any more, and nobody is told: as when a machine vanishes, or is paused."""
        for pair in self._taken():
            pair.hanging = True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _taken(self) -> "list[_Pair]":
        with self._lock:
            taken, self._pairs = self._pairs, []
        return taken

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append(_Pair(client, server))


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.deaf = self.mute = self.hanging = False
        self._client = client
        self._server = server
        for run in (self._to_server, self._to_client):
            threading.Thread(target=run, daemon=True).start()

    def end(self) -> None:
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _to_server(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(CHUNK_BYTES):
                if self.mute:
                    break
                if not self.hanging:
                    self._server.sendall(data)
        if not self.hanging:
            self.end()

    def _to_client(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(CHUNK_BYTES):
                if self.deaf:
                    break
                if not self.hanging:
                    self._client.sendall(data)
        if not self.hanging:
            self.end()
