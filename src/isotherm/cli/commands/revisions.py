"""`isotherm revisions`: forget old ones."""

import msgspec

from isotherm.cli.output import output
from isotherm.client import Client

__all__ = ["prune"]


def prune(client: Client, name: str, keep: int | None, dry_run: bool) -> None:
    """Forget what the policy, or `keep`, leaves over."""
    pruned = client.revisions.prune(name, keep, dry_run=dry_run)
    if output.json:
        output.result(msgspec.to_builtins(pruned))
        return
    if not pruned.dropped:
        output.line(f"{name}: nothing to forget; {pruned.kept} revisions stay")
        return
    numbers = ", ".join(map(str, pruned.dropped))
    verb = "would forget" if pruned.dry_run else "forgot"
    output.line(f"{name}: {verb} {len(pruned.dropped)} revisions ({numbers}); {pruned.kept} stay")
