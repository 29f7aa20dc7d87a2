"""The desired state that this host works by: in memory as small bytes, on disk encrypted, changes appended."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import msgspec

from isotherm.host.sealed import SealedLog
from isotherm.storage.vault import Vault
from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import Desired, Item, RevisionSpec, item_id

__all__ = ["Change", "DesiredStore"]

PURPOSE = "host desired state"
ITEMS_PER_RECORD = 1000
COMPACT_BYTES = 4 * 1024 * 1024  # a log smaller than this is never written anew
MAX_PENDING = 10_000

encoder = msgspec.msgpack.Encoder()
item_decoder = msgspec.msgpack.Decoder(Item)
desired_decoder = msgspec.msgpack.Decoder(Desired)


class Change(msgspec.Struct, frozen=True):
    """What an update means for this host: items to put, and `(kind, id)` that are gone."""

    full: bool
    items: list[Item]
    removed: list[tuple[str, str]]


class DesiredStore:
    """Holds every item encoded (a few hundred bytes); decodes what is asked for."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self.epoch: str | None = None
        self.version = 0
        self.format = 0  # that of the snapshot that it began with
        self._items: dict[tuple[str, str], bytes] = {}
        self._log = SealedLog(path, vault, PURPOSE)
        self._base_bytes = 0  # of the state when the log was last written anew
        self._log_bytes = 0  # of the log once all that is pending is written
        self._gap = False  # a change is not in the log: the next write is of everything
        self._broken = False  # the same, for the writer's own thread
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="desired")
        self._pending = 0
        self._logger = get_logger("host")

    def load(self) -> None:
        """Read what is on disk. Blocks; before anything is served. Raises `Unavailable` under another master key."""
        for record in self._log.read():
            self._take(desired_decoder.decode(record))
        self._base_bytes = self._log_bytes = self._log.size_bytes

    def items(self) -> Iterator[Item]:
        """All items, decoded one by one."""
        for encoded in list(self._items.values()):
            yield item_decoder.decode(encoded)

    def revision(self, revision_id: str) -> RevisionSpec | None:
        encoded = self._items.get(("revision", revision_id))
        return None if encoded is None else item_decoder.decode(encoded).revision

    def revision_ids(self) -> set[str]:
        return {key for kind, key in self._items if kind == "revision"}

    def __len__(self) -> int:
        return len(self._items)

    def apply(self, desired: Desired) -> Change:
        """Take an update, and begin to write it to disk."""
        change = self._take(desired)
        if self._pending >= MAX_PENDING:
            self._gap = True
            return change
        self._pending += 1
        loop = asyncio.get_running_loop()
        record = b"" if desired.full else encoder.encode(desired)
        self._log_bytes += len(record)
        if desired.full or self._gap or self._log_bytes > max(COMPACT_BYTES, 2 * self._base_bytes):
            items = list(self._items.items())
            self._log_bytes = self._base_bytes = sum(len(encoded) for _, encoded in items)
            self._gap = False
            writing = loop.run_in_executor(self._writer, self._compact, items, self.epoch, self.version, self.format)
        else:
            writing = loop.run_in_executor(self._writer, self._append, record)
        writing.add_done_callback(self._written)
        return change

    async def settle(self) -> None:
        """Wait until all that was taken so far is on disk, or has failed to get there."""
        await asyncio.get_running_loop().run_in_executor(self._writer, lambda: None)

    async def close(self) -> None:
        """Finish what is being written."""
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._writer.shutdown(wait=True))

    def _written(self, done: "asyncio.Future[None]") -> None:
        self._pending -= 1
        problem = None if done.cancelled() else done.exception()
        if problem is not None:
            self._gap = True
            self._logger.error("the desired state cannot be written", path=str(self._log.path), problem=str(problem))

    def _take(self, desired: Desired) -> Change:
        removed: list[tuple[str, str]] = [(gone.kind, gone.id) for gone in desired.removed]
        if desired.full or self.epoch is None:
            self.format = desired.format
        if desired.full:
            kept = {item_id(item) for item in desired.items}
            removed += [key for key in self._items if key not in kept]
        for key in removed:
            self._items.pop(key, None)
        for item in desired.items:
            self._items[item_id(item)] = encoder.encode(item)
        self.epoch, self.version = desired.epoch, desired.version
        return Change(desired.full, desired.items, removed)

    def _append(self, record: bytes) -> None:
        if self._broken:
            return  # behind a change that is missing nothing may follow
        try:
            self._log.append(record)
        except BaseException:
            self._broken = True
            raise

    def _compact(
        self, items: list[tuple[tuple[str, str], bytes]], epoch: str | None, version: int, written_as: int
    ) -> None:
        self._log.replace(_records(items, epoch or "", version, written_as))
        self._broken = False


def _records(items: list[tuple[tuple[str, str], bytes]], epoch: str, version: int, written_as: int) -> Iterator[bytes]:
    """The whole state as updates: the first says that it is full, the rest add to it."""
    rest = iter(items)
    first = True
    while True:
        part = [item_decoder.decode(encoded) for _, encoded in islice(rest, ITEMS_PER_RECORD)]
        if not part and not first:
            return
        yield encoder.encode(Desired(epoch=epoch, version=version, full=first, items=part, format=written_as))
        first = False
