"""If-Match: a change only where the thing is still what its changer has seen. Pure."""

from isotherm.base.errors import PreconditionFailed

__all__ = ["check_etag"]


def check_etag(if_match: str | None, etag: str | None) -> None:
    """`if_match`: an If-Match header (`*`, or entity tags, quoted or bare), or None. `etag` None: it does not exist.

    Raises `PreconditionFailed` where the header names neither `*` nor this tag.
    """
    if if_match is None:
        return
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if etag is None or not ({"*", etag} & tags):
        raise PreconditionFailed("it has changed since you read it: read it again and repeat the change", etag=etag)
