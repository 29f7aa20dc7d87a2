"""How many calls came, minute by minute: read from the platform for `train --own`."""

from collections.abc import Iterator, Sequence

from isotherm.cli.connect import connect

__all__ = ["own_counts"]


def own_counts(namespaces: Sequence[str], since: int, until: int) -> Iterator[tuple[str, int, int]]:
    """(NAMESPACE/FUNCTION, minute, calls) in [since, until), of these namespaces; without any of the client's own."""
    for namespace in namespaces or (None,):
        with connect(namespace) as client:
            for each in client.invocations.minutes(since_minute=since, until_minute=until):
                yield f"{client.namespace}/{each.name}", each.minute, each.count
