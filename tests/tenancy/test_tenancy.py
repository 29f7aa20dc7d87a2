"""Namespaces and keys: made, used, revoked; who may, and what stays on record."""

import threading
from pathlib import Path

import pytest

from isotherm.base.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from isotherm.base.ids import token_digest
from isotherm.storage.vault import Vault
from isotherm.tenancy.model import SYSTEM, NewKey
from isotherm.tenancy.service import Tenancy
from isotherm.wire.desired import KeySpec
from tests.databases import Databases
from tests.house import House, house, open_house

__all__ = ["house"]


def specs(house: House) -> dict[str, KeySpec]:
    return {item.key.id: item.key for item in house.feed.full().items if item.key is not None}


def make_key(house: House, expires_at_ms: int | None = None) -> NewKey:
    return house.tenancy.create_key(house.admin, "default", name="ci", role="viewer", expires_at_ms=expires_at_ms)


def test_the_first_start_makes_an_admin_and_the_default_namespace_and_each_later_start_shows_the_same(
    tmp_path: Path, databases: Databases
) -> None:
    first = open_house(tmp_path, databases).tenancy.bootstrap_admin()
    again = open_house(tmp_path, databases)
    assert again.tenancy.bootstrap_admin() == first
    assert again.tenancy.allows(again.admin, "namespaces.create")
    assert [namespace.name for namespace in again.tenancy.namespaces(again.admin).items] == ["default"]
    assert again.kinds() == ["namespace.created", "key.created"]


def test_another_master_key_is_told_apart_from_a_lost_admin(house: House) -> None:
    other = Tenancy(log=house.log, denials=house.denials, vault=Vault(bytes(32)), clock=house.clock)
    with pytest.raises(Unavailable, match="master key"):
        other.bootstrap_admin()


def test_a_token_is_stored_nowhere_in_clear(house: House) -> None:
    made = make_key(house)
    stored = house.stored()
    assert made.token.encode() not in stored
    assert made.secret_access_key.encode() not in stored
    assert token_digest(made.token).encode() in stored


def test_a_key_lets_its_principal_in_with_its_role(house: House) -> None:
    made = make_key(house)
    principal = house.tenancy.authenticate(made.token)
    assert principal.id == made.key.principal_id
    house.tenancy.require(principal, "functions.read", "default")
    with pytest.raises(Forbidden, match=r"functions\.deploy takes the role admin or developer"):
        house.tenancy.require(principal, "functions.deploy", "default")


@pytest.mark.parametrize("token", ["", "iso_unknown", "x" * 10_000])
def test_an_unknown_token_is_refused_and_on_record(house: House, token: str) -> None:
    with pytest.raises(Unauthenticated):
        house.tenancy.authenticate(token)
    assert house.kinds()[-1] == "access.denied"


def test_an_expired_key_is_refused(house: House) -> None:
    made = make_key(house, expires_at_ms=house.clock.time_ms() + 1000)
    house.tenancy.authenticate(made.token)
    house.clock.advance(1)
    with pytest.raises(Unauthenticated, match="expired"):
        house.tenancy.authenticate(made.token)


def test_a_revoked_key_is_refused_at_once_and_hosts_hear_of_it(house: House) -> None:
    made = make_key(house)
    assert specs(house)[made.key.id].digest == token_digest(made.token)
    before = house.feed.version()
    house.tenancy.revoke_key(house.admin, "default", made.key.id)
    with pytest.raises(Unauthenticated):
        house.tenancy.authenticate(made.token)
    delta = house.feed.desired(house.feed.epoch, before)
    assert [(gone.kind, gone.id) for gone in delta.removed] == [("key", made.key.id)]
    with pytest.raises(NotFound):
        house.tenancy.revoke_key(house.admin, "default", made.key.id)
    assert house.kinds().count("key.revoked") == 1


def test_the_bootstrap_admin_cannot_lock_everybody_out(house: House) -> None:
    admin = house.tenancy.bootstrap_admin().key
    with pytest.raises(Conflict, match="no admin"):
        house.tenancy.revoke_key(house.admin, "*", admin.id)


def test_a_key_tells_hosts_its_home_grants_and_expiry(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    expires = house.clock.time_ms() + 5000
    made = house.tenancy.create_key(house.admin, "team", name="ci", role="invoker", expires_at_ms=expires)
    spec = specs(house)[made.key.id]
    assert [(grant.namespace, grant.role) for grant in spec.grants] == [("team", "invoker")]
    assert (spec.home_namespace, spec.expires_at_ms, spec.principal_id) == ("team", expires, made.key.principal_id)


def test_keys_are_of_their_namespace_alone(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    made = make_key(house)
    assert [key.id for key in house.tenancy.keys(house.admin, "default").items] == [made.key.id]
    assert house.tenancy.keys(house.admin, "team").items == []
    for verb in (house.tenancy.key, house.tenancy.revoke_key):
        with pytest.raises(NotFound):
            verb(house.admin, "team", made.key.id)
    assert house.tenancy.key(house.admin, "default", made.key.id) == made.key


def test_lists_go_on_from_page_to_page(house: House) -> None:
    made = sorted(make_key(house).key.id for _ in range(7))
    names = ["default", *(f"team-{number}" for number in range(5))]
    for name in names[1:]:
        house.tenancy.create_namespace(house.admin, name)
    seen: list[str] = []
    cursor = None
    while True:
        page = house.tenancy.keys(house.admin, "default", limit=3, cursor=cursor)
        seen += [key.id for key in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made
    first = house.tenancy.namespaces(house.admin, limit=4)
    rest = house.tenancy.namespaces(house.admin, limit=4, cursor=first.next_cursor)
    assert [namespace.name for namespace in first.items + rest.items] == names
    assert rest.next_cursor is None


def test_a_foreign_namespace_answers_as_one_that_does_not_exist(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "secret")
    stranger = house.principal("admin", "default")
    answers = []
    for name in ("secret", "missing"):
        with pytest.raises(NotFound) as caught:
            house.tenancy.namespace(stranger, name)
        answers.append(caught.value.message.replace(name, "NAME"))
        for verb in (house.tenancy.keys, house.tenancy.delete_namespace):
            with pytest.raises(NotFound) as caught:
                verb(stranger, name)
            answers.append(caught.value.message.replace(name, "NAME"))
    assert len(set(answers)) == 1
    assert [namespace.name for namespace in house.tenancy.namespaces(stranger).items] == ["default"]


def test_only_an_admin_of_everywhere_makes_keys_for_everywhere_or_namespaces(house: House) -> None:
    local = house.principal("admin", "default")
    with pytest.raises(Forbidden):
        house.tenancy.create_key(local, "*", name="more", role="viewer")
    with pytest.raises(Forbidden):
        house.tenancy.create_namespace(local, "more")
    with pytest.raises(Forbidden):
        house.tenancy.keys(local, "*")
    assert house.tenancy.create_key(house.admin, "*", name="more", role="viewer").key.namespace == "*"


def test_an_empty_namespace_is_deleted_with_its_keys(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    made = house.tenancy.create_key(house.admin, "team", name="ci", role="developer")
    house.tenancy.delete_namespace(house.admin, "team")
    with pytest.raises(Unauthenticated):
        house.tenancy.authenticate(made.token)
    with pytest.raises(NotFound):
        house.tenancy.namespace(house.admin, "team")
    assert made.key.id not in specs(house)
    house.tenancy.create_namespace(house.admin, "team")
    assert house.tenancy.keys(house.admin, "team").items == []


def test_a_namespace_with_functions_is_not_deleted(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    house.deploy("hello", "team")
    made = house.tenancy.create_key(house.admin, "team", name="ci", role="developer")
    with pytest.raises(Conflict, match="not empty"):
        house.tenancy.delete_namespace(house.admin, "team")
    house.tenancy.authenticate(made.token)
    house.functions.delete(house.admin, "team", "hello")
    house.tenancy.delete_namespace(house.admin, "team")


def test_the_default_namespace_stays(house: House) -> None:
    with pytest.raises(Conflict):
        house.tenancy.delete_namespace(house.admin, "default")


@pytest.mark.parametrize("name", ["", "Team", "-a", "a-", "a_b", "a" * 64, "1a", "*", "a/b", "default\n"])
def test_bad_names_of_namespaces_are_refused(house: House, name: str) -> None:
    with pytest.raises(Invalid, match="lower-case"):
        house.tenancy.create_namespace(house.admin, name)


def test_a_namespace_is_made_once(house: House) -> None:
    with pytest.raises(Conflict, match="exists"):
        house.tenancy.create_namespace(house.admin, "default")


def test_bad_keys_are_refused(house: House) -> None:
    with pytest.raises(Invalid, match="past"):
        make_key(house, expires_at_ms=house.clock.time_ms())
    for name in ("", "x" * 101, "two\nlines"):
        with pytest.raises(Invalid, match="printable"):
            house.tenancy.create_key(house.admin, "default", name=name, role="viewer")
    with pytest.raises(NotFound):
        house.tenancy.create_key(house.admin, "missing", name="ci", role="viewer")


def test_events_hold_no_names_of_keys_and_no_secrets(house: House) -> None:
    made = house.tenancy.create_key(house.admin, "default", name="Ada Lovelace", role="viewer")
    told = str(house.log.entries(limit=1000).items)
    for secret in ("Ada", made.token, made.secret_access_key, token_digest(made.token)):
        assert secret not in told
    assert made.key.id in told


def test_namespaces_made_at_the_same_moment_are_made_once(house: House) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            house.tenancy.create_namespace(SYSTEM, "race")
            outcomes.append("made")
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["conflict"] * 7 + ["made"]
