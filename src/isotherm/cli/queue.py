"""`isotherm queue`: names, flags and help of its commands."""

from typing import Annotated

import typer

from isotherm.cli.connect import connect
from isotherm.cli.options import FunctionName, Json, Limit, Namespace

__all__ = ["queue"]

queue = typer.Typer(help="Look at asynchronous calls and steer their queues.", no_args_is_help=True)


@queue.command("ls")
def list_queues(namespace: Namespace = None, json_: Json = False) -> None:
    """List the queues of a namespace: what waits, runs, succeeded and died."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.list_queues(client)


@queue.command("calls")
def list_calls(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one function; default: of all.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", "-s", help="queued, running, succeeded, dead or redriven.")
    ] = None,
    limit: Limit = 50,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """List asynchronous calls, the newest first."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.list_calls(client, name, state, limit)


@queue.command("show")
def show_call(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="As `invoke --async` printed it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Until it is over.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Show one asynchronous call: its state, its event, its result. Exits 1 where it is a dead letter."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.show(client, call_id, wait=wait)


@queue.command("pause")
def pause_queue(name: FunctionName, namespace: Namespace = None, json_: Json = False) -> None:
    """Hold a function's asynchronous calls back. They are still accepted."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.steer(client, name, "pause", "held back")


@queue.command("resume")
def resume_queue(name: FunctionName, namespace: Namespace = None, json_: Json = False) -> None:
    """Deliver a function's asynchronous calls again."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.steer(client, name, "resume", "delivered again")


@queue.command("purge")
def purge_queue(
    name: FunctionName,
    dead: Annotated[bool, typer.Option("--dead", help="The dead letters instead of what waits.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Delete the calls of a function that wait, or its dead letters."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.purge(client, name, dead=dead, yes=yes)


@queue.command("redrive")
def redrive_queue(
    name: FunctionName,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Dead letters; default: all.")] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Make new calls of a function's dead letters."""
    from isotherm.cli.commands import queue as command

    with connect(namespace) as client:
        command.redrive(client, name, ids or None)
