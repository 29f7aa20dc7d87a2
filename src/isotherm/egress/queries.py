"""The name server of one revision: answers allowed names with addresses that stand for them, and no others.

An allowed name is looked up outside before it is answered, so that one that does not exist is told so.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from isotherm.egress import policy
from isotherm.egress.model import EgressLimits, Tally
from isotherm.egress.names import NameTable
from isotherm.egress.port import NameNotFound, NamesUnavailable, Resolver
from isotherm.wire.egress import Rules

__all__ = ["NameService"]

TTL_S = 30
MAX_QUERY_BYTES = 4096
QUERIES_A_TURN = 16  # then other revisions have the loop
MAX_TCP_CLIENTS = 16
TCP_TIMEOUT_S = 10.0
_local = ("arpa", "localhost")  # asked for by libraries of their own accord: refused, and nothing is said


class NameService:
    """Owns its sockets. `tally` gives what counts now."""

    def __init__(
        self,
        rules: Rules,
        names: NameTable,
        resolver: Resolver,
        limits: EgressLimits,
        by_udp: socket.socket,
        by_tcp: socket.socket,
        tally: Callable[[], Tally],
    ) -> None:
        self._rules = rules
        self._names = names
        self._resolver = resolver
        self._limits = limits
        self._udp, self._tcp = by_udp, by_tcp
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tcp_clients = 0
        self._tokens = float(limits.query_burst)
        self._filled_s = self._loop.time()

    def start(self) -> None:
        for each, ready in ((self._udp, self._on_datagrams), (self._tcp, self._on_client)):
            each.setblocking(False)
            self._loop.add_reader(each.fileno(), ready)

    def close(self) -> None:
        for each in (self._udp, self._tcp):
            self._loop.remove_reader(each.fileno())
            each.close()
        for task in self._tasks:
            task.cancel()

    async def answer(self, query: bytes) -> bytes | None:
        """The answer to a message; None where there is none to give."""
        try:
            message = dns.message.from_wire(query)
        except (dns.exception.DNSException, ValueError):
            return None
        if message.flags & dns.flags.QR:
            return None
        answer = dns.message.make_response(message, recursion_available=True)
        if message.opcode() != dns.opcode.QUERY or len(message.question) != 1:
            answer.set_rcode(dns.rcode.NOTIMP)
            return answer.to_wire()
        question = message.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        answer.set_rcode(await self._look_up(name))
        asked_for_address = question.rdtype == dns.rdatatype.A and question.rdclass == dns.rdataclass.IN
        if answer.rcode() == dns.rcode.NOERROR and asked_for_address:
            address = str(self._names.address_of(name))
            answer.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", "A", address))
        return answer.to_wire()

    async def _look_up(self, name: str) -> dns.rcode.Rcode:
        if not self._may_ask_now():
            self._tally().refuse(f"egress: more than {self._limits.queries_per_s:g} names a second were asked for")
            return dns.rcode.REFUSED
        if not policy.may_ask(self._rules, name):
            if name.rpartition(".")[2] not in _local:
                self._tally().refuse(f'egress: the name {name} is not allowed; add "{name}" to egress.hosts')
            return dns.rcode.NXDOMAIN
        try:
            await self._resolver.addresses(name)
        except NameNotFound:
            return dns.rcode.NXDOMAIN
        except NamesUnavailable as exc:
            self._tally().say(f"egress: the name {name} cannot be resolved: {exc}")
            return dns.rcode.SERVFAIL
        return dns.rcode.NOERROR

    def _may_ask_now(self) -> bool:
        now_s = self._loop.time()
        grown = self._tokens + (now_s - self._filled_s) * self._limits.queries_per_s
        self._tokens, self._filled_s = min(float(self._limits.query_burst), grown), now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _on_datagrams(self) -> None:
        for _ in range(QUERIES_A_TURN):
            try:
                query, sender = self._udp.recvfrom(MAX_QUERY_BYTES)
            except OSError:  # nothing is left, or a former answer found nobody
                return
            if len(self._tasks) < self._limits.queries:  # what is lost is asked again
                self._spawn(self._answer_datagram(query, sender))

    async def _answer_datagram(self, query: bytes, sender: tuple[str, int]) -> None:
        answer = await self.answer(query)
        if answer is not None:
            with contextlib.suppress(OSError):
                self._udp.sendto(answer, sender)

    def _on_client(self) -> None:
        try:
            client, _ = self._tcp.accept()
        except OSError:
            return
        if self._tcp_clients >= MAX_TCP_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._tcp_clients += 1
        self._spawn(self._serve_client(client))

    async def _serve_client(self, client: socket.socket) -> None:
        """Queries one after the other, each with its length before it (RFC 7766)."""
        try:
            async with asyncio.timeout(TCP_TIMEOUT_S):
                while True:
                    size = int.from_bytes(await self._exactly(client, 2), "big")
                    answer = await self.answer(await self._exactly(client, min(size, MAX_QUERY_BYTES)))
                    if answer is None or size > MAX_QUERY_BYTES:
                        return
                    await self._loop.sock_sendall(client, len(answer).to_bytes(2, "big") + answer)
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            self._tcp_clients -= 1
            client.close()

    async def _exactly(self, client: socket.socket, size: int) -> bytes:
        """Raises `EOFError`."""
        data = b""
        while len(data) < size:
            piece = await self._loop.sock_recv(client, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
