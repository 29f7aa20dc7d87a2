"""Where this host's queue is: in a file of its own, or in a Postgres that it shares."""

from pathlib import Path

from isotherm.base.settings import Settings
from isotherm.queue.port import QueueStore
from isotherm.storage.postgres import queue_url
from isotherm.storage.vault import Vault

__all__ = ["queue_store"]


def queue_store(settings: Settings, folder: Path, vault: Vault, host_id: str) -> QueueStore:
    """As the settings say; nothing is opened yet. Raises `Invalid` (a URL that is none, a driver that is missing)."""
    url = queue_url(settings)
    if url is None:
        from isotherm.queue.drivers.sqlite import SqliteQueue

        return SqliteQueue(folder / "queue.db", vault)
    from isotherm.queue.drivers.postgres import PostgresQueue

    return PostgresQueue(url, vault, host_id)
