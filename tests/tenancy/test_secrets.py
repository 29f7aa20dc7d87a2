"""Secrets: set, listed, removed; never read back; and what their functions and hosts are told."""

from pathlib import Path

import msgspec
import pytest
import sqlalchemy

from isotherm.base.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed, Unavailable
from isotherm.storage.vault import Vault
from isotherm.tenancy import secrets as secrets_module
from isotherm.tenancy import store
from isotherm.tenancy.sealed import SealedSecrets
from isotherm.wire.desired import RevisionSpec
from tests.house import House, house

__all__ = ["house"]

VALUE = "s3cr3t-value"


def put(house: House, name: str = "token", value: str = VALUE, namespace: str = "default") -> None:
    house.secrets.set(house.admin, namespace, name, value)


def told(house: House) -> dict[int, RevisionSpec]:
    """What hosts are told of `hello`, by number."""
    found = [item.revision for item in house.feed.full().items if item.revision is not None]
    return {spec.number: spec for spec in found if spec.name == "hello"}


def used_by(house: House, name: str = "token") -> list[str]:
    return house.secrets.get(house.admin, "default", name).used_by


def test_a_secret_is_shown_with_all_but_its_value(house: House) -> None:
    made, created = house.secrets.set(house.admin, "default", "token", VALUE)
    assert (made.namespace, made.name, made.version, made.used_by, created) == ("default", "token", 1, [], True)
    assert made.created_at_ms == made.updated_at_ms == house.clock.time_ms()
    assert house.secrets.get(house.admin, "default", "token") == made
    assert VALUE not in str(made)


def test_another_value_is_another_version_and_the_same_value_none(house: House) -> None:
    put(house)
    before = (house.kinds(), house.feed.version(), house.secrets.get(house.admin, "default", "token"))
    house.clock.advance(5)
    again, created = house.secrets.set(house.admin, "default", "token", VALUE)
    assert (house.kinds(), house.feed.version(), again) == before
    other, created = house.secrets.set(house.admin, "default", "token", "another")
    assert (other.version, created) == (2, False)
    assert other.updated_at_ms - other.created_at_ms == 5000
    assert other.etag != again.etag
    house.secrets.remove(house.admin, "default", "token")
    back, created = house.secrets.set(house.admin, "default", "token", VALUE)
    assert (back.version, created) == (3, True), "no version comes twice"


def test_a_value_is_nowhere_in_the_files_and_the_events(house: House, tmp_path: Path) -> None:
    put(house)
    house.deploy_ready(secrets={"TOKEN": "token"})
    put(house, value="another-s3cr3t")
    events = msgspec.json.encode(house.log.entries(limit=1000).items)
    house.database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for value in (VALUE.encode(), b"another-s3cr3t"):
        assert value not in stored
        assert value not in events
    assert house.kinds().count("secret.set") == 2


def test_a_sealed_value_opens_only_in_its_place_and_with_its_key(house: House) -> None:
    put(house)
    put(house, "other", "other-value")
    with house.database.write() as session:
        row = store.find_secret(session, "default", "token")
        assert row is not None
        moved = sqlalchemy.update(store.secrets).where(store.secrets.c.name == "other").values(value=row.value)
        session.execute(moved)
    with house.database.read() as session:
        assert SealedSecrets(house.vault).values(session, "default", ["token", "none"]) == {"token": VALUE}
        with pytest.raises(Unavailable, match="cannot be read"):
            SealedSecrets(house.vault).values(session, "default", ["other"])
        with pytest.raises(Unavailable, match="master key"):
            SealedSecrets(Vault(bytes(32))).values(session, "default", ["token"])


def test_a_function_gets_the_value_under_its_own_name_and_shows_only_the_secrets(house: House) -> None:
    put(house)
    number = house.deploy_ready(env={"MODE": "fast"}, secrets={"TOKEN": "token", "ALSO": "token"})
    assert told(house)[number].env == {"MODE": "fast", "TOKEN": VALUE, "ALSO": VALUE}
    assert told(house)[number].secrets == {"TOKEN": "token", "ALSO": "token"}
    config = house.functions.revision(house.admin, "default", "hello", number).config
    assert (config.env, config.secrets) == ({"MODE": "fast"}, {"TOKEN": "token", "ALSO": "token"})
    latest = house.functions.get(house.admin, "default", "hello").latest
    assert latest is not None
    assert VALUE not in str(latest)


def test_hosts_hear_of_every_revision_that_refers_to_a_changed_secret_and_of_no_other(house: House) -> None:
    put(house)
    put(house, "unused", "unused-value")
    house.deploy_ready(secrets={"TOKEN": "token"})
    house.deploy_ready(secrets={"TOKEN": "token"}, memory_mb=128)
    house.deploy_ready("plain")
    before = house.feed.version()
    put(house, "unused", "other-value")
    assert house.feed.version() == before
    put(house, value="another")
    delta = house.feed.desired(house.feed.epoch, before)
    assert delta.removed == []
    assert [item.revision.env for item in delta.items if item.revision] == [{"TOKEN": "another"}] * 2


def test_a_building_revision_is_told_with_the_value_of_the_moment(house: House) -> None:
    put(house)
    revision = house.deploy(secrets={"TOKEN": "token"}).revision
    assert [spec.env for spec in house.functions.building()] == [{"TOKEN": VALUE}]
    before = house.feed.version()
    put(house, value="another")
    assert house.feed.version() == before, "a host that prepares it must not be told that it is gone"
    assert house.functions.spec(revision.id).env == {"TOKEN": "another"}
    house.functions.mark_ready(revision.id, template=True, unfit=[], elapsed_ms=1)
    assert told(house)[1].env == {"TOKEN": "another"}


def test_a_rollback_uses_the_present_value(house: House) -> None:
    put(house)
    house.deploy_ready(secrets={"TOKEN": "token"})
    house.deploy_ready(memory_mb=128)
    put(house, value="another")
    house.functions.rollback(house.admin, "default", "hello")
    assert told(house)[1].env == {"TOKEN": "another"}


def test_a_deploy_that_names_a_missing_secret_says_which_and_what_makes_it(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    put(house, namespace="team")
    with pytest.raises(Invalid, match=r"secrets\.TOKEN is the secret 'token'.*isotherm secrets set token -n default"):
        house.deploy(secrets={"TOKEN": "token"})
    assert house.functions.page(house.admin, "default").items == []


def test_the_same_references_are_the_same_revision_whatever_the_value(house: House) -> None:
    put(house)
    house.deploy_ready(secrets={"TOKEN": "token"})
    put(house, value="another")
    put(house, "other")
    assert not house.deploy(secrets={"TOKEN": "token"}).created
    assert house.deploy(secrets={"TOKEN": "other"}).created


def test_who_takes_a_secret_is_what_an_alias_has_or_what_is_building(house: House) -> None:
    put(house)
    building = house.deploy(secrets={"TOKEN": "token"}).revision
    assert used_by(house) == ["hello"]
    house.functions.mark_failed(building.id, {"code": "import_failed"})
    assert used_by(house) == []
    house.deploy_ready(secrets={"TOKEN": "token"}, memory_mb=64)
    house.deploy_ready("another", secrets={"A": "token", "B": "token"})
    assert used_by(house) == ["another", "hello"]
    house.deploy_ready(memory_mb=128)
    assert used_by(house) == ["another"], "it could still be called by its number"
    house.functions.delete(house.admin, "default", "another")
    assert [secret.used_by for secret in house.secrets.page(house.admin, "default").items] == [[]]


def test_what_is_used_is_removed_by_force_alone(house: House) -> None:
    put(house)
    house.deploy_ready(env={"MODE": "fast"}, secrets={"TOKEN": "token"})
    with pytest.raises(Conflict, match="is used by hello"):
        house.secrets.remove(house.admin, "default", "token")
    before = house.feed.version()
    house.secrets.remove(house.admin, "default", "token", force=True)
    assert told(house)[1].env == {"MODE": "fast"}
    assert [item.revision.number for item in house.feed.desired(house.feed.epoch, before).items if item.revision] == [1]
    (removed,) = [entry for entry in house.log.entries().items if entry.kind == "secret.removed"]
    assert (removed.data, removed.principal_id) == ({"still_used_by": ["hello"]}, house.admin.id)
    for verb in (house.secrets.get, house.secrets.remove):
        with pytest.raises(NotFound):
            verb(house.admin, "default", "token")
    put(house, value="it-is-back")
    assert told(house)[1].env == {"MODE": "fast", "TOKEN": "it-is-back"}


def test_a_stale_tag_changes_nothing(house: House) -> None:
    with pytest.raises(PreconditionFailed):
        house.secrets.set(house.admin, "default", "token", VALUE, if_match="*")
    made, _ = house.secrets.set(house.admin, "default", "token", VALUE)
    house.secrets.set(house.admin, "default", "token", "second", if_match=f'"{made.etag}"')
    with pytest.raises(PreconditionFailed):
        house.secrets.set(house.admin, "default", "token", "third", if_match=made.etag)
    with pytest.raises(PreconditionFailed):
        house.secrets.remove(house.admin, "default", "token", if_match=made.etag)
    assert house.secrets.get(house.admin, "default", "token").version == 2


@pytest.mark.parametrize("name", ["", "Token", "a_b", "a" * 64, "-a", "a/b", "token\n"])
def test_bad_names_are_refused(house: House, name: str) -> None:
    with pytest.raises(Invalid, match="lower-case"):
        put(house, name)


@pytest.mark.parametrize("value", ["", "x" * 49_153, "ä" * 24_577, "a\x00b", "half \ud800"])
def test_bad_values_are_refused_in_words_that_do_not_show_them(house: House, value: str) -> None:
    with pytest.raises(Invalid, match="the value of the secret 'token'") as caught:
        put(house, value=value)
    assert not value or value not in str(caught.value.problem())


def test_values_and_variables_of_a_function_are_bounded_together(house: House) -> None:
    put(house, value="x" * 40_000)
    with pytest.raises(Invalid, match="more than 65536"):
        house.deploy(env={"A": "x" * 30_000}, secrets={"TOKEN": "token"})
    house.deploy_ready(env={"A": "x" * 20_000}, secrets={"TOKEN": "token"})
    with pytest.raises(Invalid, match="revision 1 of hello cannot take it"):
        put(house, value="x" * 46_000)
    assert house.secrets.get(house.admin, "default", "token").version == 1


def test_a_namespace_has_a_bounded_number_of_them(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_module, "MAX_SECRETS", 2)
    put(house, "a")
    put(house, "b")
    with pytest.raises(Conflict, match="has 2 secrets"):
        put(house, "c")
    put(house, "b", "another")


def test_lists_go_on_from_page_to_page(house: House) -> None:
    names = [f"secret-{number}" for number in range(5)]
    for name in reversed(names):
        put(house, name)
    first = house.secrets.page(house.admin, "default", limit=3)
    rest = house.secrets.page(house.admin, "default", limit=3, cursor=first.next_cursor)
    assert [secret.name for secret in first.items + rest.items] == names
    assert rest.next_cursor is None


def test_who_may_look_may_not_set_and_strangers_see_nothing(house: House) -> None:
    put(house)
    viewer, invoker, developer = (house.principal(role) for role in ("viewer", "invoker", "developer"))
    assert house.secrets.get(viewer, "default", "token").version == 1
    with pytest.raises(Forbidden):
        house.secrets.set(viewer, "default", "token", "another")
    with pytest.raises(Forbidden):
        house.secrets.remove(viewer, "default", "token")
    with pytest.raises(Forbidden):
        house.secrets.page(invoker, "default")
    house.tenancy.create_namespace(house.admin, "team")
    stranger = house.principal("admin", "team")
    with pytest.raises(NotFound, match="namespace"):
        house.secrets.set(stranger, "default", "token", "another")
    house.secrets.remove(developer, "default", "token")


def test_a_namespace_with_secrets_is_not_deleted(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    put(house, namespace="team")
    with pytest.raises(Conflict, match="delete its functions and secrets first"):
        house.tenancy.delete_namespace(house.admin, "team")
    house.secrets.remove(house.admin, "team", "token")
    house.tenancy.delete_namespace(house.admin, "team")
    with pytest.raises(NotFound):
        put(house, namespace="team")
