"""`isotherm users`, and the commands of one's own login: names, flags and help."""

from typing import Annotated, Literal

import typer

from isotherm.cli.connect import connect
from isotherm.cli.options import Json, Namespace, RoleName

__all__ = ["register_logins", "users"]

users = typer.Typer(help="People: invite, give roles, disable, reset.", no_args_is_help=True)
Url = Annotated[str, typer.Argument(help="URL of the platform.")]
Who = Annotated[str, typer.Argument(metavar="USER", help="Name or id of the user.", show_default=False)]
Role = Annotated[RoleName, typer.Option("--role", "-r", help="What the user may do.")]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="In all namespaces, and on the platform itself.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read passwords from standard input, a line each.")]


def register_logins(app: typer.Typer) -> None:
    """Those that stand by themselves."""
    for command in (register, logout, whoami, passwd):
        app.command()(command)


def register(
    url: Url = "http://127.0.0.1:7070",
    user: Annotated[
        str | None, typer.Option("--user", "-u", help="Your name, where registration is open; an invitation has it.")
    ] = None,
    invitation: Annotated[str | None, typer.Option(help="What an admin gave you; asked for without --user.")] = None,
    password_stdin: FromStdin = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Choose a password and log in, with an invitation or where registration is open."""
    from isotherm.cli.commands import users as command

    command.register(url.rstrip("/"), user, invitation, password_stdin, namespace)


def logout(json_: Json = False) -> None:
    """End the login that is saved."""
    from isotherm.cli.commands import users as command

    command.logout()


def whoami(namespace: Namespace = None, json_: Json = False) -> None:
    """Say who the platform takes you for, and what you may do."""
    from isotherm.cli.commands import users as command

    with connect(namespace) as client:
        command.whoami(client)


def passwd(password_stdin: FromStdin = False, json_: Json = False) -> None:
    """Change your password; ends all your other sessions."""
    from isotherm.cli.commands import users as command

    with connect(None) as client:
        command.change_password(client, password_stdin)


@users.command("ls")
def list_users(
    members: Annotated[bool, typer.Option("--members", help="Those of the namespace, as its admins see them.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """List users, their roles and states."""
    from isotherm.cli.commands import users as command

    with connect(namespace) as client:
        if members:
            command.list_members(client)
        else:
            command.list_users(client)


@users.command("show")
def show(user: Who, json_: Json = False) -> None:
    """Show a user."""
    from isotherm.cli.commands import users as command

    with connect(None) as client:
        command.show(client, user)


@users.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the user types to log in.")],
    role: Annotated[
        RoleName | None,
        typer.Option("--role", "-r", help="What the user may do; default: nothing yet."),
    ] = None,
    everywhere: Everywhere = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Invite a user, with a role in the namespace or everywhere. Prints an invitation to choose a password, once."""
    from isotherm.cli.commands import users as command

    with connect(namespace) as client:
        command.add(client, name, role, everywhere)


@users.command("grant")
def grant(
    user: Who, role: Role, everywhere: Everywhere = False, namespace: Namespace = None, json_: Json = False
) -> None:
    """Give a user a role, in place of the one there."""
    from isotherm.cli.commands import users as command

    with connect(namespace) as client:
        command.grant(client, user, role, everywhere)


@users.command("revoke")
def revoke(user: Who, everywhere: Everywhere = False, namespace: Namespace = None, json_: Json = False) -> None:
    """Take a user's role in the namespace, or the one for everywhere."""
    from isotherm.cli.commands import users as command

    with connect(namespace) as client:
        command.revoke(client, user, everywhere)


@users.command("disable")
def disable(user: Who, json_: Json = False) -> None:
    """Shut a user out; sessions end within a second."""
    _switch(user, "disable")


@users.command("enable")
def enable(user: Who, json_: Json = False) -> None:
    """Let a user log in again."""
    _switch(user, "enable")


@users.command("logout")
def end_sessions(user: Who, json_: Json = False) -> None:
    """End all sessions of a user, who may log in again."""
    _switch(user, "logout")


@users.command("unlock")
def unlock(user: Who, json_: Json = False) -> None:
    """End a lock-out after wrong passwords."""
    _switch(user, "unlock")


@users.command("reset")
def reset(user: Who, json_: Json = False) -> None:
    """Forget a user's password and print an invitation to choose another, once."""
    from isotherm.cli.commands import users as command

    with connect(None) as client:
        command.reset(client, user)


@users.command("rm")
def remove(
    user: Who, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, json_: Json = False
) -> None:
    """Delete a user; the audit log keeps the id, and never had the name."""
    from isotherm.cli.commands import users as command

    with connect(None) as client:
        command.remove(client, user, yes)


def _switch(user: str, what: Literal["disable", "enable", "logout", "unlock"]) -> None:
    from isotherm.cli.commands import users as command

    with connect(None) as client:
        command.switch(client, user, what)
