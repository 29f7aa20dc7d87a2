"""Markers of pages: opaque, as in AWS's answers."""

import base64
import binascii

from isotherm.aws.fault import AwsError

__all__ = ["marker_of", "position_of", "size_of"]


def marker_of(position: str | int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def position_of(marker: str | None) -> str:
    """Raises `AwsError` where it is none of ours. "": the beginning."""
    if not marker:
        return ""
    try:
        return base64.urlsafe_b64decode(marker.encode()).decode()
    except (binascii.Error, ValueError) as exc:
        raise AwsError(
            "InvalidParameterValueException", "The marker is not valid: use that of the page before"
        ) from exc


def size_of(asked: int | None, most: int = 50) -> int:
    """AWS gives at most 50 items a page, whatever is asked for."""
    return min(asked or most, most)
