"""Where the platform is and with which key: `ISOTHERM_URL` and `ISOTHERM_KEY`, else what `login` or `up` saved."""

import os
from pathlib import Path

import msgspec

from isotherm.base.errors import Invalid, Unauthenticated

__all__ = ["Login", "Profile", "find_profile", "load_profile", "profile_path", "save_profile"]

DEFAULT_URL = "http://127.0.0.1:7070"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is logged in."""

    name: str
    access_token: str
    expires_at_ms: int
    refresh_token: str  # good once
    device: str | None = None  # goes with the next login from here


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one platform: with a key, or as a person."""

    url: str
    key: str = ""
    namespace: str = "default"
    login: Login | None = None
    device: str | None = None  # of a login that was ended here


def profile_path() -> Path:
    """The file of profiles: `isotherm/profile.json` in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "isotherm" / "profile.json"


def find_profile(namespace: str | None = None) -> Profile:
    """The platform to speak to. The environment wins. Raises `Unauthenticated` where there is no key, `Invalid`."""
    saved = load_profile()
    url = os.environ.get("ISOTHERM_URL") or (saved.url if saved else DEFAULT_URL)
    key = os.environ.get("ISOTHERM_KEY")
    login: Login | None = None
    if key is None and saved is not None and saved.url.rstrip("/") == url.rstrip("/"):
        key, login = saved.key, saved.login  # never those of another platform
    if not key and login is None:
        raise Unauthenticated(
            f"no key and no login for {url}: set ISOTHERM_KEY, or run `isotherm login` (or `isotherm up` here)",
            url=url,
        )
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"ISOTHERM_URL: expected http://… or https://…, got {url!r}")
    default = os.environ.get("ISOTHERM_NAMESPACE") or (saved.namespace if saved else "default")
    return Profile(url=url.rstrip("/"), key=key or "", login=login, namespace=namespace or default)


def save_profile(profile: Profile) -> Path:
    """Write it, readable by its owner alone. Raises `Invalid` where it cannot be written."""
    path = profile_path()
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
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
