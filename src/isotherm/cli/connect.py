"""The client of a command: the platform that the environment or the profile names, loaded when it is first needed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isotherm.cli.client import Client

__all__ = ["connect"]


def connect(namespace: str | None) -> "Client":
    """Close it, or use it as a context. Raises `Invalid` where no platform is known."""
    from isotherm.cli.client import Client
    from isotherm.cli.profiles import find_profile

    return Client(find_profile(namespace))
