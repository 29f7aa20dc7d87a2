"""The client of a command: the platform that the environment or the profile names, loaded when it is first needed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isotherm.client import Client

__all__ = ["connect"]

RETRY_S = 10.0  # control restarts within two seconds


def connect(namespace: str | None) -> "Client":
    """Close it, or use it as a context. Raises `Invalid` where no platform is known."""
    from isotherm.client import Client

    return Client(namespace=namespace, retry_s=RETRY_S)
