"""Where the platform is and with which key: `ISOTHERM_URL` and `ISOTHERM_KEY`, else what `login` or `up` saved."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from isotherm.base.errors import Invalid, Unauthenticated

__all__ = ["Login", "Profile", "find_profile", "is_loopback", "load_profile", "profile_path", "save_profile"]

DEFAULT_URL = "http://127.0.0.1:7070"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A user who is logged in."""

    name: str
    access_token: str
    expires_at_ms: int
    refresh_token: str  # good once
    device: str | None = None  # goes with the next login from here

    def __repr__(self) -> str:
        return f"Login(name={self.name!r})"  # nor is a token


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one platform: with a key, or as a user."""

    url: str
    key: str = ""
    namespace: str = "default"
    login: Login | None = None
    device: str | None = None  # of a login that was ended here

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r}, namespace={self.namespace!r})"  # a key is in no log


def profile_path() -> Path:
    """The file of profiles: `isotherm/profile.json` in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "isotherm" / "profile.json"


def find_profile(
    namespace: str | None = None, *, url: str | None = None, key: str | None = None, login: Login | None = None
) -> Profile:
    """The platform to speak to: what is given, then the environment, then the saved profile.

    A key and a login are used for the platform they are of alone. Raises `Unauthenticated` where there is neither,
    `Invalid`.
    """
    saved = load_profile()
    named = os.environ.get("ISOTHERM_URL")
    url = (url or named or (saved.url if saved else DEFAULT_URL)).rstrip("/")
    if login is not None and key is not None:
        raise Invalid("a key or a login, not both")
    if login is not None:
        key = ""
    if key is None and (named is None or named.rstrip("/") == url):
        key = os.environ.get("ISOTHERM_KEY")
    if key is None and saved is not None and saved.url.rstrip("/") == url:
        key, login = saved.key, saved.login
    if not key and login is None:
        raise Unauthenticated(
            f"no key and no login for {url}: set ISOTHERM_KEY, or run `isotherm login` (or `isotherm up` here)",
            url=url,
        )
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"ISOTHERM_URL: expected http://… or https://…, got {url!r}")
    if key and (not key.isascii() or not key.isprintable()):
        raise Invalid("the key has characters that no key has; was it cut out of its line whole?")
    default = os.environ.get("ISOTHERM_NAMESPACE") or (saved.namespace if saved else "default")
    return Profile(url=url, key=key or "", login=login, namespace=namespace or default)


def is_loopback(url: str) -> bool:
    """Whether it is on this machine; no proxy is asked for the way, and nobody is on it."""
    try:
        return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def save_profile(profile: Profile) -> Path:
    """Write it, readable by its owner alone. Raises `Invalid` where it cannot be written."""
    path = profile_path()
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        os.fchmod(fd, 0o600)  # one that was left behind may have another mode
        with os.fdopen(fd, "wb") as stream:
            stream.write(msgspec.json.encode(profile))
        fresh.replace(path)
    except OSError as exc:
        raise Invalid(f"{path}: cannot save the profile: {exc.strerror}; set XDG_CONFIG_HOME to a folder") from exc
    return path


def load_profile() -> Profile | None:
    """What was saved last; None where nothing was. Raises `Invalid` where the file is no profile."""
    path = profile_path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except msgspec.MsgspecError as exc:
        raise Invalid(f"{path}: not a profile ({exc}); remove it and run `isotherm login`") from exc
