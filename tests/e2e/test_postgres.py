"""The whole life of a platform on Postgres, and Postgres stopped and started again under load."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.databases import Cluster, postgres_programs
from tests.e2e.conftest import Platform, wait_until
from tests.e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
Start = Callable[..., Platform]
ECHO = "def handler(event, context):\n    return 'VERSION'\n"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One of the test's own, because it is stopped."""
    programs = postgres_programs()
    require(programs is not None, "needs Postgres; Debian's package is postgresql")
    assert programs is not None
    made = Cluster(programs)
    yield made
    made.remove()


def test_a_platform_lives_on_postgres(start: Start, cluster: Cluster) -> None:
    url = cluster.url(cluster.create()).replace("postgresql:", "postgres:")
    first = start("--database", url)
    first.function("echo", ECHO)
    assert first.invoke("echo").json() == "VERSION"
    assert not list((first.folder / "data").glob("*.db")), "all that is SQL is in Postgres"
    assert first.stop() == 0

    second = start("--database", url)
    assert second.ready["admin_key"] == first.ready["admin_key"]
    assert second.invoke("echo").json() == "VERSION"
    with Load(second, "echo") as load:
        load.wait_for_more(20)
        former = second.kill("control")
        wait_until(lambda: second.pid("control") != former, "a new control process")
        second.function("after", ECHO)
        load.wait_for_more(20)
    assert load.failures == []
    verified = second.cli("audit", "verify", "--json")
    assert (verified.code, verified.json["ok"]) == (0, True)
    checked = second.cli("audit", "rebuild", "--check", "--data", str(second.folder / "data"), "--database", url)
    assert checked.code == 0, checked.out + checked.err
    assert "are what the log says" in checked.out


def test_postgres_may_stop_and_start_again_under_load(start: Start, cluster: Cluster) -> None:
    up = start("--database", cluster.url(cluster.create()))
    up.function("echo", ECHO)
    with Load(up, "echo") as load:
        load.wait_for_more(20)
        cluster.stop()
        load.wait_for_more(50)
        with up.http() as http:
            refused = http.post("/api/v1/namespaces", json={"name": "team"})
        assert refused.status_code == 503, refused.text
        assert "Postgres does not answer" in refused.json()["detail"] or "is stopping" in refused.json()["detail"]
        cluster.start()

        def made() -> bool:
            with up.http() as http:
                return http.post("/api/v1/namespaces", json={"name": "team"}).status_code == 201

        wait_until(made, "a command after Postgres came back", 30)
        load.wait_for_more(20)
    assert load.failures == [], "calls need no database"
    up.function("echo", ECHO.replace("VERSION", "v2"))
    assert up.invoke("echo").json() == "v2"
    assert up.cli("audit", "verify").code == 0
    # What was measured meanwhile was kept on the host and is shipped now.
    wait_until(lambda: up.cli("logs", "echo", "--json").code == 0, "records again")


def test_a_second_platform_on_the_same_postgres_is_refused(start: Start, cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.url(cluster.create())
    first = start("--database", url)
    argv = [sys.executable, "-m", "isotherm", "up", "--data", str(first.folder / "other"), "--database", url]
    argv += ["--port", "0", "--content-port", "0"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False, env=first.environment)
    assert ran.returncode != 0
    assert "another isotherm writes to the Postgres database" in ran.stderr
    assert first.cli("status", "--json").code == 0


def test_a_database_that_cannot_be_used_ends_the_start_with_words(start: Start, data_dir: Path) -> None:
    argv = [sys.executable, "-m", "isotherm", "up", "--data", str(data_dir / "data"), "--port", "0"]
    argv += ["--content-port", "0", "--database"]
    for url, words in (
        ("mysql://u:s3cr3t@h/db", "mysql is not supported: SQLite and Postgres are"),
        ("postgres://u:s3cr3t@127.0.0.1:1/db", "Postgres does not answer: start it"),
    ):
        ran = subprocess.run([*argv, url], capture_output=True, text=True, timeout=90, check=False)
        assert ran.returncode != 0
        assert words in ran.stderr
        assert "s3cr3t" not in ran.stderr


def test_state_moves_from_sqlite_to_postgres(start: Start, cluster: Cluster, data_dir: Path) -> None:
    old = start()
    old.function("echo", ECHO, env={"TOKEN": "s3cr3t"})
    assert old.invoke("echo").json() == "VERSION"
    archive = data_dir / "all.zip"
    made = old.cli("export", str(archive), "--data", str(data_dir / "data"), "--with-keys", "--json")
    assert made.code == 0, made.out + made.err
    assert archive.stat().st_mode & 0o777 == 0o600
    running = old.cli("import", str(archive), "--data", str(data_dir / "data"))
    assert running.code == 73
    assert f"pid {old.process.pid}" in running.err
    assert old.stop() == 0
    (data_dir / "data").rename(data_dir / "former")

    url = cluster.url(cluster.create())
    read = old.cli("import", str(archive), "--data", str(data_dir / "data"), "--database", url, "--json")
    assert read.code == 0, read.out + read.err
    assert read.json["log_is_whole"]
    again = old.cli("import", str(archive), "--data", str(data_dir / "data"), "--database", url)
    assert (again.code, "not empty" in again.err) == (73, True)
    new = start("--database", url)
    assert new.ready["admin_key"] == old.ready["admin_key"]
    assert new.invoke("echo").json() == "VERSION"
    assert new.cli("audit", "verify", "--expect", made.json["head"]).code == 0
    assert new.stop(signal.SIGTERM) == 0
