"""Logins of users: refreshed by themselves; those of the saved profile are kept there, others in memory."""

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import httpx
import msgspec

from isotherm.base.errors import Invalid, IsothermError, Unauthenticated, Unavailable, error_from_problem
from isotherm.client.model import Tokens
from isotherm.client.profiles import Login, Profile, is_loopback, load_profile, profile_path, save_profile
from isotherm.client.request import UNREADABLE

__all__ = ["LoginAuth", "end_session", "is_private", "log_in", "log_out", "register", "signed_in"]

TIMEOUT_S = 30.0
EARLY_MS = 30_000  # before its end a token is taken for over: a request may take a while to get there


class LoginAuth(httpx.Auth):
    """Puts a fresh access token on each request; after a 401 it gets another, once. Threads may share it."""

    def __init__(self, profile: Profile, verify: Any = True) -> None:
        self._profile = profile
        self._verify = verify
        self._lock = threading.Lock()  # a refresh token is good once, also where no file is there to be locked

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        sent = self._put(request, self._token(None))
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._put(request, self._token(sent))
            yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        sent = self._put(request, await self._waited_for(None))
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._put(request, await self._waited_for(sent))
            yield request

    def _put(self, request: httpx.Request, token: str) -> str:
        request.headers["Authorization"] = f"Bearer {token}"
        return token

    def _token(self, refused: str | None) -> str:
        with self._lock:
            profile = self._profile = signed_in(self._profile, refused=refused, verify=self._verify)
        return "" if profile.login is None else profile.login.access_token

    async def _waited_for(self, refused: str | None) -> str:
        """Refreshing waits for other processes and for the platform: not on the loop."""
        login = self._profile.login
        if login is not None and _is_fresh(self._profile, refused):
            return login.access_token
        return await asyncio.to_thread(self._token, refused)


def signed_in(profile: Profile, *, refused: str | None = None, verify: Any = True) -> Profile:
    """The profile of a login with an access token that is good now. `refused`: one that is not.

    One process refreshes at a time, since a refresh token is good once: the others take what it saved. Where the saved
    profile has become somebody else's, or was never this one, it stays as it is. Raises `Unauthenticated` where the
    session is over, `Unavailable`.
    """
    if _is_fresh(profile, refused) or profile.login is None:
        return profile
    with _locked():
        saved = _saved_of(profile.url, profile.login)
        if saved is not None:
            profile = msgspec.structs.replace(profile, login=saved.login)
        login = profile.login
        if _is_fresh(profile, refused) or login is None:
            return profile
        try:
            tokens = _call(profile.url, "refresh", {"refresh_token": login.refresh_token}, verify)
        except Unauthenticated as exc:
            raise Unauthenticated(
                f"your login at {profile.url} is over: run `isotherm login {profile.url} --user {login.name}`"
            ) from exc
        profile = msgspec.structs.replace(profile, login=_login(login.name, tokens, login.device))
        if saved is not None:
            save_profile(msgspec.structs.replace(saved, login=profile.login))
        return profile


def _saved_of(url: str, login: Login) -> Profile | None:
    """The saved profile, where it is a login of the same user."""
    saved = load_profile()
    if saved is None or saved.login is None or saved.url != url or saved.login.name != login.name:
        return None
    return saved


def log_in(url: str, name: str, password: str, *, verify: Any = True) -> Login:
    """For `Client(url, login=…)`; saves nothing. Raises what the platform refused it with, `Unavailable`."""
    url = url.rstrip("/")
    saved = load_profile()
    device = None
    if saved is not None and saved.url == url:
        device = saved.device if saved.login is None else saved.login.device
    body = {"name": name, "password": password} | ({"device": device} if device else {})
    return _login(name, _call(url, "login", body, verify), device)


def register(url: str, name: str | None, password: str, invitation: str | None, *, verify: Any = True) -> Login:
    """Choose a password, with an invitation or where registration is open; as `log_in`."""
    url = url.rstrip("/")
    body = {"password": password, "name": name, "invitation": invitation}
    given = {key: value for key, value in body.items() if value is not None}
    return _login(name or "", _call(url, "register", given, verify), None)


def is_private(url: str) -> bool:
    """Whether what is sent there is read by nobody on the way."""
    return url.startswith("https://") or is_loopback(url)


def end_session(url: str, login: Login, *, verify: Any = True) -> None:
    """Also with a login that was refreshed since. Raises `Unavailable`."""
    _send(url.rstrip("/"), "logout", {"refresh_token": login.refresh_token}, verify)


def log_out(profile: Profile, *, verify: Any = True) -> None:
    """End the session of a saved profile, and forget its tokens; the device's stays."""
    login = profile.login
    if login is not None:
        end_session(profile.url, login, verify=verify)
    device = profile.device if login is None else login.device
    save_profile(Profile(url=profile.url, namespace=profile.namespace, device=device))


def _login(name: str, tokens: Tokens, device: str | None) -> Login:
    return Login(
        name=name.strip().lower(),
        access_token=tokens.access_token,
        expires_at_ms=tokens.expires_at_ms,
        refresh_token=tokens.refresh_token,
        device=tokens.device or device,
    )


def _is_fresh(profile: Profile, refused: str | None) -> bool:
    """A token that another process has got since one was refused counts as fresh."""
    login = profile.login
    if login is None or refused == login.access_token:
        return False
    return refused is not None or login.expires_at_ms - EARLY_MS > time.time_ns() // 1_000_000


@contextmanager
def _locked() -> Iterator[None]:
    path = profile_path().with_name("profile.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # where nothing can be saved, nothing is shared
        yield
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _call(url: str, verb: str, body: Mapping[str, str], verify: Any) -> Tokens:
    content = _send(url, verb, body, verify)
    try:
        return msgspec.json.decode(content, type=Tokens)
    except UNREADABLE as exc:
        raise IsothermError(f"{url} gave an answer that this client does not understand; is it an Isotherm?") from exc


def _send(url: str, verb: str, body: Mapping[str, str], verify: Any) -> bytes:
    """One call that needs no key; redirects are not followed."""
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"the URL of a platform begins with https:// or http://, which {url[:200]!r} does not")
    try:
        with httpx.Client(timeout=TIMEOUT_S, verify=verify, trust_env=not is_loopback(url)) as http:
            headers = {"User-Agent": f"isotherm/{version('isotherm')}"}
            response = http.post(f"{url}/api/v1/auth/{verb}", json=dict(body), headers=headers)
    except httpx.HTTPError as exc:
        raise Unavailable(f"cannot reach {url}: {exc or type(exc).__name__}") from exc
    if response.is_success:
        return response.content
    try:
        problem = msgspec.json.decode(response.content)
    except UNREADABLE:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        raise error_from_problem(problem)
    raise Unavailable(f"{url} answered {response.status_code}: {response.text.strip()[:200]}")
