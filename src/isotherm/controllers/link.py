"""The link server: hosts connect, get the desired state as it changes and orders, and hand in their telemetry."""

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import Any

import structlog

from isotherm.base.clock import Clock
from isotherm.bus.board import HostBoard
from isotherm.controllers.port import DesiredSource, Ingest
from isotherm.controllers.session import HostSession, read_message
from isotherm.wire.link import PROTOCOL, Hello, LinkError, State, Welcome, encode
from isotherm.wire.telemetry import Batch, LogLine

__all__ = ["SETTLE_S", "LinkServer"]

SETTLE_S = 5.0  # for which a host that does not answer holds up whoever wants to know that hosts work by what is new

_log = structlog.get_logger(__name__)
_hello_timeout_s = 10.0
_store_attempts = 5
# From Python 3.13 on a server removes its socket's path when it closes; the path is the supervisor's.
_keep_path: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
_peer = struct.Struct("3i")  # SO_PEERCRED: pid, uid, gid


class LinkServer:
    """Serves hosts on a Unix socket. `serve` owns every task of it and ends them all when it is cancelled.

    `store_on` is a one-thread executor: telemetry is stored there, so neither requests nor the loop wait for it.
    """

    def __init__(
        self,
        *,
        source: DesiredSource,
        ingest: Ingest,
        board: HostBoard,
        on_logs: Callable[[Iterable[LogLine]], None],
        store_on: Executor,
        clock: Clock,
        isotherm_version: str,
        poll_s: float = 1.0,
    ) -> None:
        self._source = source
        self._ingest = ingest
        self._board = board
        self._on_logs = on_logs
        self._store_on = store_on
        self._clock = clock
        self._isotherm_version = isotherm_version
        self._poll_s = poll_s
        self._sessions: dict[str, HostSession] = {}
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def sessions(self) -> list[HostSession]:
        """The hosts that are connected now."""
        return list(self._sessions.values())

    async def host_arrives(self, timeout_s: float) -> None:
        """Wait until another host connects, at most `timeout_s`."""
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()

    async def settled(self, timeout_s: float = SETTLE_S) -> bool:
        """Wait until every connected host works by the desired state of now, at most `timeout_s`; whether they do.

        A host handles what it gets in order, so its answer to an order says that it has applied the state before it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                version = await asyncio.to_thread(self._source.version)
                self._changed.set()
                await asyncio.gather(
                    *(self._settled(session, version) for session in self.sessions()), return_exceptions=True
                )
                return all(session.applied >= version for session in self.sessions())
        return False

    async def _settled(self, session: HostSession, version: int) -> None:
        while session.version < version and not session.over:
            await session.sent.wait()
            session.sent.clear()
        if session.applied < version:
            applied = session.version
            await session.order("states", timeout_s=5.0)
            session.applied = max(session.applied, applied)

    def desired_changed(self) -> None:
        """Push what changed to the hosts at once. May be called on any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def serve(self, listener: socket.socket) -> None:
        """Until cancelled. Raises `OSError` where `listener` is not a listening Unix socket."""
        self._loop = asyncio.get_running_loop()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._spawn(self._connection(reader, writer))

        server = await asyncio.start_unix_server(connected, sock=listener, limit=1024 * 1024, **_keep_path)
        try:
            await self._push_changes()
        finally:
            server.close()
            ending = list(self._tasks)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="link")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            session = await self._welcome(reader, writer)
            await self._session(session)
        except asyncio.IncompleteReadError:
            _log.info("a host closed its connection")
        except (ConnectionError, TimeoutError) as exc:
            _log.info("a host left", reason=str(exc) or type(exc).__name__)
        except LinkError as exc:
            _log.warning("a host broke the protocol and was cut off", reason=str(exc))
        except Exception:  # noqa: BLE001 (whatever one host or the store behind it causes must not end the server)
            _log.exception("the connection of a host failed; it will connect again")
        finally:
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HostSession:
        _check_peer(writer)
        async with asyncio.timeout(_hello_timeout_s):
            hello = await read_message(reader)
        if not isinstance(hello, Hello):
            raise LinkError("the first message was not a hello")
        session = HostSession(hello, reader, writer)
        await session.send(Welcome(protocol=PROTOCOL, isotherm_version=self._isotherm_version))
        if hello.protocol != PROTOCOL:
            raise LinkError(f"host {hello.host_id} speaks protocol {hello.protocol}, control speaks {PROTOCOL}")
        return session

    async def _session(self, session: HostSession) -> None:
        host_id = session.hello.host_id
        former = self._sessions.pop(host_id, None)
        if former is not None:
            former.close()
        await self._push(session, always=True)
        self._sessions[host_id] = session
        self._board.host_connected(session.hello, self._clock.time_ms())
        self._board.desired_sent(host_id, session.version)
        self._arrived.set()
        self._changed.set()  # a change between the first push and the entry in the table is not missed
        _log.info("a host connected", host_id=host_id, boot_id=session.hello.boot_id)
        try:
            await session.run(self._store)
        finally:
            if self._sessions.get(host_id) is session:
                del self._sessions[host_id]
                self._board.host_gone(host_id, self._clock.time_ms())

    async def _push_changes(self) -> None:
        """Push after each change that this process made, and look once a `poll_s` for any other."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._changed.wait()
            self._changed.clear()
            if not self._sessions:
                continue
            try:
                version = await asyncio.to_thread(self._source.version)
            except Exception:  # noqa: BLE001 (the database may be locked or away for a while; hosts go on without it)
                _log.exception("the version of the desired state could not be read")
                await asyncio.sleep(self._poll_s)
                self._changed.set()
                continue
            for session in self.sessions():
                if session.version != version and not session.pushing:
                    session.pushing = True
                    self._spawn(self._push_or_drop(session))

    async def _push_or_drop(self, session: HostSession) -> None:
        """A slow host holds up no other. What changed while this was under way is looked for once more."""
        try:
            await self._push(session)
            session.pushing = False
            self._changed.set()
        except Exception as exc:  # noqa: BLE001 (this host connects again and gets a whole snapshot)
            _log.warning("the desired state could not be sent", host_id=session.hello.host_id, reason=repr(exc))
            session.close()

    async def _push(self, session: HostSession, *, always: bool = False) -> None:
        frame, epoch, version, empty = await asyncio.to_thread(self._read_desired, session.epoch, session.version)
        if always or not empty:
            await session.send_encoded(frame)
        session.epoch, session.version = epoch, version
        session.sent.set()
        self._board.desired_sent(session.hello.host_id, version)

    def _read_desired(self, epoch: str | None, version: int) -> tuple[bytes, str, int, bool]:
        desired = self._source.desired(epoch, version)
        empty = not (desired.full or desired.items or desired.removed)
        return encode(State(desired)), desired.epoch, desired.version, empty

    async def _store(self, batch: Batch) -> None:
        """Store, then show. A batch that can't be stored drops the connection; the host sends it again."""
        for attempt in range(1, _store_attempts + 1):
            try:
                new = await asyncio.get_running_loop().run_in_executor(self._store_on, self._ingest, batch)
                break
            except Exception as exc:
                if attempt == _store_attempts:
                    raise
                _log.warning("telemetry could not be stored, trying again", attempt=attempt, reason=repr(exc))
                await asyncio.sleep(0.1 * 2**attempt)
        if new:
            self._board.telemetry_came(batch, self._clock.time_ms())
            self._on_logs(batch.logs)


def _check_peer(writer: asyncio.StreamWriter) -> None:
    """The socket lies in a folder that only the service may enter; this says it once more. Raises `LinkError`."""
    peer = writer.get_extra_info("socket")
    _, uid, _ = _peer.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _peer.size))
    if uid not in (0, os.geteuid()):
        raise LinkError(f"uid {uid} may not be a host")
