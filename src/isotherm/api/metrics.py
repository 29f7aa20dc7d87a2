"""Control's own metrics, in Prometheus' text format. The host's are its own, on the API port."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.responses import Response

from isotherm.api.port import ApiServices

__all__ = ["ControlMetrics"]

_methods = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class _Logins(Collector):
    """Counts of logins, read when they are asked for."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        counts = self._services.logins.counts
        yield CounterMetricFamily("isotherm_logins", "Logins of users", value=counts.logins)
        yield CounterMetricFamily(
            "isotherm_login_failures", "Logins with a wrong name or password", value=counts.failures
        )
        yield CounterMetricFamily(
            "isotherm_login_lockouts", "Failures after which a lock-out began", value=counts.lockouts
        )
        yield CounterMetricFamily("isotherm_login_refused", "Logins that came during a lock-out", value=counts.refused)
        yield CounterMetricFamily(
            "isotherm_refresh_reuses", "Sessions that ended because a refresh token came again", value=counts.reuses
        )


class ControlMetrics:
    def __init__(self, services: ApiServices) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "isotherm_api_requests", "REST calls", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "isotherm_api_request_seconds",
            "Time to answer a REST call; streams count to their end",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        streams = Gauge("isotherm_api_log_streams", "Readers that follow logs", registry=self.registry)
        streams.set_function(lambda: len(services.logs))
        hosts = Gauge("isotherm_hosts_connected", "Hosts that are connected to control", registry=self.registry)
        hosts.set_function(lambda: sum(host.connected for host in services.board.hosts()))
        self.registry.register(_Logins(services))

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        self._calls.labels(route, method if method in _methods else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self) -> Response:
        return Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
