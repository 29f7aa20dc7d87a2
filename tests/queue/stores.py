"""Where tests keep their queues: a SQLite file in a folder, or a Postgres database that stands for the folder."""

from pathlib import Path
from typing import Any

from isotherm.queue.drivers.postgres import PostgresQueue
from isotherm.queue.drivers.sqlite import SqliteQueue
from isotherm.queue.port import QueueStore
from isotherm.storage.vault import Vault
from tests.databases import Cluster

__all__ = ["Stores"]


class Stores:
    """Queues of one kind; the same folder is the same queue."""

    def __init__(self, cluster: Cluster | None) -> None:
        self.cluster = cluster
        self._databases: dict[Path, str] = {}

    def __call__(self, folder: Path, host: str = "host_first", **options: Any) -> QueueStore:
        vault = Vault(bytes(range(32)))
        if self.cluster is None:
            return SqliteQueue(folder / "queue.db", vault)
        return PostgresQueue(options.pop("url", None) or self.url(folder), vault, host, **options)

    def url(self, folder: Path) -> str:
        assert self.cluster is not None
        return self.cluster.url(self.database(folder))

    def database(self, folder: Path) -> str:
        assert self.cluster is not None
        if folder not in self._databases:
            self._databases[folder] = self.cluster.create()
        return self._databases[folder]

    def content(self, folder: Path) -> bytes:
        """All that is stored in the queue, as bytes."""
        if self.cluster is None:
            return b"".join(path.read_bytes() for path in folder.glob("queue.db*"))
        database = self.database(folder)
        self.cluster.execute("CHECKPOINT", database)
        query = "SELECT pg_read_binary_file(pg_relation_filepath(c.oid)) FROM pg_class c"
        query += " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('isotherm_queue', 'pg_toast')"
        query += " AND c.relkind IN ('r', 'i', 't')"
        return b"".join(bytes(row[0]) for row in self.cluster.execute(query, database))

    def close(self) -> None:
        for name in self._databases.values():
            assert self.cluster is not None
            self.cluster.drop(name)
