"""`users`, `register`, `passwd`, `logout` and `whoami`: users, and who this is."""

import sys
from typing import Any, Literal

import msgspec
import typer

from isotherm.base.errors import Forbidden, Invalid, NotFound
from isotherm.cli.output import output
from isotherm.cli.times import age, moment
from isotherm.client import Client, logins
from isotherm.client.model import Invitation, User
from isotherm.client.profiles import Login, Profile, load_profile, save_profile

__all__ = [
    "add",
    "change_password",
    "grant",
    "list_members",
    "list_users",
    "log_in",
    "logout",
    "register",
    "remove",
    "reset",
    "revoke",
    "show",
    "switch",
    "whoami",
]


def log_in(url: str, name: str, from_stdin: bool, namespace: str | None) -> None:
    """Log in with name and password, and save the tokens."""
    _note_plain(url)
    _save(url, logins.log_in(url, name, read_password(f"Password of {name}", from_stdin=from_stdin)), namespace)


def register(url: str, name: str | None, invitation: str | None, from_stdin: bool, namespace: str | None) -> None:
    """Choose a password with an invitation, or where registration is open, and log in."""
    _note_plain(url)
    if name is None and invitation is None:
        invitation = read_password("Invitation", from_stdin=False)
    password = read_password("New password", from_stdin=from_stdin, confirm=True)
    _save(url, logins.register(url, name, password, invitation), namespace)


def change_password(client: Client, from_stdin: bool) -> None:
    """All sessions end; this one begins anew."""
    profile = load_profile()
    if profile is None or profile.login is None or profile.url != client.url:
        raise Invalid("passwd: a key has no password; log in with `isotherm login --user NAME` first")
    current = read_password("Current password", from_stdin=from_stdin)
    new = read_password("New password", from_stdin=from_stdin, confirm=True)
    client.auth.change_password(current, new)
    login = logins.log_in(profile.url, profile.login.name, new)
    save_profile(msgspec.structs.replace(profile, login=login))
    _say({"changed": True}, "the password is changed; all other sessions are over")


def logout() -> None:
    profile = load_profile()
    if profile is None or profile.login is None:
        raise NotFound("logout: nobody is logged in here; `isotherm whoami` says which key is used")
    logins.log_out(profile)
    _say({"logged_out": profile.url}, f"logged out of {profile.url}")


def whoami(client: Client) -> None:
    me = client.platform.me()
    if output.json:
        output.result({"url": client.url, **msgspec.to_builtins(me)})
        return
    output.line(f"{me.name or 'a key'} ({me.principal_id}) at {client.url}")
    roles = ", ".join(f"{grant.role} in {grant.namespace}" for grant in me.grants)
    output.line(f"  roles      {roles or 'none yet; an admin gives one: isotherm users grant ' + me.principal_id}")
    if me.scopes is not None:
        output.line(f"  scopes     {', '.join(me.scopes)}")
    output.line(f"  namespace  {client.namespace}")


def list_users(client: Client) -> None:
    found = list(client.users.list())
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("NAME", "ID", "STATE", "ROLES", ">LAST LOGIN"),
        ((each.name, each.id, each.state, _roles(each), age(each.last_login_at_ms)) for each in found),
        "no users; `isotherm users add NAME` invites one",
    )


def list_members(client: Client) -> None:
    found = list(client.members.list())
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("NAME", "ID", "ROLE", "STATE"),
        ((each.name, each.id, each.role, each.state) for each in found),
        f"no members of {client.namespace}, but for users with a role everywhere",
    )


def show(client: Client, who: str) -> None:
    user = client.users.get(_id(client, who))
    if output.json:
        output.result(msgspec.to_builtins(user))
        return
    output.line(f"{user.name} ({user.id}): {user.state}")
    output.line(f"  roles       {_roles(user) or 'none'}")
    output.line(f"  last login  {'never' if user.last_login_at_ms is None else moment(user.last_login_at_ms)}")


def add(client: Client, name: str, role: str | None, everywhere: bool) -> None:
    """As an admin of the platform; else, with a role, as one of the namespace."""
    place = "*" if everywhere else client.namespace
    try:
        made = client.users.invite(name, {} if role is None else {place: role})
    except Forbidden:
        if role is None or everywhere:
            raise
        made = client.members.invite(name, role)
    _show_invitation(client, made)


def reset(client: Client, who: str) -> None:
    _show_invitation(client, client.users.reset(_id(client, who)))


def switch(client: Client, who: str, what: Literal["disable", "enable", "logout", "unlock"]) -> None:
    users = client.users
    verb, done = {
        "disable": (users.disable, "disabled"),
        "enable": (users.enable, "enabled"),
        "logout": (users.logout, "ended all sessions of"),
        "unlock": (users.unlock, "unlocked"),
    }[what]
    user = verb(_id(client, who))
    _say(msgspec.to_builtins(user), f"{done} {user.name}")


def grant(client: Client, who: str, role: str, everywhere: bool) -> None:
    user_id = _id(client, who)
    member = client.users.set_role(user_id, role) if everywhere else client.members.set(user_id, role)
    place = "everywhere" if everywhere else f"in {client.namespace}"
    _say(msgspec.to_builtins(member), f"{member.name} is {role} {place}")


def revoke(client: Client, who: str, everywhere: bool) -> None:
    user_id = _id(client, who)
    if everywhere:
        client.users.delete_role(user_id)
    else:
        client.members.delete(user_id)
    place = "everywhere" if everywhere else f"in {client.namespace}"
    _say({"revoked": user_id}, f"{who} has no role {place} any more")


def remove(client: Client, who: str, yes: bool) -> None:
    user_id = _id(client, who)
    if not yes and not output.json:
        if not output.live:
            raise Invalid(f"users rm {who}: nobody is there to ask; pass --yes")
        typer.confirm(f"Delete the user {who}?", abort=True, err=True)
    client.users.delete(user_id)
    _say({"deleted": user_id}, f"deleted the user {who}")


def read_password(prompt: str, *, from_stdin: bool, confirm: bool = False) -> str:
    """Typed unseen, or a line of standard input. Raises `Invalid` where there is none."""
    if from_stdin:
        text = sys.stdin.readline(4096).rstrip("\r\n")
    elif sys.stdin.isatty():
        text = str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    else:
        raise Invalid(f"{prompt.lower()}: nobody is there to type it; give it on standard input with --password-stdin")
    if not text:
        raise Invalid(f"{prompt.lower()}: it is empty")
    return text


def _note_plain(url: str) -> None:
    if not logins.is_private(url):
        output.note(f"{url} is not https: whoever is on the way there reads the password and the tokens")


def _save(url: str, login: Login, namespace: str | None) -> None:
    """Ask who it is, so that the profile has the name and the namespace, and save it."""
    with Client(url, login.access_token) as client:
        me = client.platform.me()
    login = msgspec.structs.replace(login, name=me.name or login.name)
    profile = Profile(url=url, login=login, namespace=namespace or me.home_namespace)
    path = save_profile(profile)
    roles = ", ".join(f"{grant.role} in {grant.namespace}" for grant in me.grants) or "no role yet"
    _say(
        {"url": url, "principal_id": me.principal_id, "name": login.name, "namespace": profile.namespace},
        f"logged in to {url} as {login.name} ({roles}); saved in {path}",
    )


def _id(client: Client, who: str) -> str:
    """An id stands for itself; a name takes an admin of the platform to look up."""
    if who.startswith("pr_"):
        return who
    found = list(client.users.list(who, limit=1))
    if not found:
        raise NotFound(f"there is no user {who!r}")
    return found[0].id


def _roles(user: User) -> str:
    return ", ".join(f"{grant.role} in {grant.namespace}" for grant in user.grants)


def _show_invitation(client: Client, made: Invitation) -> None:
    if output.json:
        output.result(msgspec.to_builtins(made))
        return
    output.line(f"invitation  {made.invitation}")
    output.note(
        f"{made.user.name} ({made.user.id}) chooses a password, before {moment(made.expires_at_ms)}, with: "
        f"isotherm register {client.url}. The invitation is not shown again."
    )


def _say(result: dict[str, Any], line: str) -> None:
    if output.json:
        output.result(result)
    else:
        output.line(line)
