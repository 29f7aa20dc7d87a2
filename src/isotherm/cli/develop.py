"""The commands of the inner loop: names, flags and help."""

from pathlib import Path
from typing import Annotated

import typer

from isotherm.cli.connect import connect
from isotherm.cli.options import Json, Namespace

__all__ = ["register"]

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder with isotherm.toml and the code.")]
Private = Annotated[
    bool, typer.Option("--private", help="On a platform of its own, started for it, even where another one answers.")
]
Unisolated = Annotated[
    bool, typer.Option("--allow-unisolated", help="Let a platform of its own run code that it cannot isolate.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""

    @app.command()
    def dev(
        folder: Folder = Path(),
        name: Annotated[str | None, typer.Option(help="Of the development function; default: NAME-dev.")] = None,
        debug: Annotated[bool, typer.Option("--debug", help="Let a debugger attach: breakpoints, in Python.")] = False,
        debug_port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 5678,
        private: Private = False,
        allow_unisolated: Unisolated = False,
        namespace: Namespace = None,
        json_: Json = False,
    ) -> None:
        """Run a folder of code while you write it: reload on save, log inline; all of it goes at the end."""
        from isotherm.cli.dev import command

        command.run(
            folder,
            name,
            namespace,
            debug_port=debug_port if debug else None,
            private=private,
            allow_unisolated=allow_unisolated,
        )

    @app.command("test")
    def test(
        folder: Folder = Path(),
        only: Annotated[
            str | None, typer.Option("-k", metavar="NAME", help="Only events with this in their name.")
        ] = None,
        junit: Annotated[Path | None, typer.Option(help="File for a report in JUnit's XML.")] = None,
        private: Private = False,
        allow_unisolated: Unisolated = False,
        namespace: Namespace = None,
        json_: Json = False,
    ) -> None:
        """Call the code with its own events (events/*.json) in a real sandbox; exits 1 where one came out otherwise."""
        from isotherm.cli.testing import command

        raise typer.Exit(
            command.run(folder, only, junit, namespace, private=private, allow_unisolated=allow_unisolated)
        )

    @app.command("replay-call")
    def replay_call(
        call: Annotated[str, typer.Argument(metavar="ID", help="Request id of a recorded call.")],
        revision: Annotated[
            str | None, typer.Option("--revision", "-r", help="Number or alias to compare with; default: live.")
        ] = None,
        ignore: Annotated[
            list[str] | None,
            typer.Option(metavar="PLACE", help="A part of the answer that may differ, as /request_id."),
        ] = None,
        logs: Annotated[bool, typer.Option("--logs", help="Count differences of the log, too.")] = False,
        yes: Annotated[
            bool, typer.Option("--yes", "-y", help="Do not ask: the handler runs again, side effects too.")
        ] = False,
        namespace: Namespace = None,
        json_: Json = False,
    ) -> None:
        """Make a recorded call again, on its own revision and on another, and compare; exits 1 on a difference."""
        from isotherm.cli.commands import replay_call as command

        with connect(namespace) as client:
            raise typer.Exit(command.run(client, call, revision, ignore or [], logs=logs, yes=yes))
