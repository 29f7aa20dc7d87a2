"""Users: all of them, for admins of the platform; those of a namespace, for its admins."""

from typing import Annotated

from fastapi import Depends, Path, Query
from starlette.responses import Response

from isotherm.api.answers import Cursor, Limit, Namespace, json_answer, no_content, page_answer
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import MemberList, MemberRequest, RoleRequest, UserList, UserRequest
from isotherm.tenancy.model import EVERYWHERE, Grant, Invitation, Member, User

__all__ = ["routes"]

routes = RouteTable("users")
_one = "/api/v1/users/{user_id}"
_members = "/api/v1/namespaces/{ns}/members"
_member = _members + "/{user_id}"
_user_body = JsonBody(UserRequest)
_role_body = JsonBody(RoleRequest)
_member_body = JsonBody(MemberRequest)
UserId = Annotated[str, Path(pattern=r"^pr_[0-9a-z]{1,40}$", description="Id of a user")]
_invited = Answer(Invitation, "The user, and an invitation to choose a password, shown this once", location=True)


@routes.add(
    "GET",
    "/api/v1/users",
    permission="users.read",
    summary="Users",
    answers={200: Answer(UserList, "By name")},
)
def list_users(
    call: ToCall,
    limit: Limit = 100,
    cursor: Cursor = None,
    name: Annotated[str | None, Query(min_length=1, max_length=63, description="This one alone")] = None,
) -> Response:
    """All users, with their roles."""
    return page_answer(call.services.users.page(call.principal, name=name, limit=limit, cursor=cursor))


@routes.add(
    "POST",
    "/api/v1/users",
    permission="users.manage",
    summary="Invite a user",
    body=_user_body,
    answers={201: _invited},
)
def invite_user(call: ToCall, body: Annotated[UserRequest, Depends(_user_body)]) -> Response:
    """A new user who chooses a password with the invitation, within a week."""
    grants = [Grant(grant.namespace, grant.role) for grant in body.grants]
    made = call.services.users.invite(call.principal, body.name, grants)
    return json_answer(made, status=201, location=f"/api/v1/users/{made.user.id}")


@routes.add("GET", _one, permission="users.read", summary="One user", answers={200: Answer(User, "The user")})
def get_user(call: ToCall, user_id: UserId) -> Response:
    """A user by id."""
    return json_answer(call.services.users.get(call.principal, user_id))


@routes.add(
    "DELETE",
    _one,
    permission="users.manage",
    summary="Delete a user",
    answers={204: Answer(None, "Name, password, roles and sessions are gone")},
)
def delete_user(call: ToCall, user_id: UserId) -> Response:
    """The audit log goes on to have the id, and never had the name."""
    call.services.users.delete(call.principal, user_id)
    call.services.settle()
    return no_content()


@routes.add(
    "POST",
    _one + "/disable",
    permission="users.manage",
    summary="Disable a user",
    answers={200: Answer(User, "The user, who is out on every host that is connected")},
)
def disable_user(call: ToCall, user_id: UserId) -> Response:
    """Sessions end, and no login is taken. Roles stay for when the user is enabled again."""
    found = call.services.users.disable(call.principal, user_id)
    call.services.settle()
    return json_answer(found)


@routes.add(
    "POST",
    _one + "/enable",
    permission="users.manage",
    summary="Enable a user",
    answers={200: Answer(User, "The user")},
)
def enable_user(call: ToCall, user_id: UserId) -> Response:
    """Logins are taken again."""
    found = call.services.users.enable(call.principal, user_id)
    call.services.settle()
    return json_answer(found)


@routes.add(
    "POST",
    _one + "/logout",
    permission="users.manage",
    summary="End a user's sessions",
    answers={200: Answer(User, "The user")},
)
def end_user_sessions(call: ToCall, user_id: UserId) -> Response:
    """All of them; the user may log in again."""
    found = call.services.users.end_sessions(call.principal, user_id)
    call.services.settle()
    return json_answer(found)


@routes.add(
    "POST",
    _one + "/unlock",
    permission="users.manage",
    summary="Unlock a user",
    answers={200: Answer(User, "The user")},
)
def unlock_user(call: ToCall, user_id: UserId) -> Response:
    """Wrong passwords of before do not count any more."""
    return json_answer(call.services.users.unlock(call.principal, user_id))


@routes.add(
    "POST",
    _one + "/reset",
    permission="users.manage",
    summary="Reset a user's password",
    answers={201: _invited},
)
def reset_user(call: ToCall, user_id: UserId) -> Response:
    """The password is forgotten, sessions end; the user chooses another with the invitation."""
    made = call.services.users.reset(call.principal, user_id)
    call.services.settle()
    return json_answer(made, status=201, location=f"/api/v1/users/{made.user.id}")


@routes.add(
    "PUT",
    _one + "/role",
    permission="users.manage",
    summary="Give a user a role everywhere",
    body=_role_body,
    answers={200: Answer(Member, "The user with this role")},
)
def set_user_role(call: ToCall, user_id: UserId, body: Annotated[RoleRequest, Depends(_role_body)]) -> Response:
    """In place of the one that the user had for everywhere; roles in namespaces stay."""
    found = call.services.users.set_role(call.principal, EVERYWHERE, user_id, body.role)
    call.services.settle()
    return json_answer(found)


@routes.add(
    "DELETE",
    _one + "/role",
    permission="users.manage",
    summary="Take a user's role everywhere",
    answers={204: Answer(None, "Roles in namespaces stay")},
)
def remove_user_role(call: ToCall, user_id: UserId) -> Response:
    """At once, on every host that is connected."""
    call.services.users.remove_role(call.principal, EVERYWHERE, user_id)
    call.services.settle()
    return no_content()


@routes.add(
    "GET",
    _members,
    permission="members.read",
    summary="Members of a namespace",
    answers={200: Answer(MemberList, "Users with a role in it, by id")},
)
def list_members(call: ToCall, ns: Namespace, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Without those whose role is for everywhere."""
    return page_answer(call.services.users.members(call.principal, ns, limit=limit, cursor=cursor))


@routes.add(
    "POST",
    _members,
    permission="members.set",
    summary="Invite a member",
    body=_member_body,
    answers={201: _invited},
)
def invite_member(call: ToCall, ns: Namespace, body: Annotated[MemberRequest, Depends(_member_body)]) -> Response:
    """A new user with a role in this namespace, where the setting `registration` is not `closed`."""
    made = call.services.users.invite_member(call.principal, ns, body.name, body.role)
    return json_answer(made, status=201, location=f"/api/v1/namespaces/{ns}/members/{made.user.id}")


@routes.add(
    "PUT",
    _member,
    permission="members.set",
    summary="Give a user a role",
    body=_role_body,
    answers={200: Answer(Member, "The user with this role")},
)
def set_member(
    call: ToCall, ns: Namespace, user_id: UserId, body: Annotated[RoleRequest, Depends(_role_body)]
) -> Response:
    """In place of the one that the user has there. Users see their id with `isotherm whoami`."""
    found = call.services.users.set_role(call.principal, ns, user_id, body.role)
    call.services.settle()
    return json_answer(found)


@routes.add(
    "DELETE",
    _member,
    permission="members.set",
    summary="Take a user's role",
    answers={204: Answer(None, "The user has no role here any more")},
)
def remove_member(call: ToCall, ns: Namespace, user_id: UserId) -> Response:
    """At once, on every host that is connected."""
    call.services.users.remove_role(call.principal, ns, user_id)
    call.services.settle()
    return no_content()
