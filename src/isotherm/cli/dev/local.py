"""A platform of one's own for as long as `isotherm dev` or `isotherm test` runs: in a folder that goes with it."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isotherm.base.errors import Unauthenticated, Unavailable
from isotherm.base.settings import load_settings
from isotherm.cli.commands.up import wait_until_ready
from isotherm.cli.output import output
from isotherm.cli.platform import Platform
from isotherm.client import Client
from isotherm.client.profiles import Profile, find_profile

__all__ = ["some_platform"]

CONTENT_PORT = 7071  # so that a URL stays the same from day to day, where nobody else has it


@contextmanager
def some_platform(namespace: str | None, *, private: bool, allow_unisolated: bool) -> Iterator[tuple[Client, Profile]]:
    """The platform of the profile; where none answers, or `private`, one that is started and ends with the context.

    Gives a client, and how it reaches the platform. Raises `Unavailable` where it cannot be started.
    """
    found = None if private else _answering(namespace)
    if found is not None:
        with _client_of(found) as client:
            yield client, found
        return
    with _private(allow_unisolated) as profile, _client_of(profile) as client:
        yield client, profile


def _client_of(profile: Profile) -> Client:
    return Client(profile.url, profile.key, profile.namespace)


def _answering(namespace: str | None) -> Profile | None:
    """None where no platform is known, or the known one is not there. Raises what it refuses the key with."""
    try:
        profile = find_profile(namespace)
    except Unauthenticated:
        return None
    with _client_of(profile) as client:
        try:
            client.platform.me()
        except Unavailable:
            return None
    return profile


@contextmanager
def _private(allow_unisolated: bool) -> Iterator[Profile]:
    folder = Path(tempfile.mkdtemp(prefix="isotherm-dev-"))
    flags = {
        "data": str(folder / "data"),
        "port": 0,
        "content_port": CONTENT_PORT if _is_free(CONTENT_PORT) else 0,
        "allow_unisolated": allow_unisolated or None,
        "drain_timeout_s": 2.0,
    }
    settings = load_settings(flags, {})  # not those of a platform that happens to be configured here
    if not output.json:
        output.note(f"no platform answers: starting one for this session in {folder}")
    try:
        with Platform(settings) as platform:
            ready = wait_until_ready(platform, settings)
            if ready is None:
                raise KeyboardInterrupt
            yield Profile(url=ready.url, key=ready.admin_key)
            platform.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
