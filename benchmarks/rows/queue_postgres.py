"""Asynchronous calls with the queue in a Postgres on the same machine: what `queue` measures, and the server's CPU."""

from benchmarks.machine import cpu_seconds, descendants
from benchmarks.rows.queue import Found, figures, measured
from benchmarks.session import Outcome, Session
from tests.databases import Cluster, postgres_programs

__all__ = ["measure"]


def measure(session: Session) -> Outcome:
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("needs Postgres; Debian's package is postgresql")
    cluster = Cluster(programs, durable=True)
    found: Found = {}
    try:
        settings = measured(session, found, "--queue-database", cluster.url(cluster.create()))
        calls = cluster.execute("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'calls'", "test_0")[0][0]
        server_s = sum(cpu_seconds(pid, ended=True) for pid in descendants(cluster.pid))
    finally:
        cluster.remove()
    return Outcome(
        settings=settings | {"postgres": programs.parent.name, "synchronous_commit": "on", "fsync": "on"},
        checks=[],
        figures=figures(found),
        measurements=dict(found) | {"postgres_cpu_us": [round(server_s / calls * 1e6, 3)]},
        notes=[
            "accepted: answered 202, which is after the COMMIT; the server has the same two cores and the same disk",
            f"the server took {server_s / calls * 1e6:.0f} µs of CPU a call, from its acceptance to its sweep or purge",
            "a commit alone: one row in SQLite, WAL, synchronous=FULL, one at a time, on the same disk",
        ],
    )
