"""Logins of people at the command line: tokens are kept in the profile, and refreshed by themselves."""

import fcntl
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import httpx
import msgspec

from isotherm.base.errors import Unauthenticated, Unavailable, error_from_problem
from isotherm.cli.profiles import Login, Profile, load_profile, profile_path, save_profile
from isotherm.cli.views import Tokens

__all__ = ["LoginAuth", "log_in", "log_out", "register", "signed_in"]

T = TypeVar("T")
TIMEOUT_S = 30.0
EARLY_MS = 30_000  # before its end a token is taken for over: a call may take a while to get there


class LoginAuth(httpx.Auth):
    """Puts a fresh access token on each request; after a 401 it gets another, once."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self._token(after=request.headers['Authorization'])}"
            yield request

    def _token(self, after: str | None = None) -> str:
        self.profile = signed_in(self.profile, after=after)
        assert self.profile.login is not None
        return self.profile.login.access_token


def signed_in(profile: Profile, *, after: str | None = None) -> Profile:
    """The profile with an access token that is good now. `after`: an Authorization header that was refused.

    One process refreshes at a time, since a refresh token is good once: the others take what it saved. Raises
    `Unauthenticated` where the session is over.
    """
    if _is_fresh(profile, after):
        return profile
    with _locked():
        saved = load_profile()
        if saved is not None and saved.login is not None and saved.url == profile.url:
            profile = msgspec.structs.replace(saved, namespace=profile.namespace)
        if _is_fresh(profile, after):
            return profile
        assert profile.login is not None
        try:
            tokens = _call(profile.url, "POST", "/api/v1/auth/refresh", {"refresh_token": profile.login.refresh_token})
        except Unauthenticated as exc:
            raise Unauthenticated(
                f"your login at {profile.url} is over: run `isotherm login {profile.url} --user {profile.login.name}`"
            ) from exc
        renewed = msgspec.structs.replace(profile, login=_login(profile.login.name, tokens, profile.login.device))
        kept = saved.namespace if saved is not None else profile.namespace
        save_profile(msgspec.structs.replace(renewed, namespace=kept))
        return renewed


def log_in(url: str, name: str, password: str) -> Login:
    """Raises what the platform refused it with."""
    saved = load_profile()
    device = saved.login.device if saved is not None and saved.login is not None and saved.url == url else None
    if saved is not None and device is None and saved.url == url:
        device = saved.device
    body = {"name": name, "password": password} | ({"device": device} if device else {})
    return _login(name, _call(url, "POST", "/api/v1/auth/login", body), device)


def register(url: str, name: str | None, password: str, invitation: str | None) -> Login:
    """Raises what the platform refused it with."""
    body = {"password": password, "name": name, "invitation": invitation}
    given = {key: value for key, value in body.items() if value is not None}
    return _login(name or "", _call(url, "POST", "/api/v1/auth/register", given), None)


def log_out(profile: Profile) -> None:
    """End the session of a profile, and forget its tokens; the device's stays."""
    if profile.login is not None:
        _call(profile.url, "POST", "/api/v1/auth/logout", {"refresh_token": profile.login.refresh_token}, empty=True)
    device = profile.login.device if profile.login is not None else profile.device
    save_profile(Profile(url=profile.url, namespace=profile.namespace, device=device))


def _login(name: str, tokens: Tokens, device: str | None) -> Login:
    return Login(
        name=name,
        access_token=tokens.access_token,
        expires_at_ms=tokens.expires_at_ms,
        refresh_token=tokens.refresh_token,
        device=tokens.device or device,
    )


def _is_fresh(profile: Profile, after: str | None) -> bool:
    login = profile.login
    if login is None or after == f"Bearer {login.access_token}":
        return False
    return after is not None or login.expires_at_ms - EARLY_MS > time.time_ns() // 1_000_000


@contextmanager
def _locked() -> Iterator[None]:
    path = profile_path().with_name("profile.lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _call(url: str, method: str, path: str, body: dict[str, Any], *, empty: bool = False) -> Tokens:
    """One call without a key. `empty`: there is no answer but that it is done."""
    local = url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=not local) as http:
            headers = {"User-Agent": f"isotherm/{version('isotherm')}"}
            response = http.request(method, url + path, json=body, headers=headers)
    except httpx.HTTPError as exc:
        raise Unavailable(f"cannot reach {url}: {exc or type(exc).__name__}") from exc
    if response.is_error:
        raise error_from_problem(_problem(response))
    if empty:
        return Tokens(access_token="", expires_at_ms=0, refresh_token="", refresh_expires_at_ms=0, principal_id="")
    try:
        return msgspec.json.decode(response.content, type=Tokens)
    except msgspec.MsgspecError as exc:
        raise Unavailable(f"{url} gave no answer of an Isotherm: {exc}") from exc


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(response.content)
    except msgspec.MsgspecError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return problem
    return {"code": "unavailable", "detail": f"{response.request.url} answered {response.status_code}"}
