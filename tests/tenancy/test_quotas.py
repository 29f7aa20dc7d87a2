"""Quotas: set by the platform's admins alone, seen by who may look, told to hosts, ended with their namespace."""

from pathlib import Path

import pytest

from isotherm.base.errors import Forbidden, Invalid, NotFound, PreconditionFailed
from isotherm.tenancy.quotas import Quotas
from isotherm.wire.quota import Quota, QuotaSpec
from tests.databases import Databases
from tests.house import House, house, open_house

__all__ = ["house"]


def told(house: House) -> list[QuotaSpec]:
    return [item.quota for item in house.feed.full().items if item.quota is not None]


def test_a_quota_is_kept_told_to_hosts_and_on_record(house: House) -> None:
    before = house.feed.version()
    made = house.quotas.set(house.admin, "default", Quota(instances=5, log_mb=16))
    assert house.quotas.get(house.admin, "default") == made
    assert made.own == made.limits == Quota(instances=5, log_mb=16)
    delta = house.feed.desired(house.feed.epoch, before)
    assert [item.quota for item in delta.items] == told(house) == [QuotaSpec(namespace="default", quota=made.own)]
    entry = house.log.entries(limit=1).items[0]
    assert (entry.kind, entry.principal_id) == ("namespace.quota_set", house.admin.id)
    assert entry.data["quota"]["instances"] == 5
    assert house.quotas.log_limits() == ({"default": 16 << 20}, None)


def test_the_same_again_changes_nothing(house: House) -> None:
    first = house.quotas.set(house.admin, "default", Quota(instances=5))
    version, kinds = house.feed.version(), house.kinds()
    assert house.quotas.set(house.admin, "default", Quota(instances=5)) == first
    assert (house.feed.version(), house.kinds()) == (version, kinds)


def test_where_nothing_was_said_the_default_holds(house: House) -> None:
    quotas = Quotas(log=house.log, tenancy=house.tenancy, default=Quota(memory_mb=512, rate_per_s=10.0, log_mb=3))
    found = quotas.get(house.admin, "default")
    assert (found.own, found.limits) == (Quota(), Quota(memory_mb=512, rate_per_s=10.0, log_mb=3))
    found = quotas.set(house.admin, "default", Quota(memory_mb=64))
    assert found.limits == Quota(memory_mb=64, rate_per_s=10.0, log_mb=3)
    with house.database.read() as session:
        assert quotas.limits(session, "default") == found.limits
    assert quotas.log_limits() == ({}, 3 << 20)
    assert quotas.set(house.admin, "default", Quota()).limits.memory_mb == 512


def test_a_tenant_sees_its_quota_and_cannot_raise_it(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    owner = house.principal("admin")
    with pytest.raises(Forbidden, match=r"on the platform: quotas\.set"):
        house.quotas.set(owner, "default", Quota())
    with pytest.raises(NotFound, match="no namespace 'team'"):
        house.quotas.set(owner, "team", Quota())
    assert house.quotas.get(house.principal("viewer"), "default").own == Quota()
    with pytest.raises(Forbidden):
        house.quotas.get(house.principal("invoker"), "default")
    with pytest.raises(NotFound):
        house.quotas.get(owner, "team")
    assert [each.namespace for each in house.quotas.page(owner).items] == ["default"]
    assert [each.namespace for each in house.quotas.page(house.admin).items] == ["default", "team"]
    assert house.quotas.page(house.principal("invoker")).items == []


def test_of_changes_made_from_the_same_reading_one_wins(house: House) -> None:
    stale = house.quotas.get(house.admin, "default").etag
    fresh = house.quotas.set(house.admin, "default", Quota(instances=1), if_match=stale).etag
    with pytest.raises(PreconditionFailed):
        house.quotas.set(house.admin, "default", Quota(instances=2), if_match=stale)
    house.quotas.set(house.admin, "default", Quota(instances=2), if_match=fresh)
    assert house.quotas.get(house.admin, "default").own.instances == 2


def test_a_burst_needs_a_rate_and_a_quota_its_namespace(house: House) -> None:
    with pytest.raises(Invalid, match="burst is set without rate_per_s"):
        house.quotas.set(house.admin, "default", Quota(burst=3))
    with pytest.raises(NotFound):
        house.quotas.set(house.admin, "nowhere", Quota(instances=3))


def test_a_quota_ends_with_its_namespace(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    house.quotas.set(house.admin, "team", Quota(instances=1))
    before = house.feed.version()
    house.tenancy.delete_namespace(house.admin, "team")
    removed = house.feed.desired(house.feed.epoch, before).removed
    assert [(gone.kind, gone.id) for gone in removed] == [("quota", "team")]
    house.tenancy.create_namespace(house.admin, "team")
    assert house.quotas.get(house.admin, "team").own == Quota()
    assert told(house) == []


def test_a_quota_outlives_a_restart(tmp_path: Path, house: House, databases: Databases) -> None:
    house.quotas.set(house.admin, "default", Quota(rate_per_s=3.5, burst=9))
    house.database.close()
    again = open_house(tmp_path, databases)
    assert again.quotas.get(again.admin, "default").own == Quota(rate_per_s=3.5, burst=9)
    again.database.close()
