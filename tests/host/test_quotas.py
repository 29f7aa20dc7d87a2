"""A host holds to quotas on its own: as pushed, after a restart without control, and says what is used."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isotherm.storage.vault import Vault
from isotherm.wire.desired import Desired, Item, Removed
from isotherm.wire.link import State
from isotherm.wire.quota import Quota, QuotaSpec
from isotherm.wire.telemetry import NamespaceUse
from tests.host.control import Rig

LOUD = "def handler(event, context):\n    print('x' * 2000)\n    return 1\n"


@pytest.fixture
async def rig(tmp_path: Path, vault: Vault) -> AsyncIterator[Rig]:
    found = Rig(tmp_path, vault, quota_instances=50)
    await found.control.start()
    await found.start()
    await found.control.until(lambda: found.control.hellos, "a hello")
    yield found
    await found.stop()
    await found.control.stop()


def quota_item(namespace: str = "default", **limits: float) -> Item:
    return Item(quota=QuotaSpec(namespace=namespace, quota=Quota(**limits)))  # type: ignore[arg-type]  # by name


async def statuses(rig: Rig, count: int) -> list[int]:
    return [(await rig.get("/f"))[0] for _ in range(count)]


async def test_a_quota_holds_also_after_a_restart_without_control_and_ends_when_it_is_lifted(rig: Rig) -> None:
    rig.serve(rig.revision())
    await rig.control.until(lambda: rig.service.store.version == 1, "the state")
    rig.push(quota_item(rate_per_s=0.001, burst=2))
    await rig.control.order("states", order_id="o1")
    assert await statuses(rig, 3) == [200, 200, 429]
    await rig.control.stop()
    await rig.stop()
    await rig.start()
    assert await statuses(rig, 3) == [200, 200, 429]
    await rig.control.start()
    await rig.control.until(lambda: len(rig.control.hellos) >= 2, "a second hello")
    lifted = Desired(epoch="e", version=9, full=False, removed=[Removed("quota", "default")])
    rig.control.send(State(lifted))
    await rig.control.order("states", order_id="o2")
    assert await statuses(rig, 5) == [200] * 5


async def test_control_is_told_what_a_namespace_uses_and_what_was_refused(rig: Rig) -> None:
    def last() -> NamespaceUse | None:
        told = [use for batch in rig.control.batches for use in batch.uses or () if use.namespace == "default"]
        return told[-1] if told else None

    rig.push(quota_item(rate_per_s=0.001, burst=1))
    rig.serve(rig.revision(memory_mb=100))
    await rig.control.order("states", order_id="o1")
    assert await statuses(rig, 3) == [200, 429, 429]
    await rig.service.uses.measure()
    await rig.control.until(
        lambda: (use := last()) is not None and use.instances and use.refused and use.disk_bytes, "the uses"
    )
    found = last()
    assert found is not None
    assert found.memory_mb == 100 * found.instances
    assert found.refused == {"rate_per_s": 2}
    assert rig.service.pool.tenants.of("default").quota.instances == 50, "the default of the settings"


async def test_log_lines_over_the_quota_are_dropped_before_the_spool_and_a_line_says_so(rig: Rig) -> None:
    rig.push(quota_item(log_kb_per_s=1.0))
    rig.serve(rig.revision(LOUD))
    await rig.control.order("states", order_id="o1")
    rig.service.recorder.allowance._namespaces["default"][0]._tokens = 5_000.0  # type: ignore[index]  # of a burst
    await asyncio.gather(*(rig.get("/f") for _ in range(10)))

    def lines(stream: str) -> list[str]:
        return [line.message for batch in rig.control.batches for line in batch.logs if line.stream == stream]

    def dropped() -> int:
        return sum(batch.dropped.get("logs", 0) for batch in rig.control.batches)

    await rig.control.until(lambda: lines("platform") and dropped() >= 5, "the line that says so, and the count")
    assert "log lines (" in lines("platform")[0]
    assert "the namespace default has a quota of 1 KB of log a second" in lines("platform")[0]
    assert 1 <= len(lines("log")) < 10
