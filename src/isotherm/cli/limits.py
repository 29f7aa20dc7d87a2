"""`isotherm quotas` and `isotherm revisions`: names, flags and help, as `main` has those of the other commands."""

from typing import Annotated

import typer

from isotherm.cli.connect import connect
from isotherm.cli.options import FunctionName, Json, Namespace

__all__ = ["quotas", "revisions"]

quotas = typer.Typer(help="What namespaces may use, and what they use.", no_args_is_help=True)
revisions = typer.Typer(help="Forget old revisions.", no_args_is_help=True)

NamespaceName = Annotated[str, typer.Argument(metavar="NAMESPACE")]


@quotas.command("set")
def set_quota(
    namespace: NamespaceName,
    instances: Annotated[str | None, typer.Option(help="Instances at once, spares with them.")] = None,
    memory_mb: Annotated[str | None, typer.Option(help="Memory limits of all instances at once, MB.")] = None,
    rate_per_s: Annotated[str | None, typer.Option("--rate", help="Calls a second over all functions.")] = None,
    burst: Annotated[str | None, typer.Option(help="Calls at once above the rate.")] = None,
    disk_mb: Annotated[str | None, typer.Option(help="Packages, code and dependencies, MB.")] = None,
    log_mb: Annotated[str | None, typer.Option(help="Log lines kept, MB.")] = None,
    log_kb_per_s: Annotated[str | None, typer.Option("--log-rate-kb", help="Log output a second, KB.")] = None,
    warm_budget: Annotated[
        str | None,
        typer.Option(help="What all its functions may cost in warmth: 'p_cold <= 1%' or 'idle <= 2 GBh/day'."),
    ] = None,
    json_: Json = False,
) -> None:
    """Set limits of a namespace; those not named stay. `none` follows the platform's default again."""
    from isotherm.cli.commands import quotas as command

    given = {
        "instances": instances,
        "memory_mb": memory_mb,
        "rate_per_s": rate_per_s,
        "burst": burst,
        "disk_mb": disk_mb,
        "log_mb": log_mb,
        "log_kb_per_s": log_kb_per_s,
        "warm_budget": warm_budget,
    }
    with connect(None) as client:
        command.change(client, namespace, {name: text for name, text in given.items() if text is not None})


@quotas.command("show")
def show_quota(namespace: NamespaceName, json_: Json = False) -> None:
    """Show what a namespace may use and what it uses."""
    from isotherm.cli.commands import quotas as command

    with connect(None) as client:
        command.show(client, namespace)


@quotas.command("ls")
def list_quotas(json_: Json = False) -> None:
    """List the namespaces with what they use of what they may use."""
    from isotherm.cli.commands import quotas as command

    with connect(None) as client:
        command.list_quotas(client)


@revisions.command("prune")
def prune_revisions(
    name: FunctionName,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep so many of the newest, however young the others are.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would go.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Forget the old revisions of a function, by the platform's policy or by --keep.

    Those that an alias points to, the newest ready one, and those called within the last day stay in any case.
    """
    from isotherm.cli.commands import revisions as command

    with connect(namespace) as client:
        command.prune(client, name, keep, dry_run)
