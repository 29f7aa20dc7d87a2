"""The desired state on disk: what is there after a restart, a torn write, another key; and what it costs."""

import asyncio
from pathlib import Path

import pytest

from isotherm.base.errors import Unavailable
from isotherm.host.desired import DesiredStore
from isotherm.host.sealed import SealedLog
from isotherm.storage.vault import Vault
from isotherm.wire.desired import Desired, Item, Removed
from tests.host.conftest import key_item, revision_item, route_item


def update(version: int, *items: Item, full: bool = False, removed: list[Removed] | None = None) -> Desired:
    return Desired(epoch="e", version=version, full=full, items=list(items), removed=removed or [])


async def stored(path: Path, vault: Vault, *updates: Desired) -> None:
    store = DesiredStore(path, vault)
    await asyncio.to_thread(store.load)
    for each in updates:
        store.apply(each)
    await store.close()


async def test_state_is_there_again_after_a_restart(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "desired.bin"
    await stored(
        path,
        vault,
        update(1, revision_item(1, env={"A": "topsecret"}), route_item(1), key_item(1), full=True),
        update(2, revision_item(2)),
        update(3, removed=[Removed("revision", "rev_1")]),
    )
    again = DesiredStore(path, vault)
    await asyncio.to_thread(again.load)
    assert (again.epoch, again.version, len(again)) == ("e", 3, 3)
    assert again.revision("rev_1") is None
    assert again.revision("rev_2") == revision_item(2).revision
    assert b"topsecret" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


async def test_a_torn_end_loses_only_itself(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "desired.bin"
    await stored(path, vault, update(1, revision_item(1), full=True), update(2, revision_item(2)))
    whole = path.read_bytes()
    for cut in (1, 7, 60):
        path.write_bytes(whole[:-cut])
        again = DesiredStore(path, vault)
        await asyncio.to_thread(again.load)
        assert again.version == 1
        again.apply(update(2, revision_item(3)))
        await again.close()
        third = DesiredStore(path, vault)
        await asyncio.to_thread(third.load)
        assert (third.version, third.revision_ids()) == (2, {"rev_1", "rev_3"})


def test_records_cannot_be_swapped_or_replayed(tmp_path: Path, vault: Vault) -> None:
    log = SealedLog(tmp_path / "log", vault, "test")
    log.replace([b"one", b"two", b"three"])
    raw = log.path.read_bytes()
    start, size = 24, 4 + 12 + 16 + 3
    first, second = raw[start : start + size], raw[start + size : start + 2 * size]
    log.path.write_bytes(raw[:start] + first + first + raw[start + 2 * size :])
    assert SealedLog(log.path, vault, "test").read() == [b"one"]
    log.path.write_bytes(raw[:start] + second + first)
    with pytest.raises(Unavailable):
        SealedLog(log.path, vault, "test").read()


async def test_another_master_key_is_an_error_not_an_empty_state(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "desired.bin"
    await stored(path, vault, update(1, revision_item(1), full=True))
    with pytest.raises(Unavailable, match="master key"):
        await asyncio.to_thread(DesiredStore(path, Vault(bytes(32))).load)


async def test_a_full_state_removes_what_it_does_not_have(tmp_path: Path, vault: Vault) -> None:
    store = DesiredStore(tmp_path / "desired.bin", vault)
    store.apply(update(1, revision_item(1), route_item(1), full=True))
    change = store.apply(update(9, revision_item(2), full=True))
    assert sorted(change.removed) == [("revision", "rev_1"), ("route", "wl_1")]
    await store.close()


async def test_ten_thousand_functions_are_small_and_a_deploy_costs_what_it_changes(
    tmp_path: Path, vault: Vault
) -> None:
    path = tmp_path / "desired.bin"
    everything = [make(number) for number in range(10_000) for make in (revision_item, route_item)]
    await stored(path, vault, update(1, *everything, full=True))
    assert path.stat().st_size < 12_000_000
    store = DesiredStore(path, vault)
    await asyncio.to_thread(store.load)
    before = path.stat().st_size
    store.apply(update(2, revision_item(10_001), route_item(10_001)))
    await store.close()
    assert path.stat().st_size - before < 2_000


async def test_a_change_that_could_not_be_written_is_made_good_by_the_next(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "there" / "desired.bin"
    away = tmp_path / "away"
    path.parent.mkdir()
    store = DesiredStore(path, vault)
    store.apply(update(1, revision_item(1), full=True))
    await store.settle()
    path.parent.rename(away)
    store.apply(update(2, revision_item(2)))
    await store.settle()
    away.rename(path.parent)
    store.apply(update(3, revision_item(3)))
    await store.close()
    again = DesiredStore(path, vault)
    await asyncio.to_thread(again.load)
    assert (again.version, again.revision_ids()) == (3, {"rev_1", "rev_2", "rev_3"})


async def test_a_long_log_is_written_anew(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "desired.bin"
    store = DesiredStore(path, vault)
    store.apply(update(1, revision_item(1), full=True))
    for version in range(2, 60):
        store.apply(update(version, revision_item(1, env={"big": "x" * 200_000})))
        await asyncio.sleep(0.005)
    await store.close()
    assert path.stat().st_size < 6_000_000
    again = DesiredStore(path, vault)
    await asyncio.to_thread(again.load)
    assert again.version == 59
