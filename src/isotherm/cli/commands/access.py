"""`keys`, `namespaces` and `login`: who may do what, and where."""

import sys
import time

import msgspec
import typer

from isotherm.base.errors import Invalid
from isotherm.cli.commands.quotas import use_text
from isotherm.cli.output import output
from isotherm.cli.times import age, parse_duration_s
from isotherm.client import Client
from isotherm.client.model import Quota
from isotherm.client.profiles import Profile, save_profile

__all__ = [
    "create_key",
    "create_namespace",
    "delete_key",
    "delete_namespace",
    "list_keys",
    "list_namespaces",
    "login",
]


def login(url: str, key: str | None, namespace: str | None) -> None:
    """Check a key and save it. It is asked for where it is not given, so that it stays out of the shell's history."""
    if key is None:
        key = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise Invalid("login: no key; give it on standard input, or as --key")
    with Client(url, key) as client:
        me = client.platform.me()
    profile = Profile(url=url.rstrip("/"), key=key, namespace=namespace or me.home_namespace)
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
        ("ID", "NAME", "ROLE", ">AGE", "EXPIRES"),
        ((each.id, each.name, each.role, age(each.created_at_ms), _expiry(each.expires_at_ms)) for each in found),
        f"no keys in {client.namespace}",
    )


def create_key(client: Client, name: str, role: str, expires: str | None) -> None:
    """Make a key and print its secrets, this once."""
    expires_at_ms = None
    if expires is not None:
        expires_at_ms = time.time_ns() // 1_000_000 + round(parse_duration_s(expires, "--expires") * 1000)
    key = client.keys.create(name, role, expires_at_ms=expires_at_ms)
    if output.json:
        output.result(msgspec.to_builtins(key))
        return
    output.line(f"key                {key.token}")
    output.line(f"access key id      {key.access_key_id}")
    output.line(f"secret access key  {key.secret_access_key}")
    output.note(f"{key.id}: {role} in {client.namespace}. Keep these; they are not shown again.")


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
