"""`import isotherm.client` is light: what it loads, and what that takes."""

import subprocess
import sys

from tests.cli.test_commands import cpu_s

SERVER = (
    "alembic", "cryptography", "eventsourcing", "fastapi", "obstore", "pydantic", "sqlalchemy", "starlette",
    "structlog", "uvicorn", "uvloop",
)  # fmt: skip
ROOMS = (
    "api", "bus", "cli", "controllers", "db", "egress", "events", "functions", "gateway", "host", "invocations",
    "maintenance", "pool", "queue", "records", "sandbox", "storage", "tenancy", "warden", "workloads",
)  # fmt: skip


def test_nothing_of_the_server_is_loaded() -> None:
    program = "import sys, isotherm.client\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    loaded = set(done.stdout.split())
    assert loaded & set(SERVER) == set()
    assert loaded & {f"isotherm.{room}" for room in ROOMS} == set()


def test_it_takes_little_more_than_the_http_library() -> None:
    """CPU time beside that of the libraries it stands on: the machine may be busy, or slow today."""
    took_s, libraries_s = [], []
    for _ in range(3):
        took_s.append(cpu_s("import isotherm.client"))
        libraries_s.append(cpu_s("import httpx, msgspec, asyncio"))
    assert min(took_s) < 1.7 * min(libraries_s)
