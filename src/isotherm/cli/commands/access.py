"""`keys`, `namespaces` and `login`: who may do what, and where."""

import sys
import time

import msgspec
import typer

from isotherm.base.errors import Invalid
from isotherm.cli.commands import users
from isotherm.cli.commands.quotas import use_text
from isotherm.cli.output import output
from isotherm.cli.times import age, parse_duration_s
from isotherm.client import Client
from isotherm.client.model import Key, Quota
from isotherm.client.profiles import Profile, save_profile

__all__ = [
    "create_key",
    "create_namespace",
    "delete_key",
    "delete_namespace",
    "list_keys",
    "list_namespaces",
    "login",
    "rotate_key",
]


def login(url: str, key: str | None, namespace: str | None, *, user: str | None, password_stdin: bool) -> None:
    """Log in with name and password, or check a key, and save it. What is secret is asked for where it is not given, so
    that it stays out of the shell's history."""
    url = url.rstrip("/")
    if user is not None and key is not None:
        raise Invalid("login: --user or --key, not both")
    if user is None and password_stdin:
        raise Invalid("login: --password-stdin needs --user")
    if user is None and key is None and sys.stdin.isatty():
        user = str(typer.prompt("User (empty: log in with a key)", default="", show_default=False, err=True)) or None
    if user is not None:
        users.log_in(url, user, password_stdin, namespace)
        return
    if key is None:
        key = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise Invalid("login: no key; give it on standard input, or as --key")
    with Client(url, key) as client:
        me = client.platform.me()
    profile = Profile(url=url, key=key, namespace=namespace or me.home_namespace)
    path = save_profile(profile)
    if output.json:
        output.result({"url": profile.url, "principal_id": me.principal_id, "namespace": profile.namespace})
        return
    roles = ", ".join(f"{grant.role} in {grant.namespace}" for grant in me.grants)
    output.line(f"logged in to {profile.url} as {me.principal_id} ({roles}); saved in {path}")


def list_keys(client: Client) -> None:
    found = list(client.keys.list())
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("ID", "NAME", "ROLE", "SCOPES", ">AGE", ">USED", "EXPIRES"),
        (
            (
                each.id,
                each.name,
                each.role,
                "all" if each.scopes is None else " ".join(each.scopes),
                age(each.created_at_ms),
                age(each.last_used_at_ms) or "never",
                _expiry(each.expires_at_ms),
            )
            for each in found
        ),
        f"no keys in {client.namespace}",
    )


def create_key(
    client: Client, name: str, role: str, expires: str | None, scopes: list[str] | None, description: str | None
) -> None:
    """Make a key and print its secrets, this once."""
    key = client.keys.create(
        name, role, expires_at_ms=_expires_at_ms(expires), scopes=scopes or None, description=description
    )
    _show_key(client, key, role)


def rotate_key(client: Client, key_id: str, overlap: str, expires: str | None) -> None:
    """Make the key's successor and print its secrets, this once."""
    overlap_s = parse_duration_s(overlap, "--overlap")
    key = client.keys.rotate(key_id, overlap_s=overlap_s, expires_at_ms=_expires_at_ms(expires))
    _show_key(client, key, key.role)
    output.note(f"{key_id} is good for {overlap} yet")


def _expires_at_ms(expires: str | None) -> int | None:
    if expires is None:
        return None
    return time.time_ns() // 1_000_000 + round(parse_duration_s(expires, "--expires") * 1000)


def _show_key(client: Client, key: Key, role: str) -> None:
    if output.json:
        output.result(msgspec.to_builtins(key))
        return
    output.line(f"key                {key.token}")
    output.line(f"access key id      {key.access_key_id}")
    output.line(f"secret access key  {key.secret_access_key}")
    scopes = "" if key.scopes is None else f", as far as {' '.join(key.scopes)}"
    output.note(f"{key.id}: {role} in {client.namespace}{scopes}. Keep these; they are not shown again.")


def delete_key(client: Client, key_id: str) -> None:
    client.keys.delete(key_id)
    if output.json:
        output.result({"deleted": key_id})
        return
    output.line(f"revoked {key_id}")


def list_namespaces(client: Client) -> None:
    found = list(client.namespaces.list())
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    quotas = {quota.namespace: quota for quota in client.quotas.list()}
    output.table(
        ("NAME", ">AGE", ">INSTANCES", ">MEMORY, MB"),
        ((each.name, age(each.created_at_ms), *_uses(quotas.get(each.name))) for each in found),
        "no namespaces",
    )


def create_namespace(client: Client, name: str) -> None:
    namespace = client.namespaces.create(name)
    if output.json:
        output.result(msgspec.to_builtins(namespace))
        return
    output.line(f"made the namespace {namespace.name}")


def delete_namespace(client: Client, name: str) -> None:
    client.namespaces.delete(name)
    if output.json:
        output.result({"deleted": name})
        return
    output.line(f"deleted the namespace {name}")


def _uses(quota: Quota | None) -> tuple[str, str]:
    """What of its quota is used; empty where this key may not see it."""
    return ("", "") if quota is None else (use_text(quota, "instances"), use_text(quota, "memory_mb"))


def _expiry(at_ms: int | None) -> str:
    if at_ms is None:
        return "never"
    left_ms = at_ms - time.time_ns() // 1_000_000
    return "expired" if left_ms <= 0 else f"in {age(0, left_ms)}"
