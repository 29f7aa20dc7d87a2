"""The command `isotherm`: names, flags and help. What a command does is in `commands/`, loaded when it is called."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isotherm.base.errors import Invalid, IsothermError
from isotherm.cli.connect import connect
from isotherm.cli.develop import register as register_develop
from isotherm.cli.limits import quotas, revisions
from isotherm.cli.options import DatabaseUrl, FunctionName, Json, Limit, Namespace, QueueDatabaseUrl, RoleName
from isotherm.cli.output import output
from isotherm.cli.queue import queue
from isotherm.cli.rollout import BakeS, MinSamples, Shadow, StepS, Steps, Strategy, Watch, plan_of
from isotherm.cli.rollout import register as register_rollout
from isotherm.cli.secrets import secrets
from isotherm.cli.state import audit, register_state
from isotherm.cli.users import register_logins, users
from isotherm.cli.warmth import register_warmth
from isotherm.forecast.command import register as register_train
from isotherm.replay.command import register as register_replay

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from isotherm.replay.model import OwnRecords

__all__ = ["app", "main"]

_EXIT_INTERRUPTED = 130
_EXIT_USAGE = 2  # typer's own; the tree's is that of `Invalid`

app = typer.Typer(
    name="isotherm",
    help="A self-hosted cloud that keeps code at the right temperature.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys = typer.Typer(help="Make, list, rotate and revoke keys.", no_args_is_help=True)
alias = typer.Typer(help="Names for revisions, whole or by weights.", no_args_is_help=True)
namespaces = typer.Typer(help="Make, list and delete namespaces.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(alias, name="alias")
app.add_typer(namespaces, name="namespaces")
app.add_typer(queue, name="queue")
app.add_typer(quotas, name="quotas")
app.add_typer(revisions, name="revisions")
app.add_typer(secrets, name="secrets")
app.add_typer(users, name="users")
app.add_typer(audit, name="audit")
register_logins(app)
register_state(app)
register_warmth(app)


def main() -> None:
    """Run a command; the exit code is that of the error tree."""
    try:
        app()
    except IsothermError as exc:
        output.json = output.json or "--json" in sys.argv  # a command of another room has a flag of its own
        output.error(exc)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left, as `head` does
        sys.exit(0)
    except SystemExit as exc:
        sys.exit(Invalid.exit_code if exc.code == _EXIT_USAGE else exc.code)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"isotherm {version('isotherm')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A self-hosted cloud that keeps code at the right temperature."""


@app.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Folder of all state; made where it is missing.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: loopback.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the console and the APIs; 0 takes a free one.")] = None,
    content_port: Annotated[int | None, typer.Option(help="Port of function URLs; 0 takes a free one.")] = None,
    database: DatabaseUrl = None,
    queue_database: QueueDatabaseUrl = None,
    ready_file: Annotated[Path | None, typer.Option(help="JSON file to write once the platform serves.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    allow_unisolated: Annotated[
        bool, typer.Option("--allow-unisolated", help="Run code even where it cannot be isolated.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Deploy the examples and call each once.")] = False,
    json_: Json = False,
) -> None:
    """Start the platform and keep it running. SIGTERM or Ctrl-C drains it. `isotherm settings` lists all settings."""
    from isotherm.cli.commands import up as command

    flags = {
        "data": str(data.absolute()) if data else None,
        "host": host,
        "port": port,
        "content_port": content_port,
        "database": database,
        "queue_database": queue_database,
        "ready_file": str(ready_file.absolute()) if ready_file else None,
        "tls_cert": str(tls_cert.absolute()) if tls_cert else None,
        "tls_key": str(tls_key.absolute()) if tls_key else None,
        "allow_unisolated": allow_unisolated or None,
    }
    raise typer.Exit(command.run(flags, demo=demo))


@app.command()
def doctor(
    data: Annotated[Path | None, typer.Option(help="Folder that `up` will use.")] = None,
    port: Annotated[int | None, typer.Option(help="Port that `up` will use.")] = None,
    content_port: Annotated[int | None, typer.Option(help="Port that `up` will use.")] = None,
    database: DatabaseUrl = None,
    queue_database: QueueDatabaseUrl = None,
    json_: Json = False,
) -> None:
    """Say what this machine can isolate and what is missing. Works before `up`; exits 69 where code is not isolated."""
    from isotherm.cli.commands import doctor as command

    flags = {
        "data": str(data.absolute()) if data else None,
        "port": port,
        "content_port": content_port,
        "database": database,
        "queue_database": queue_database,
    }
    raise typer.Exit(command.run(flags))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to make it in.")] = Path(),
    template: Annotated[
        str | None, typer.Option("--template", "-t", help="As --list names them; default: python.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the function; default: that of the folder.")] = None,
    runtime: Annotated[str | None, typer.Option(help="python, nodejs or provided: the first template of it.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the templates, and make nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Into a folder with files in it, over those of its own.")
    ] = False,
    json_: Json = False,
) -> None:
    """Make a function to start from: isotherm.toml, the code, an event, and what is expected of it."""
    from isotherm.cli.commands import init as command

    if list_:
        command.list_templates()
        return
    command.run(folder, template, runtime, name, force)


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="URL of the platform.")] = "http://127.0.0.1:7070",
    key: Annotated[str | None, typer.Option(help="The key; asked for where it is not given.")] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Log in as a user, with a password.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace for later commands.")] = None,
    json_: Json = False,
) -> None:
    """Log in as a user, or check a key, and save it for later commands."""
    from isotherm.cli.commands import access

    access.login(url, key, namespace, user=user, password_stdin=password_stdin)


@app.command()
def deploy(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder with isotherm.toml and the code.")] = Path(),
    name: Annotated[str | None, typer.Option(help="Name of the function, other than the manifest's.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Set a variable.")] = None,
    public: Annotated[bool | None, typer.Option(help="Whether the URL needs no key.")] = None,
    strategy: Strategy = None,
    steps: Steps = None,
    step_s: StepS = None,
    min_samples: MinSamples = None,
    bake_s: BakeS = None,
    shadow: Shadow = None,
    abort_rollout: Annotated[
        bool, typer.Option("--abort-rollout", help="End the rollout that is moving `live`, if there is one.")
    ] = False,
    watch: Watch = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Deploy a folder of code and wait until it serves; prints its URL. Flags of a rollout win over the manifest's."""
    from isotherm.cli.commands import deploy as command

    plan = plan_of(strategy, steps, step_s, min_samples, bake_s, shadow)
    with connect(namespace) as client:
        command.run(client, folder, name, env or [], public, plan, abort_rollout=abort_rollout, watch=watch)


@app.command()
def invoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="NAME, NAME:QUALIFIER or NAMESPACE/NAME.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="The event: JSON, @FILE, or - for stdin.")] = None,
    tail: Annotated[bool, typer.Option("--tail", help="Print the call's log on standard error.")] = False,
    qualifier: Annotated[str | None, typer.Option("--qualifier", "-q", help="Alias or revision number.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check that the call would be let in.")] = False,
    async_: Annotated[
        bool, typer.Option("--async", help="Do not wait: print the id of the call, which is then durable.")
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Call a function and print its answer; exits 1 where the handler failed. With --async, see `isotherm queue`."""
    from isotherm.cli.commands import invoke as command
    from isotherm.cli.commands import invoke_stream

    with connect(namespace) as client:
        if async_:
            command.run_async(client, name, data, qualifier)
        elif stream and not dry_run:
            invoke_stream.run(client, name, data, qualifier, tail)
        else:
            command.run(client, name, data, qualifier, tail, dry_run)


@app.command("ls")
def list_functions(namespace: Namespace = None, limit: Limit = 1000, json_: Json = False) -> None:
    """List the functions of a namespace."""
    from isotherm.cli.commands import functions

    with connect(namespace) as client:
        functions.list_functions(client, limit)


@app.command()
def show(name: FunctionName, namespace: Namespace = None, json_: Json = False) -> None:
    """Show a function: its configuration, its URL, and what runs of it now."""
    from isotherm.cli.commands import functions

    with connect(namespace) as client:
        functions.show(client, name)


@app.command()
def logs(
    name: FunctionName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    since: Annotated[str | None, typer.Option(help="All from then on, such as 15m or 2h ago.")] = None,
    invocation: Annotated[str | None, typer.Option(help="Of one call alone.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The last so many, with --since the first.  [default: 100, all]")
    ] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Print what a function wrote."""
    from isotherm.cli.commands import logs as command

    with connect(namespace) as client:
        command.run(client, name, follow, since, invocation, limit)


@app.command()
def versions(name: FunctionName, limit: Limit = 20, namespace: Namespace = None, json_: Json = False) -> None:
    """List the revisions of a function, newest first."""
    from isotherm.cli.commands import functions

    with connect(namespace) as client:
        functions.versions(client, name, limit)


@app.command()
def rollback(
    name: FunctionName,
    to: Annotated[int | None, typer.Option(help="Revision number; default: the ready one before.")] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Send the calls back to an earlier revision; ends a rollout that is moving them."""
    from isotherm.cli.commands import functions

    with connect(namespace) as client:
        functions.rollback(client, name, to)


@app.command()
def triggers(name: FunctionName, namespace: Namespace = None, json_: Json = False) -> None:
    """List what calls a function by itself: its URL and its schedules, with the times that are next."""
    from isotherm.cli.commands import functions

    with connect(namespace) as client:
        functions.triggers(client, name)


@app.command("rm")
def remove(
    name: FunctionName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Delete a function with all its revisions."""
    from isotherm.cli.commands import functions

    with connect(namespace) as client:
        functions.remove(client, name, yes)


@app.command()
def invocations(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one function; default: of all.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome",
            "-o",
            help="ok, handler_error, timeout, out_of_memory, crash, rejected, import_error or invalid.",
        ),
    ] = None,
    limit: Limit = 20,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """List recorded calls, the newest first: those that were cold, failed or slow, and a sample of the others."""
    from isotherm.cli.commands import seeing

    with connect(namespace) as client:
        seeing.list_invocations(client, name, outcome, limit)


@app.command()
def explain(
    invocation: Annotated[str, typer.Argument(help="Request id of a recorded call.")],
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Say where the time of a recorded call went, why it was cold, and what would have avoided it."""
    from isotherm.cli.commands import seeing

    with connect(namespace) as client:
        seeing.explain(client, invocation)


@app.command()
def status(json_: Json = False) -> None:
    """Show the platform's version, hosts and counts."""
    from isotherm.cli.commands import seeing

    with connect(None) as client:
        seeing.status(client)


@app.command()
def settings(json_: Json = False) -> None:
    """List every setting with its variable, default and meaning."""
    from isotherm.cli.commands import seeing

    seeing.settings()


@keys.command("ls")
def list_keys(namespace: Namespace = None, json_: Json = False) -> None:
    """List the keys of a namespace; secrets are not shown."""
    from isotherm.cli.commands import access

    with connect(namespace) as client:
        access.list_keys(client)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: Annotated[RoleName, typer.Option("--role", "-r", help="What the key may do.")] = "invoker",
    expires: Annotated[str | None, typer.Option(help="When it ends, such as 12h or 30d; default: never.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", "-s", help="Only this of the role, such as read or 'invoke:img-*'; may be repeated."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="Where it is used, by whom.")] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Make a key and print it, this once."""
    from isotherm.cli.commands import access

    with connect(namespace) as client:
        access.create_key(client, name, role, expires, scope, description)


@keys.command("rotate")
def rotate_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys ls` shows it.")],
    overlap: Annotated[str, typer.Option(help="How long the former key is good yet, such as 0s or 7d.")] = "24h",
    expires: Annotated[
        str | None, typer.Option(help="When the new key ends; default: after as long as the former was made for.")
    ] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Make a key's successor, with its role and scopes, and print it, this once; both are good for a while."""
    from isotherm.cli.commands import access

    with connect(namespace) as client:
        access.rotate_key(client, key_id, overlap, expires)


@keys.command("rm")
def delete_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys ls` shows it.")],
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Revoke a key; it is refused within a second."""
    from isotherm.cli.commands import access

    with connect(namespace) as client:
        access.delete_key(client, key_id)


@alias.command("get")
def get_alias(
    name: FunctionName,
    alias_name: Annotated[str | None, typer.Argument(metavar="[ALIAS]", help="Default: all.")] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Show where an alias points, or all aliases."""
    from isotherm.cli.commands import aliases

    with connect(namespace) as client:
        aliases.get(client, name, alias_name)


@alias.command("set")
def set_alias(
    name: FunctionName,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS")],
    weights: Annotated[list[str], typer.Argument(metavar="REVISION[=WEIGHT]…", help="3, or 3=90% 4=10%.")],
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Point an alias at a revision, or split it by weights."""
    from isotherm.cli.commands import aliases

    with connect(namespace) as client:
        aliases.put(client, name, alias_name, weights)


@alias.command("rm")
def delete_alias(
    name: FunctionName,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS")],
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Delete an alias."""
    from isotherm.cli.commands import aliases

    with connect(namespace) as client:
        aliases.remove(client, name, alias_name)


@namespaces.command("ls")
def list_namespaces(json_: Json = False) -> None:
    """List the namespaces."""
    from isotherm.cli.commands import access

    with connect(None) as client:
        access.list_namespaces(client)


@namespaces.command("create")
def create_namespace(name: Annotated[str, typer.Argument(metavar="NAME")], json_: Json = False) -> None:
    """Make a namespace."""
    from isotherm.cli.commands import access

    with connect(None) as client:
        access.create_namespace(client, name)


@namespaces.command("rm")
def delete_namespace(name: Annotated[str, typer.Argument(metavar="NAME")], json_: Json = False) -> None:
    """Delete an empty namespace."""
    from isotherm.cli.commands import access

    with connect(None) as client:
        access.delete_namespace(client, name)


def _find_platform() -> tuple[str, str]:
    from isotherm.client.profiles import find_profile

    profile = find_profile()
    if profile.login is not None:
        from isotherm.client.logins import signed_in

        login = signed_in(profile).login
        return profile.url, "" if login is None else login.access_token
    return profile.url, profile.key


def _own_counts(namespaces: Sequence[str], since: int, until: int) -> Iterator[tuple[str, int, int]]:
    from isotherm.cli.commands.own import own_counts

    return own_counts(namespaces, since, until)


def _find_records(namespace: str | None, days: float) -> "AbstractContextManager[OwnRecords]":
    from isotherm.cli.commands.recorded import own_records

    return own_records(namespace, days)


register_develop(app)
register_rollout(app, connect)
register_replay(app, _find_platform, _find_records)
register_train(app, _own_counts)
