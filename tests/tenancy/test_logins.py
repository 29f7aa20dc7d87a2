"""Logins: who is let in, what ends a session, what a wrong password costs; nothing tells who has an account."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from isotherm.base.errors import Conflict, Forbidden, Invalid, IsothermError, TooManyRequests, Unauthenticated
from isotherm.tenancy.attempts import OF_DEVICE, OF_NAME, Limits, locked_until_ms
from isotherm.tenancy.logins import Logins
from isotherm.tenancy.model import Grant, Principal, Tokens
from isotherm.tenancy.passwords import Hasher, check_password
from isotherm.tenancy.sessions import IDLE_MS, LIFE_MS, MAX_SESSIONS
from isotherm.tenancy.signing import ACCESS_S
from isotherm.tenancy.users import Users
from tests.databases import Databases
from tests.house import PASSWORD, House, house, open_house

__all__ = ["house"]
HERE = "198.51.100.7"
NEW = "another good passphrase"


def login(house: House, name: str = "ann", password: str = PASSWORD, **where: str) -> Tokens:
    return house.logins.login(name, password, address=where.get("address", HERE), device=where.get("device"))


def fail(house: House, name: str = "ann", times: int = 1, password: str = "wrong", **where: str) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            login(house, name, password, **where)


def who(house: House, tokens: Tokens) -> Principal:
    return house.logins.authenticate(tokens.access_token)


def test_an_invited_user_chooses_a_password_once_and_is_who_the_roles_say(house: House) -> None:
    invited = house.users.invite(house.admin, "Ann", [Grant("default", "developer")])
    assert (invited.user.name, invited.user.state) == ("ann", "invited")
    tokens = house.logins.register(name=None, password=PASSWORD, invitation=invited.invitation)
    assert who(house, tokens).grants == (Grant("default", "developer"),)
    with pytest.raises(Unauthenticated, match="invitation is not good"):
        house.logins.register(name=None, password=NEW, invitation=invited.invitation)
    assert who(house, login(house)).id == invited.user.id


def test_an_invitation_is_good_for_a_week_and_a_newer_one_takes_its_place(house: House) -> None:
    first = house.users.invite(house.admin, "ann")
    second = house.users.reset(house.admin, first.user.id)
    with pytest.raises(Unauthenticated):
        house.logins.register(name=None, password=PASSWORD, invitation=first.invitation)
    house.clock.advance(7 * 86_400 + 1)
    with pytest.raises(Unauthenticated):
        house.logins.register(name=None, password=PASSWORD, invitation=second.invitation)


def test_registration_is_closed_unless_it_is_opened(house: House) -> None:
    with pytest.raises(Forbidden, match="registration is closed"):
        house.logins.register(name="eve", password=PASSWORD, invitation=None)
    users = Users(log=house.log, tenancy=house.tenancy, vault=house.vault, clock=house.clock, registration="open")
    cheap = Hasher(memory_kib=64, passes=1)
    logins = Logins(
        log=house.log, denials=house.denials, users=users, vault=house.vault, clock=house.clock, hasher=cheap
    )
    made = logins.register(name="eve", password=PASSWORD, invitation=None)
    assert logins.authenticate(made.access_token).grants == (), "whoever registers has no role"
    with pytest.raises(Conflict, match="is taken"):
        logins.register(name="EVE", password=PASSWORD, invitation=None)


def test_who_registers_by_themselves_and_waits_for_a_role_is_no_more_than_a_bound(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isotherm.tenancy.logins.MAX_WITHOUT_ROLE", 2)
    house.users.registration = "open"
    first = house.logins.register(name="one", password=PASSWORD, invitation=None)
    house.logins.register(name="two", password=PASSWORD, invitation=None)
    with pytest.raises(TooManyRequests, match="wait for a role"):
        house.logins.register(name="three", password=PASSWORD, invitation=None)
    house.users.set_role(house.admin, "default", first.principal_id, "viewer")
    house.logins.register(name="three", password=PASSWORD, invitation=None)


def test_who_may_invite_into_a_namespace_follows_the_setting(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    admin = house.principal("admin", "team")
    with pytest.raises(Forbidden, match="registration is closed"):
        house.users.invite_member(admin, "team", "bob", "viewer")
    house.users.registration = "invited"
    assert house.users.invite_member(admin, "team", "bob", "viewer").user.grants == [Grant("team", "viewer")]
    with pytest.raises(Forbidden):
        house.users.invite_member(house.principal("developer", "team"), "team", "eve", "viewer")
    with pytest.raises(IsothermError):
        house.users.invite_member(admin, "default", "eve", "viewer")


def test_whatever_is_wrong_is_answered_alike(house: House) -> None:
    house.user("ann")
    house.users.disable(house.admin, house.user("off").principal_id)
    house.users.invite(house.admin, "fresh")
    said = set()
    for name, password in (
        ("ann", "wrong"),
        ("nobody", "wrong"),
        ("off", PASSWORD),
        ("fresh", PASSWORD),
        ("", ""),
        ("a\0b", "\0"),
    ):
        with pytest.raises(Unauthenticated) as refused:
            login(house, name, password)
        said.add(json.dumps(refused.value.problem()))
    assert len(said) == 1


def test_a_name_that_nobody_has_costs_a_hash_like_any_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.user("ann")
    asked: list[str | None] = []
    original = house.logins._hasher.verify

    def verify(stored: str | None, password: str) -> bool:
        asked.append(stored)
        return original(stored, password)

    monkeypatch.setattr(house.logins._hasher, "verify", verify)
    fail(house, "ann")
    fail(house, "nobody")
    assert len(asked) == 2
    assert asked[1] is None
    assert house.logins._hasher._nobody.split("$")[1:4] == str(asked[0]).split("$")[1:4], "the same parameters"


def test_failures_write_the_same_rows_for_a_name_that_is_there_and_one_that_is_not(house: House) -> None:
    house.user("ann")
    before = house.kinds()
    fail(house, "ann", 5)
    fail(house, "nobody", 5, address="203.0.113.1")
    assert house.kinds() == before, "no event is written while somebody waits for the answer"
    with house.database.read() as session:
        rows = session.execute(text("SELECT failures, until_ms FROM login_attempts ORDER BY failures")).all()
    assert [row.failures for row in rows] == [5, 5, 5, 5]
    assert len([row for row in rows if row.until_ms]) == 2


def test_failures_lock_a_name_for_a_while_that_grows_and_ends(house: House) -> None:
    house.user("ann")
    fail(house, times=OF_NAME.free + 1)
    with pytest.raises(TooManyRequests) as refused:
        login(house)
    assert refused.value.retry_after_s == pytest.approx(OF_NAME.first_ms / 1000)
    house.clock.advance(OF_NAME.first_ms / 1000 + 0.001)
    fail(house)
    house.clock.advance(OF_NAME.first_ms / 1000 + 0.001)
    with pytest.raises(TooManyRequests):
        login(house)
    house.clock.advance(OF_NAME.first_ms / 1000)
    login(house)
    fail(house, times=OF_NAME.free)
    login(house)


def test_what_is_refused_during_a_lockout_makes_it_no_longer(house: House) -> None:
    house.user("ann")
    fail(house, times=OF_NAME.free + 1)
    for _ in range(100):
        with pytest.raises(TooManyRequests):
            login(house, password="wrong")
    house.clock.advance(OF_NAME.first_ms / 1000 + 0.001)
    login(house)


def test_a_device_that_logged_in_before_is_not_locked_out_by_others(house: House) -> None:
    device = house.user("ann").device
    assert device is not None
    for _ in range(60):  # somebody who never stops
        house.clock.advance(3600)
        fail(house, address="203.0.113.66")
    with pytest.raises(TooManyRequests):
        login(house, address=HERE)
    assert login(house, device=device).device == device, "even from the address of who guesses"
    login(house, device=device, address="203.0.113.66")


def test_a_device_gets_no_more_guesses_than_anybody_and_is_none_of_anothers(house: House) -> None:
    ann, bob = house.user("ann").device, house.user("bob").device
    assert ann is not None
    assert bob is not None
    fail(house, times=10, device=ann)
    with pytest.raises(TooManyRequests):
        login(house, device=ann)
    fail(house, times=OF_NAME.free + 1, device=bob)  # counted for the name: it is bob's
    with pytest.raises(TooManyRequests):
        login(house)


def test_an_address_that_tries_many_names_is_locked(house: House) -> None:
    house.user("ann")
    for number in range(30):
        fail(house, f"name{number}", address="203.0.113.1")
    with pytest.raises(TooManyRequests):
        login(house, address="203.0.113.1")
    login(house)


def test_no_name_and_no_address_of_who_failed_is_stored(house: House) -> None:
    fail(house, "mistyped-password-as-name", 5, address="203.0.113.99")
    house.logins.sweep()
    house.denials.flush()
    stored = house.stored()
    assert b"mistyped-password" not in stored
    assert b"203.0.113.99" not in stored


def test_lockouts_and_failures_come_to_the_audit_log_without_names(house: House) -> None:
    ann = house.user("ann").principal_id
    fail(house, times=5)
    house.clock.advance(1)
    house.logins.sweep()
    house.logins.sweep()
    house.denials.flush()
    events = house.log.entries(limit=20).items
    (locked,) = [event for event in events if event.kind == "user.locked"]
    assert locked.data["failures"] == 5
    (denied,) = [event for event in events if event.kind == "access.denied"]
    assert (denied.data["permission"], denied.data["count"], denied.principal_id) == ("login", 5, ann)
    assert b"ann" not in b"".join(json.dumps(event.data).encode() for event in events)


def test_an_admin_unlocks(house: House) -> None:
    ann = house.user("ann").principal_id
    fail(house, times=5)
    house.users.unlock(house.admin, ann)
    login(house)


def test_counts_of_failures_are_bounded_and_forgotten(house: House) -> None:
    fail(house, times=3)
    house.clock.advance(86_401)
    assert house.logins.sweep() == 2
    fail(house, times=OF_NAME.free)
    house.user("ann")
    login(house)


@pytest.mark.parametrize(
    ("failures", "locked_ms"), [(0, 0), (3, 0), (4, 10), (5, 20), (6, 40), (7, 70), (1000, 70), (10**9, 70)]
)
def test_a_lockout_doubles_up_to_its_most(failures: int, locked_ms: int) -> None:
    until_ms = locked_until_ms(Limits(free=3, first_ms=10, most_ms=70), failures, 1000)
    assert until_ms == (1000 + locked_ms if locked_ms else 0)


# Sessions


def test_a_refresh_token_is_good_once_and_each_gives_the_next(house: House) -> None:
    first = house.user("ann", Grant("default", "viewer"))
    house.clock.advance(ACCESS_S)
    with pytest.raises(Unauthenticated, match="has expired"):
        who(house, first)
    second = house.logins.refresh(first.refresh_token)
    assert who(house, second).session == who(house, house.logins.refresh(second.refresh_token)).session


def test_a_refresh_token_that_comes_again_ends_the_session_for_whoever_has_it(house: House) -> None:
    first = house.user("ann")
    second = house.logins.refresh(first.refresh_token)
    other = login(house)
    with pytest.raises(Unauthenticated):
        house.logins.refresh(first.refresh_token)
    with pytest.raises(Unauthenticated):
        house.logins.refresh(second.refresh_token)
    with pytest.raises(Unauthenticated):
        who(house, second)
    who(house, other)
    ended = [event.data for event in house.log.entries(limit=5).items if event.kind == "user.session_ended"]
    assert [data["reason"] for data in ended] == ["reuse"]
    assert house.logins.counts.reuses == 1


def test_a_refresh_token_that_was_made_up_harms_no_session(house: House) -> None:
    tokens = house.user("ann")
    prefix, generation, seal = tokens.refresh_token.rsplit("_", 2)
    for forged in (
        f"{prefix}_{generation}_{'0' * 64}",
        f"{prefix}_0_{seal}",
        f"{prefix}_99_{seal}",
        f"{prefix}_1_{seal[:-1]}",
        "isr_",
        "",
        "x" * 10_000,
        tokens.access_token,
    ):
        with pytest.raises(Unauthenticated):
            house.logins.refresh(forged)
    house.logins.refresh(tokens.refresh_token)


def test_a_session_ends_when_it_is_not_used_and_after_ninety_days(house: House) -> None:
    idle, busy = house.user("ann"), house.user("bob")
    for _ in range(LIFE_MS // (IDLE_MS - 1000)):
        house.clock.advance(IDLE_MS / 1000 - 1)
        busy = house.logins.refresh(busy.refresh_token)
    with pytest.raises(Unauthenticated):
        house.logins.refresh(idle.refresh_token)
    house.clock.advance(IDLE_MS / 1000 - 1)
    with pytest.raises(Unauthenticated):
        house.logins.refresh(busy.refresh_token)
    house.logins.sweep()
    with house.database.read() as session:
        assert session.execute(text("SELECT count(*) FROM sessions")).scalar_one() == 0


def test_logging_out_ends_one_session(house: House) -> None:
    one, other = house.user("ann"), login(house)
    house.logins.logout(one.refresh_token)
    house.logins.logout(one.refresh_token)
    house.logins.logout("nonsense")
    with pytest.raises(Unauthenticated):
        who(house, one)
    with pytest.raises(Unauthenticated):
        house.logins.refresh(one.refresh_token)
    who(house, other)


def test_a_user_has_so_many_sessions_and_the_oldest_makes_room(house: House) -> None:
    first = house.user("ann")
    for _ in range(MAX_SESSIONS - 1):
        house.clock.advance(1)
        login(house)
    who(house, first)
    house.clock.advance(1)
    login(house)
    with pytest.raises(Unauthenticated):
        who(house, first)


def test_nobody_begins_sessions_without_end(house: House) -> None:
    house.user("ann")
    for _ in range(99):
        login(house)
    with pytest.raises(TooManyRequests):
        login(house)
    house.clock.advance(2000)
    login(house)


@pytest.mark.parametrize("what", ["disable", "end_sessions", "reset", "delete"])
def test_what_an_admin_does_ends_sessions_at_once(house: House, what: str) -> None:
    tokens = house.user("ann")
    before = house.feed.version()
    getattr(house.users, what)(house.admin, tokens.principal_id)
    with pytest.raises(Unauthenticated):
        who(house, tokens)
    with pytest.raises(Unauthenticated):
        house.logins.refresh(tokens.refresh_token)
    assert house.feed.version() > before, "hosts hear of it"
    if what == "end_sessions":
        login(house)
    else:
        fail(house, times=1)
        with pytest.raises(Unauthenticated):
            login(house)


def test_a_disabled_user_who_is_enabled_again_logs_in_again(house: House) -> None:
    tokens = house.user("ann", Grant("default", "viewer"))
    house.users.disable(house.admin, tokens.principal_id)
    house.users.enable(house.admin, tokens.principal_id)
    with pytest.raises(Unauthenticated):
        who(house, tokens)
    assert who(house, login(house)).grants == (Grant("default", "viewer"),)


def test_a_change_of_password_takes_the_current_one_and_ends_all_sessions(house: House) -> None:
    one, other = house.user("ann"), login(house)
    me = who(house, one)
    with pytest.raises(Forbidden, match="current password"):
        house.logins.change_password(me, "wrong", NEW)
    with pytest.raises(Invalid, match="12 to 256"):
        house.logins.change_password(me, PASSWORD, "short")
    with pytest.raises(Invalid, match="a key has no password"):
        house.logins.change_password(house.admin, PASSWORD, NEW)
    house.logins.change_password(me, PASSWORD, NEW)
    for tokens in (one, other):
        with pytest.raises(Unauthenticated):
            who(house, tokens)
    fail(house)
    login(house, password=NEW)


def test_changing_a_password_is_no_way_to_guess_it_without_end(house: House) -> None:
    me = who(house, house.user("ann"))
    mine = who(house, login(house))
    for _ in range(OF_DEVICE.free + 1):
        with pytest.raises(Forbidden):
            house.logins.change_password(me, "wrong", NEW)
    with pytest.raises(TooManyRequests):
        house.logins.change_password(me, PASSWORD, NEW)
    house.logins.change_password(mine, PASSWORD, NEW)


def test_who_guesses_at_logins_keeps_nobody_who_is_logged_in_from_another_password(house: House) -> None:
    me = who(house, house.user("ann"))
    fail(house, times=OF_NAME.free + 1)
    with pytest.raises(TooManyRequests):
        login(house)
    house.logins.change_password(me, PASSWORD, NEW)


def meanwhile(house: House, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """It happens while a password is looked at."""
    verify = house.logins._hasher.verify

    def slow(stored: str | None, password: str) -> bool:
        monkeypatch.undo()
        happens()
        return verify(stored, password)

    monkeypatch.setattr(house.logins._hasher, "verify", slow)


def test_who_is_shut_out_while_the_password_is_looked_at_is_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = house.user("ann")
    meanwhile(house, monkeypatch, lambda: house.users.disable(house.admin, tokens.principal_id))
    fail(house, password=PASSWORD)
    house.users.enable(house.admin, tokens.principal_id)
    me = who(house, login(house))
    for happens in (house.users.end_sessions, house.users.disable):
        meanwhile(house, monkeypatch, lambda happens=happens: happens(house.admin, me.id))  # type: ignore[misc]
        with pytest.raises(Unauthenticated, match="session is over"):
            house.logins.change_password(me, PASSWORD, NEW)
    house.users.enable(house.admin, me.id)
    login(house)


def test_a_password_that_was_reset_while_it_was_changed_stays_reset(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = who(house, house.user("ann"))
    meanwhile(house, monkeypatch, lambda: house.users.reset(house.admin, me.id))
    with pytest.raises(Unauthenticated, match="session is over"):
        house.logins.change_password(me, PASSWORD, NEW)
    assert house.users.get(house.admin, me.id).state == "invited"


def test_roles_that_change_count_at_once_for_tokens_of_before(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    tokens = house.user("ann", Grant("default", "viewer"))
    house.users.set_role(house.admin, "team", tokens.principal_id, "admin")
    assert who(house, tokens).grants == (Grant("default", "viewer"), Grant("team", "admin"))
    house.users.remove_role(house.admin, "default", tokens.principal_id)
    house.users.set_role(house.admin, "*", tokens.principal_id, "viewer")
    assert who(house, tokens).grants == (Grant("*", "viewer"), Grant("team", "admin"))
    house.tenancy.delete_namespace(house.admin, "team")
    assert who(house, tokens).grants == (Grant("*", "viewer"),)
    house.tenancy.create_namespace(house.admin, "team")
    assert who(house, tokens).grants == (Grant("*", "viewer"),), "another namespace of that name is another"


def test_members_are_set_by_admins_of_the_namespace_and_by_id(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    ann = house.user("ann").principal_id
    admin = house.principal("admin", "team")
    assert house.users.set_role(admin, "team", ann, "developer").name == "ann"
    assert [member.role for member in house.users.members(admin, "team").items] == ["developer"]
    for refused in ("default", "*"):
        with pytest.raises(IsothermError):
            house.users.set_role(admin, refused, ann, "admin")
    with pytest.raises(IsothermError, match="no user"):
        house.users.set_role(admin, "team", "pr_nobody", "admin")
    with pytest.raises(Forbidden):
        house.users.page(admin)


# Keys that sign


def test_a_token_outlives_the_change_of_the_key_but_not_its_dropping(house: House) -> None:
    tokens = house.user("ann")
    house.logins.signing.rotate(house.admin)
    who(house, tokens)
    fresh = login(house)
    house.logins.signing.rotate(house.admin, drop=True)
    for each in (tokens, fresh):
        with pytest.raises(Unauthenticated):
            who(house, each)
    who(house, house.logins.refresh(fresh.refresh_token))


def test_keys_that_sign_change_each_month_and_go_when_no_token_is_left(house: House) -> None:
    house.user("ann")
    house.clock.advance(30 * 86_400 + 1)
    house.logins.sweep()

    def token_keys() -> list[str]:
        return [item.token_key.id for item in house.feed.full().items if item.token_key is not None]

    assert len(token_keys()) == 2
    house.clock.advance(2 * ACCESS_S + 1)
    house.logins.sweep()
    assert len(token_keys()) == 1
    assert house.kinds().count("token_key.made") == 2


def test_another_start_takes_the_same_key_and_another_platforms_token_is_refused(
    house: House, tmp_path: Path, databases: Databases
) -> None:
    tokens = house.user("ann")
    again = open_house(tmp_path, databases)
    assert who(again, tokens).id == tokens.principal_id
    (tmp_path / "other").mkdir()
    other = open_house(tmp_path / "other", databases)
    stranger = other.user("ann")
    with pytest.raises(Unauthenticated):
        who(house, stranger)


# What is stored


def test_neither_password_nor_token_nor_signing_key_is_stored_in_clear(house: House) -> None:
    invited = house.users.invite(house.admin, "ann")
    tokens = house.logins.register(name=None, password=PASSWORD, invitation=invited.invitation)
    key = house.logins.signing._newest
    assert key is not None
    stored = house.stored()
    secrets = (PASSWORD.encode(), tokens.refresh_token[-64:].encode(), invited.invitation.encode(), b"argon2id")
    for secret in (*secrets, key[1].private_bytes_raw(), tokens.access_token.encode()):
        assert secret not in stored


def test_events_have_no_names_and_who_is_deleted_is_forgotten(house: House) -> None:
    ann = house.user("a.very.rare-name").principal_id
    for event in house.log.entries(limit=100).items:
        assert "rare-name" not in json.dumps(event.data)
    house.users.delete(house.admin, ann)
    if house.database.is_sqlite:
        house.database.close()
        with closing(sqlite3.connect(house.database.engine.url.database or "")) as file:
            file.execute("VACUUM")  # what was deleted lies in free pages until they are used again
    assert b"rare-name" not in house.stored()


# Passwords


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "12 to 256"),
        ("x" * 257, "12 to 256"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("abababababababab", "repeats"),
        ("annabelle-2024!", "name"),
        ("my-ANNABELLE-pw", "name"),
        ("ellebanna-2024!", "name"),
        ("twelve chars \ud800", "surrogate"),
    ],
)
def test_a_password_that_is_easy_is_refused_and_not_repeated_in_the_message(password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        check_password(password, "annabelle@example.org")
    assert password not in json.dumps(refused.value.problem(), ensure_ascii=True)


def test_a_password_is_the_same_however_it_is_composed() -> None:
    hasher = Hasher(memory_kib=64, passes=1)
    assert hasher.verify(hasher.hash("Zo\u00eb und ein Satz"), "Zoe\u0308 und ein Satz")
    assert not hasher.verify(hasher.hash("Zo\u00eb und ein Satz"), "zo\u00eb und ein satz")


def test_a_hash_of_other_parameters_is_made_anew_at_the_next_login(house: House) -> None:
    house.user("ann")
    stronger = Hasher(memory_kib=128, passes=1)
    logins = Logins(
        log=house.log, denials=house.denials, users=house.users, vault=house.vault, clock=house.clock, hasher=stronger
    )
    logins.login("ann", PASSWORD, address=HERE)
    with house.database.read() as session:
        row = session.execute(text("SELECT id, password FROM users")).one()
    stored = house.vault.open("tenancy.password", bytes(row.password), row.id).decode()
    assert "m=128" in stored
    logins.login("ann", PASSWORD, address=HERE)
