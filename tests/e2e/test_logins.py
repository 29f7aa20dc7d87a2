"""People on a real platform: invited by command line, logged in, calling, and out within seconds."""

import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from isotherm.client import AsyncClient, Client
from tests.e2e.conftest import Platform, Ran, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
PASSWORD = "correct horse battery"
ECHO = "def handler(event, context):\n    return event\n"


class Person:
    """A user's own command line: another home, no key."""

    def __init__(self, platform: Platform, name: str) -> None:
        self.platform = platform
        self.name = name
        self.home = platform.folder / "homes" / name
        self.environment = {
            key: value for key, value in platform.environment.items() if not key.startswith("ISOTHERM_")
        } | {"XDG_CONFIG_HOME": str(self.home)}

    @property
    def profile(self) -> Path:
        return self.home / "isotherm" / "profile.json"

    @property
    def token(self) -> str:
        return str(json.loads(self.profile.read_text())["login"]["access_token"])

    def cli(self, *argv: str, words: str | None = None) -> Ran:
        kept = self.platform.environment
        self.platform.environment = self.environment
        try:
            return self.platform.cli(*argv, input=words)
        finally:
            self.platform.environment = kept

    def login(self, password: str = PASSWORD) -> Ran:
        return self.cli(
            "login", self.platform.ready["url"], "--user", self.name, "--password-stdin", words=password + "\n"
        )

    def invoke(self, name: str = "hello") -> int:
        url = f"{self.platform.ready['url']}/2015-03-31/functions/{name}/invocations"
        return httpx.post(url, json={}, headers={"Authorization": f"Bearer {self.token}"}, timeout=30).status_code


def invited(platform: Platform, name: str, *flags: str) -> Person:
    added = platform.cli("users", "add", name, "--json", *flags)
    assert added.code == 0, added.out + added.err
    person = Person(platform, name)
    url = platform.ready["url"]
    joined = person.cli(
        "register", url, "--invitation", added.json["invitation"], "--password-stdin", words=PASSWORD + "\n"
    )
    assert joined.code == 0, joined.out + joined.err
    return person


@pytest.fixture
def platform(start: Callable[..., Platform]) -> Platform:
    started = start()
    started.function("hello", ECHO)
    return started


def test_a_person_is_invited_logs_in_calls_and_is_out_within_seconds(platform: Platform) -> None:
    ann = invited(platform, "ann", "--role", "developer")
    assert stat.S_IMODE(ann.profile.stat().st_mode) == 0o600
    me = ann.cli("whoami", "--json").json
    assert (me["name"], me["kind"], me["grants"]) == ("ann", "user", [{"namespace": "default", "role": "developer"}])
    assert ann.invoke() == 200
    assert ann.cli("ls").code == 0
    assert ann.cli("keys", "ls").code == 77
    assert ann.cli("logout").code == 0
    assert ann.cli("whoami").code == 77
    assert ann.login().code == 0
    token = ann.token
    platform.cli("users", "disable", "ann")
    assert ann.invoke() == 401, "the host knows once the command has ended"
    assert ann.cli("whoami").code == 77
    assert ann.login().code == 77
    platform.cli("users", "enable", "ann")
    assert ann.login().code == 0
    assert ann.invoke() == 200
    assert token not in platform.text_of_log()
    assert PASSWORD not in platform.text_of_log()


def test_logins_go_on_at_the_host_while_control_is_away_and_after_it_is_back(platform: Platform) -> None:
    ann = invited(platform, "ann", "--role", "invoker")
    assert ann.invoke() == 200
    platform.kill("control")
    assert ann.invoke() == 200
    platform.kill("host")

    def serves() -> bool:
        try:
            return ann.invoke() == 200
        except httpx.HTTPError:
            return False

    wait_until(serves, "the host serves from its snapshot")
    assert ann.cli("whoami").code == 0


def test_the_command_line_refreshes_by_itself_and_two_at_once_share_one_token(platform: Platform) -> None:
    ann = invited(platform, "ann", "--role", "viewer")
    profile = json.loads(ann.profile.read_text())
    profile["login"]["expires_at_ms"] = 1
    ann.profile.write_text(json.dumps(profile))
    codes: list[int] = []

    def ask() -> None:
        argv = [sys.executable, "-m", "isotherm", "whoami"]
        done = subprocess.run(argv, env=ann.environment, capture_output=True, timeout=60, check=False)
        codes.append(done.returncode)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0, 0]
    renewed = json.loads(ann.profile.read_text())
    assert renewed["login"]["access_token"] != profile["login"]["access_token"]
    assert stat.S_IMODE(ann.profile.stat().st_mode) == 0o600
    used = {"refresh_token": profile["login"]["refresh_token"]}
    assert httpx.post(f"{platform.ready['url']}/api/v1/auth/refresh", json=used).status_code == 401
    assert ann.invoke() == 401, "a refresh token that came twice ended the session"
    assert "run `isotherm login" in ann.cli("ls").err


async def test_programs_use_the_login_that_is_saved(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = invited(platform, "ann", "--role", "viewer")
    for name in ("ISOTHERM_URL", "ISOTHERM_KEY", "ISOTHERM_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(ann.home))
    before = ann.token
    for over in (False, True):
        profile = json.loads(ann.profile.read_text())
        if over:  # by its own account; the platform would take it yet
            profile["login"]["expires_at_ms"] = 1
        else:  # the platform refuses it, though it says that it is good
            profile["login"]["access_token"] = before[:-8] + "AAAAAAAA"
        ann.profile.write_text(json.dumps(profile))
        async with AsyncClient() as client:
            assert (await client.platform.me()).name == "ann"
        with Client() as blocking:
            assert blocking.platform.me().name == "ann"
        saved = json.loads(ann.profile.read_text())["login"]  # a token of the same second is the same token
        assert saved["refresh_token"] != profile["login"]["refresh_token"]
        assert saved["access_token"] != profile["login"]["access_token"] or over
        with Client() as blocking:
            assert [function.name for function in blocking.functions.list()] == ["hello"]


def test_passwords_are_changed_and_reset(platform: Platform) -> None:
    ann = invited(platform, "ann", "--role", "viewer")
    changed = ann.cli("passwd", "--password-stdin", words=f"{PASSWORD}\nanother good passphrase\n")
    assert changed.code == 0, changed.err
    assert ann.cli("whoami").code == 0
    assert ann.login().code == 77
    assert ann.login("another good passphrase").code == 0
    reset = platform.cli("users", "reset", "ann", "--json").json
    assert ann.login("another good passphrase").code == 77
    url = platform.ready["url"]
    again = ann.cli("register", url, "--invitation", reset["invitation"], "--password-stdin", words=PASSWORD + "\n")
    assert again.code == 0, again.err


def test_an_admin_of_the_platform_may_be_a_person(platform: Platform) -> None:
    boss = invited(platform, "boss", "--role", "admin", "--everywhere")
    assert boss.cli("namespaces", "create", "team").code == 0
    assert boss.cli("users", "add", "eve", "--role", "viewer", "-n", "team").code == 0
    assert [user["name"] for user in boss.cli("users", "ls", "--json").json["items"]] == ["boss", "eve"]
    assert [user["name"] for user in boss.cli("users", "ls", "--members", "-n", "team", "--json").json["items"]] == [
        "eve"
    ]
    assert boss.cli("users", "grant", "eve", "--role", "developer", "-n", "team").code == 0
    assert boss.cli("users", "revoke", "eve", "-n", "team").code == 0
    assert boss.cli("users", "rm", "eve", "--yes").code == 0


def test_keys_have_scopes_and_are_rotated(platform: Platform) -> None:
    made = platform.cli(
        "keys", "create", "ci", "--role", "developer", "--scope", "invoke:hello", "--expires", "1h", "--json"
    ).json

    def status(token: str, name: str) -> int:
        url = f"{platform.ready['url']}/2015-03-31/functions/{name}/invocations"
        return httpx.post(url, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code

    assert (status(made["token"], "hello"), status(made["token"], "other")) == (200, 403)
    fresh = platform.cli("keys", "rotate", made["id"], "--overlap", "0s", "--json").json
    assert (status(made["token"], "hello"), status(fresh["token"], "hello")) == (401, 200)

    def used() -> bool:
        keys = platform.cli("keys", "ls", "--json").json["items"]
        return any(key["id"] == fresh["id"] and key["last_used_at_ms"] for key in keys)

    wait_until(used, "the host has told that the key was used", 60)


def test_a_storm_of_logins_stops_nothing(platform: Platform) -> None:
    ann = invited(platform, "ann", "--role", "developer")
    url, stop = platform.ready["url"], threading.Event()
    seen: list[int] = []

    def storm(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as http:
            while not stop.is_set():
                body = {"name": f"nobody-{number}-{len(seen)}", "password": "wrong"}
                seen.append(http.post("/api/v1/auth/login", json=body).status_code)
                time.sleep(0.02)  # this process has to do with the same cores

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    took: list[float] = []
    try:
        for _ in range(30):
            began = time.monotonic()
            assert ann.invoke() == 200
            headers = {"Authorization": f"Bearer {ann.token}"}
            answer = httpx.get(f"{url}/api/v1/namespaces/default/functions", headers=headers, timeout=30)
            assert answer.status_code == 200
            took.append(time.monotonic() - began)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(seen) <= {401, 429}
    assert sorted(took)[len(took) // 2] < 3.0, took
