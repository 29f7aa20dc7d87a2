"""The page of Prometheus metrics: this host's own, and control's where it answers at once."""

import asyncio
from collections.abc import Iterator

from isotherm.base.errors import IsothermError
from isotherm.gateway.ports import FunctionPort
from isotherm.host.uses import Uses
from isotherm.invocations.aggregates import Window
from isotherm.invocations.recorder import Recorder
from isotherm.pool.service import Pool
from isotherm.queue.service import Queue
from isotherm.telemetry.prometheus import Exposition, labels
from isotherm.wire.quota import LIMITS
from isotherm.wire.telemetry import LATENCY_BUCKETS_MS

__all__ = ["HostMetrics"]

CONTROL_TIMEOUT_S = 0.5
MAX_CONTROL_BYTES = 4 * 1024 * 1024
MIB = 1024 * 1024
ROWS_A_TURN = 32  # rendered before calls get their turn: about half a millisecond
bounds_s = tuple(f"{bound / 1000:g}" for bound in LATENCY_BUCKETS_MS)
Name = tuple[str, str]


class HostMetrics:
    """Reads counters where they are; holds none of its own."""

    def __init__(
        self, recorder: Recorder, pool: Pool, queue: Queue, ports: dict[str, FunctionPort], api_path: str, uses: Uses
    ) -> None:
        self._uses = uses
        self._recorder = recorder
        self._pool = pool
        self._queue = queue
        self._ports = ports
        self._api_path = api_path

    async def text(self) -> str:
        out = Exposition()
        for number, _ in enumerate(self._own(out)):
            if number % ROWS_A_TURN == 0:
                await asyncio.sleep(0)
        return out.text() + await self._of_control()

    def _own(self, out: Exposition) -> Iterator[None]:
        """Yields after each row, so that the page of a host with many functions holds up no call."""
        by_function: dict[Name, Window] = {}
        for name, total in list(self._recorder.retired.items()):
            by_function.setdefault(name, Window()).add(total)
        for stats in self._recorder.all_stats():
            by_function.setdefault((stats.namespace, stats.name), Window()).add(stats.so_far())
            yield
        named = [(labels(namespace=ns, function=name), window) for (ns, name), window in sorted(by_function.items())]
        yield from self._calls(out, by_function)
        out.family("isotherm_request_seconds", "histogram", "Time from a call's arrival to its answer")
        for label, window in named:
            out.histogram("isotherm_request_seconds", label, bounds_s, window.latency, window.total_ms / 1000)
            yield
        out.family("isotherm_run_seconds_total", "counter", "Time that calls ran in instances")
        for label, window in named:
            out.sample("isotherm_run_seconds_total", label, window.run_ms / 1000)
            yield
        out.family("isotherm_queue_wait_seconds_total", "counter", "Time that calls waited for a busy instance")
        for label, window in named:
            out.sample("isotherm_queue_wait_seconds_total", label, window.queue_ms / 1000)
            yield
        out.family("isotherm_start_wait_seconds_total", "counter", "Time that calls waited for a new instance")
        for label, window in named:
            out.sample("isotherm_start_wait_seconds_total", label, window.start_ms / 1000)
            yield
        yield from self._holdings(out)
        yield from self._quotas(out)
        yield from self._egress(out)
        self._front(out)
        self._asynchronous(out)

    def _calls(self, out: Exposition, by_function: dict[Name, Window]) -> Iterator[None]:
        rows = sorted(by_function.items())
        out.family("isotherm_requests_total", "counter", "Calls, by outcome")
        for (namespace, name), window in rows:
            for outcome, count in sorted(window.all_outcomes().items()):
                label = labels(namespace=namespace, function=name, outcome=outcome)
                out.sample("isotherm_requests_total", label, count)
            yield
        out.family("isotherm_errors_total", "counter", "Calls that did not succeed, by outcome")
        for (namespace, name), window in rows:
            for outcome, count in sorted(window.outcomes.items()):
                label = labels(namespace=namespace, function=name, outcome=outcome)
                out.sample("isotherm_errors_total", label, count)
            yield
        out.family("isotherm_cold_starts_total", "counter", "Calls that a new instance took, by cause")
        for (namespace, name), window in rows:
            for cause, count in sorted(window.cold.items()):
                label = labels(namespace=namespace, function=name, cause=cause)
                out.sample("isotherm_cold_starts_total", label, count)
            yield

    def _holdings(self, out: Exposition) -> Iterator[None]:
        """What is held now, by function."""
        temperatures: dict[tuple[str, str, str], int] = {}
        memory: dict[Name, int] = {}
        cpu: dict[Name, float] = {}
        queued: dict[Name, int] = {}
        states = self._pool.states()
        yield
        for state in states:
            name = (state.namespace, state.name)
            memory[name] = memory.get(name, 0) + state.memory_bytes
            cpu[name] = cpu.get(name, 0.0) + state.cpu_s
            queued[name] = queued.get(name, 0) + state.queued
            for temperature, count in state.temperatures.items():
                key = (*name, temperature)
                temperatures[key] = temperatures.get(key, 0) + count
            yield
        out.family("isotherm_instances", "gauge", "Instances by temperature; `template` counts templates")
        for (namespace, function, temperature), count in sorted(temperatures.items()):
            label = labels(namespace=namespace, function=function, temperature=temperature)
            out.sample("isotherm_instances", label, count)
            yield
        out.family("isotherm_memory_bytes", "gauge", "Memory of the instances and the template")
        for (namespace, function), value in sorted(memory.items()):
            out.sample("isotherm_memory_bytes", labels(namespace=namespace, function=function), value)
            yield
        out.family("isotherm_cpu_seconds_total", "counter", "CPU time of the instances")
        for (namespace, function), seconds in sorted(cpu.items()):
            out.sample("isotherm_cpu_seconds_total", labels(namespace=namespace, function=function), seconds)
            yield
        out.family("isotherm_queued", "gauge", "Calls that wait for an instance")
        for (namespace, function), value in sorted(queued.items()):
            out.sample("isotherm_queued", labels(namespace=namespace, function=function), value)
            yield

    def _quotas(self, out: Exposition) -> Iterator[None]:
        """Use and limits of namespaces; log lines that were over a rate."""
        uses = self._uses.now()
        yield
        out.family("isotherm_quota_used", "gauge", "What a namespace uses of this host, by quota")
        for use in uses:
            for quota, value in (
                ("instances", use.instances),
                ("memory_mb", use.memory_mb),
                ("disk_mb", use.disk_bytes / MIB),
            ):
                out.sample("isotherm_quota_used", labels(namespace=use.namespace, quota=quota), value)
            yield
        out.family("isotherm_quota_limit", "gauge", "What a namespace may use, by quota; none: unlimited")
        for tenant in self._uses.tenants.all():
            for quota in LIMITS:
                limit = getattr(tenant.quota, quota)
                if limit is not None:
                    out.sample("isotherm_quota_limit", labels(namespace=tenant.namespace, quota=quota), limit)
            yield
        out.family("isotherm_quota_refused_total", "counter", "Calls and starts that a quota refused")
        for use in uses:
            for quota, count in sorted(use.refused.items()):
                out.sample("isotherm_quota_refused_total", labels(namespace=use.namespace, quota=quota), count)
            yield
        out.family("isotherm_log_lines_dropped_total", "counter", "Log lines that were over a rate")
        for (namespace, function), count in sorted(self._recorder.allowance.dropped.items()):
            out.sample("isotherm_log_lines_dropped_total", labels(namespace=namespace, function=function), count)
            yield

    def _egress(self, out: Exposition) -> Iterator[None]:
        rows = sorted(self._pool.egress.totals.items())
        out.family("isotherm_egress_connections_total", "counter", "Connections that functions made")
        for (namespace, function), totals in rows:
            label = labels(namespace=namespace, function=function)
            out.sample("isotherm_egress_connections_total", label, totals.opened)
        yield
        out.family("isotherm_egress_refused_total", "counter", "Connections and names that functions were refused")
        for (namespace, function), totals in rows:
            out.sample("isotherm_egress_refused_total", labels(namespace=namespace, function=function), totals.refused)
        yield
        out.family("isotherm_egress_open", "gauge", "Connections out that are open")
        for (namespace, function), totals in rows:
            opened = sum(totals.open.values())
            out.sample("isotherm_egress_open", labels(namespace=namespace, function=function), opened)
        yield
        out.family("isotherm_egress_bytes_total", "counter", "Bytes that functions sent out and got back")
        for (namespace, function), totals in rows:
            for direction, size in (("sent", totals.sent_bytes), ("received", totals.received_bytes)):
                label = labels(namespace=namespace, function=function, direction=direction)
                out.sample("isotherm_egress_bytes_total", label, size)
        yield

    def _front(self, out: Exposition) -> None:
        out.family("isotherm_gateway_connections", "gauge", "Open client connections, by port")
        for name, port in self._ports.items():
            out.sample("isotherm_gateway_connections", labels(port=name), len(port.connections))
        out.family("isotherm_gateway_calls_total", "counter", "Calls that were handed to the pool, by port")
        for name, port in self._ports.items():
            out.sample("isotherm_gateway_calls_total", labels(port=name), port.requests)
        out.family(
            "isotherm_gateway_refused_total", "counter", "Requests that were refused before any function, by status"
        )
        for name, port in self._ports.items():
            for status, count in sorted(port.refused.items()):
                out.sample("isotherm_gateway_refused_total", labels(port=name, status=str(status)), count)
        out.family("isotherm_host_memory_limit_bytes", "gauge", "Memory that all instances may use")
        out.sample("isotherm_host_memory_limit_bytes", "", self._pool.limits.memory_bytes)

    def _asynchronous(self, out: Exposition) -> None:
        queue = self._queue
        out.family("isotherm_async_accepted_total", "counter", "Asynchronous calls that were accepted by clients")
        out.sample("isotherm_async_accepted_total", "", queue.accepted)
        out.family("isotherm_async_ended_total", "counter", "Asynchronous calls that are over, by how")
        for state, count in queue.over.items():
            out.sample("isotherm_async_ended_total", labels(state=state), count)
        out.family("isotherm_async_retries_total", "counter", "Attempts of asynchronous calls that are made again")
        out.sample("isotherm_async_retries_total", "", queue.retried)
        out.family("isotherm_async_adopted_total", "counter", "Asynchronous calls taken over from hosts that are gone")
        out.sample("isotherm_async_adopted_total", "", queue.adopted)
        out.family(
            "isotherm_async_fenced_total", "counter", "Ends of calls that were dropped: another host has the call"
        )
        out.sample("isotherm_async_fenced_total", "", queue.store.fenced)
        out.family("isotherm_queue_leases_lost_total", "counter", "Times that this host lost its calls to others")
        out.sample("isotherm_queue_leases_lost_total", "", queue.store.lost)
        out.family("isotherm_async_running", "gauge", "Asynchronous calls that run")
        out.sample("isotherm_async_running", "", len(queue.running))
        out.family("isotherm_queue_bytes", "gauge", "Size of the queue on disk")
        out.sample("isotherm_queue_bytes", "", queue.used_bytes)
        out.family("isotherm_queue_limit_bytes", "gauge", "Size from which on calls are refused")
        out.sample("isotherm_queue_limit_bytes", "", queue.limits.max_bytes)

    async def _of_control(self) -> str:
        """Control's page, empty where it is away or slow."""
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._api_path, limit=MAX_CONTROL_BYTES)
                try:
                    writer.write(b"GET /internal/metrics HTTP/1.0\r\nhost: control\r\n\r\n")
                    answer = await reader.read(MAX_CONTROL_BYTES)
                    while not reader.at_eof() and len(answer) < MAX_CONTROL_BYTES:
                        answer += await reader.read(MAX_CONTROL_BYTES)
                finally:
                    writer.close()
        except (OSError, TimeoutError, IsothermError):
            return ""
        head, _, body = answer.partition(b"\r\n\r\n")
        return body.decode("utf-8", "replace") if b" 200 " in head[:20] else ""
