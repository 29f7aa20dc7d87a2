"""Logins that refresh by themselves: whose they are stays the same, and what is saved is touched by its own alone."""

import json
import os
import time
from typing import Any

import httpx
import pytest

from isotherm.base.errors import Invalid, Unauthenticated
from isotherm.client import Client, logins
from isotherm.client.profiles import Login, Profile, find_profile, load_profile, profile_path, save_profile

URL = "https://platform.example"
pytestmark = pytest.mark.usefixtures("environment")


def login(name: str = "ann", number: int = 1, *, old: bool = True) -> Login:
    expires_at_ms = 1 if old else time.time_ns() // 1_000_000 + 900_000
    return Login(
        name=name, access_token=f"eyJ-{name}-{number}", expires_at_ms=expires_at_ms, refresh_token=f"{name}-{number}"
    )


class Platform:
    """Its login routes: each refresh token is good once, and the next one has the next number."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.used: set[str] = set()

    def __call__(self, url: str, verb: str, body: dict[str, str], _verify: Any) -> bytes:
        assert url == URL
        self.asked.append((verb, body))
        token = body.get("refresh_token", f"{body.get('name', '')}-0")
        if verb == "logout":
            return b""
        if token in self.used:
            raise Unauthenticated("it was used")
        self.used.add(token)
        name, _, number = token.rpartition("-")
        fresh = login(name.lower(), int(number) + 1, old=False)
        tokens = {
            "access_token": fresh.access_token,
            "expires_at_ms": fresh.expires_at_ms,
            "refresh_token": fresh.refresh_token,
            "refresh_expires_at_ms": fresh.expires_at_ms,
            "principal_id": f"pr_{name}",
        }
        return json.dumps(tokens).encode()


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    """In place of the one call that goes over the network."""
    made = Platform()
    monkeypatch.setattr(logins, "_send", made)
    return made


def saved(profile: Profile) -> Profile:
    save_profile(profile)
    return find_profile()


def test_a_saved_login_is_refreshed_and_saved(platform: Platform) -> None:
    profile = saved(Profile(url=URL, login=login(), namespace="team"))
    renewed = logins.signed_in(profile)
    assert renewed.login is not None
    assert renewed.login.access_token == "eyJ-ann-2"
    assert load_profile() == renewed
    assert logins.signed_in(profile) == renewed, "another process takes what the first one saved"
    assert len(platform.asked) == 1


@pytest.mark.parametrize("other", [Profile(url=URL, login=login("bob")), Profile(url=URL, key="iso_x")])
def test_a_program_goes_on_as_who_it_began_when_another_logs_in_meanwhile(platform: Platform, other: Profile) -> None:
    profile = saved(Profile(url=URL, login=login()))
    save_profile(other)
    renewed = logins.signed_in(profile)
    assert renewed.login is not None
    assert (renewed.login.name, renewed.login.access_token) == ("ann", "eyJ-ann-2")
    assert load_profile() == other, "what is saved is another's now"
    assert [body for _, body in platform.asked] == [{"refresh_token": "ann-1"}]


def test_a_program_logs_in_by_itself_and_saves_nothing(platform: Platform) -> None:
    made = logins.log_in(f"{URL}/", "Ann", "a password")
    assert made.name == "ann"
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        if len(sent) == 1:
            return httpx.Response(401)
        return httpx.Response(200, json={"items": [], "next_cursor": None})

    with Client(URL, login=made, transport=httpx.MockTransport(answer)) as client:
        assert list(client.namespaces.list()) == []
        assert list(client.namespaces.list()) == []
    assert sent == ["Bearer eyJ-ann-1", "Bearer eyJ-ann-2", "Bearer eyJ-ann-2"]
    assert not profile_path().exists()
    logins.end_session(URL, made)
    assert platform.asked[-1] == ("logout", {"refresh_token": "ann-1"})


@pytest.mark.usefixtures("platform")
def test_where_nothing_can_be_saved_a_login_is_refreshed_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/nowhere")
    renewed = logins.signed_in(Profile(url=URL, login=login()))
    assert renewed.login is not None
    assert renewed.login.access_token == "eyJ-ann-2"


def test_a_key_and_a_login_are_one_too_many() -> None:
    with pytest.raises(Invalid, match="not both"):
        Client(URL, "iso_x", login=login())


def test_a_profile_is_its_owners_alone_whatever_was_left_behind() -> None:
    path = save_profile(Profile(url=URL, key="iso_x"))
    left = path.with_name(f".{path.name}.{os.getpid()}")
    left.write_text("")
    left.chmod(0o644)
    save_profile(Profile(url=URL, key="iso_y"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_password_goes_nowhere_without_a_whole_url_and_plain_http_is_known_as_such() -> None:
    with pytest.raises(Invalid, match="begins with https"):
        logins.log_in("platform.example", "ann", "a password")
    assert [logins.is_private(url) for url in (URL, "http://127.0.0.1:7070", "http://platform.example")] == [
        True, True, False,
    ]  # fmt: skip
    assert not logins.is_private("http://127.0.0.1.platform.example")
    assert not logins.is_private("http://localhost@platform.example")
