"""Keys: scopes narrow their role, rotation overlaps, and when they were used."""

from dataclasses import replace

import pytest

from isotherm.base.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from isotherm.tenancy.model import Permission, Principal
from isotherm.tenancy.policy import PERMISSIONS, SCOPES, covers
from isotherm.wire.scopes import WORDS, parse_scopes
from tests.house import House, house

__all__ = ["house"]


def holder(house: House, *scopes: str, role: str = "developer") -> Principal:
    made = house.tenancy.create_key(house.admin, "default", name="k", role=role, scopes=list(scopes))  # type: ignore[arg-type]  # a role
    return house.tenancy.authenticate(made.token)


def test_a_scoped_key_reaches_what_its_scopes_say_of_what_its_role_may(house: House) -> None:
    key = holder(house, "read:img-*", "invoke:hello")
    house.tenancy.require(key, "functions.read", "default", "img-1")
    house.tenancy.require(key, "functions.invoke", "default", "hello")
    house.tenancy.require(key, "namespaces.read", "default")
    wrong: list[tuple[Permission, str | None]] = [
        ("functions.read", "hello"),
        ("functions.read", None),
        ("functions.invoke", "img-1"),
        ("functions.deploy", "img-1"),
        ("functions.read_env", "img-1"),
        ("quotas.read", None),
    ]
    for permission, function in wrong:
        with pytest.raises(Forbidden, match="scopes do not reach"):
            house.tenancy.require(key, permission, "default", function)


def test_a_scope_gives_nothing_beyond_the_role(house: House) -> None:
    key = holder(house, "read", "invoke", role="invoker")
    with pytest.raises(Forbidden):
        house.tenancy.require(key, "functions.read", "default", "hello")
    with pytest.raises(NotFound):
        house.tenancy.require(key, "functions.read", "other", "hello")


def test_a_scope_that_the_role_gives_nothing_of_is_refused(house: House) -> None:
    with pytest.raises(Invalid, match="role invoker does not do what the scope deploy"):
        holder(house, "deploy", role="invoker")
    for word in ("deploy", "queue", "secrets"):  # a viewer sees something of each, which is not what they are for
        with pytest.raises(Invalid, match=f"role viewer does not do what the scope {word}"):
            holder(house, word, role="viewer")


def test_no_scope_makes_a_key_that_can_make_keys_or_members() -> None:
    everything = parse_scopes(list(WORDS))
    for permission in PERMISSIONS["admin"]:
        if permission.split(".")[0] in ("keys", "members", "users") or permission in (
            "namespaces.create", "namespaces.delete", "quotas.set", "functions.read_env", "invocations.read_event",
        ):  # fmt: skip
            assert not covers(everything, permission, "hello"), permission
        else:
            assert covers(everything, permission, None), permission


def test_read_reads_and_changes_nothing() -> None:
    assert {permission.split(".")[1] for permission in SCOPES["read"]} == {"read"}


def test_scopes_are_told_to_hosts_and_kept_in_the_log(house: House) -> None:
    made = house.tenancy.create_key(
        house.admin, "default", name="k", role="developer", scopes=["read", "invoke:a*"], description="for ci"
    )
    (spec,) = [item.key for item in house.feed.full().items if item.key is not None and item.key.id == made.key.id]
    assert spec.scopes == ["read", "invoke:a*"]
    shown = house.tenancy.key(house.admin, "default", made.key.id)
    assert (shown.scopes, shown.description, shown.last_used_at_ms) == (["read", "invoke:a*"], "for ci", None)
    narrowed = [event.data for event in house.log.entries(limit=5).items if event.kind == "key.narrowed"]
    assert narrowed == [{"scopes": ["read", "invoke:a*"]}]


def test_a_rotated_key_and_its_successor_are_both_good_for_a_while(house: House) -> None:
    former = house.tenancy.create_key(house.admin, "default", name="ci", role="developer", scopes=["read"])
    fresh = house.tenancy.rotate_key(house.admin, "default", former.key.id, overlap_s=60)
    assert fresh.key.id != former.key.id
    assert (fresh.key.principal_id, fresh.key.role, fresh.key.scopes, fresh.key.name) == (
        former.key.principal_id, "developer", ["read"], "ci",
    )  # fmt: skip
    one, other = (house.tenancy.authenticate(each.token) for each in (former, fresh))
    assert (one.key, other.key) == (former.key.id, fresh.key.id)
    assert replace(one, key=other.key) == other
    house.clock.advance(61)
    with pytest.raises(Unauthenticated, match="expired"):
        house.tenancy.authenticate(former.token)
    house.tenancy.authenticate(fresh.token)
    with pytest.raises(Conflict, match="has expired"):
        house.tenancy.rotate_key(house.admin, "default", former.key.id, overlap_s=60)


def test_the_overlap_makes_no_key_last_longer_and_the_successor_lasts_as_long(house: House) -> None:
    hour_ms = 3_600_000
    former = house.tenancy.create_key(
        house.admin, "default", name="ci", role="viewer", expires_at_ms=house.clock.time_ms() + hour_ms
    )
    house.clock.advance(1800)
    fresh = house.tenancy.rotate_key(house.admin, "default", former.key.id, overlap_s=86_400)
    assert house.tenancy.key(house.admin, "default", former.key.id).expires_at_ms == former.key.expires_at_ms
    assert fresh.key.expires_at_ms == house.clock.time_ms() + hour_ms


def test_who_may_rotate(house: House) -> None:
    key = house.tenancy.create_key(house.admin, "default", name="ci", role="admin", scopes=["read"])
    narrowed = house.tenancy.authenticate(key.token)
    for principal in (house.principal("developer"), narrowed):
        with pytest.raises(Forbidden):
            house.tenancy.rotate_key(principal, "default", key.key.id, overlap_s=0)
    bootstrap = house.tenancy.bootstrap_admin()
    with pytest.raises(Conflict, match="bootstrap"):
        house.tenancy.rotate_key(house.admin, "*", bootstrap.key.id, overlap_s=0)
    for overlap_s in (-1, 31 * 86_400):
        with pytest.raises(Invalid):
            house.tenancy.rotate_key(house.admin, "default", key.key.id, overlap_s=overlap_s)


def test_when_a_key_was_last_used_is_known_to_the_minute_and_never_runs_back(house: House) -> None:
    made = house.tenancy.create_key(house.admin, "default", name="k", role="viewer")

    def used() -> int | None:
        house.tenancy.flush_uses()
        return house.tenancy.key(house.admin, "default", made.key.id).last_used_at_ms

    assert used() is None
    house.tenancy.authenticate(made.token)
    now_ms = house.clock.time_ms()
    assert used() == now_ms - now_ms % 60_000
    house.tenancy.key_used(made.key.id, 60_000)
    house.tenancy.key_used("key_gone", now_ms)
    assert used() == now_ms - now_ms % 60_000
    house.tenancy.key_used(made.key.id, now_ms + 60_000)
    assert used() == now_ms - now_ms % 60_000 + 60_000
