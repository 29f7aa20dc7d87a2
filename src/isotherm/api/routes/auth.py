"""Logins of users: register, log in, refresh, log out, change a password."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isotherm.api.answers import json_answer, no_content
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import Call, ToCall, client_address
from isotherm.api.desk import PasswordDesk
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import (
    LoginRequest,
    PasswordRequest,
    RefreshRequest,
    RegisterRequest,
    TokenKeyAnswer,
    TokenKeyRequest,
)
from isotherm.tenancy.model import Tokens

__all__ = ["routes"]

routes = RouteTable("auth")
_login_body = JsonBody(LoginRequest)
_refresh_body = JsonBody(RefreshRequest)
_register_body = JsonBody(RegisterRequest)
_password_body = JsonBody(PasswordRequest)
_token_key_body = JsonBody(TokenKeyRequest)


@routes.add(
    "POST",
    "/api/v1/auth/register",
    permission="open",
    summary="Choose a password",
    body=_register_body,
    answers={201: Answer(Tokens, "The first login")},
)
async def register(call: ToCall, body: Annotated[RegisterRequest, Depends(_register_body)]) -> Response:
    """With an invitation; without one where registration is open. Who registers so has no role until an admin gives
    one."""
    work = call.services.logins.register
    made = await _desk(call.request).run(work, name=body.name, password=body.password, invitation=body.invitation)
    await _settle(call)
    return json_answer(made, status=201)


@routes.add(
    "POST",
    "/api/v1/auth/login",
    permission="open",
    summary="Log in",
    body=_login_body,
    answers={200: Answer(Tokens, "An access token for 15 minutes, and a refresh token for the next")},
)
async def login(call: ToCall, body: Annotated[LoginRequest, Depends(_login_body)]) -> Response:
    """Whatever is wrong is answered alike. After some failures further ones are refused for a while (429)."""
    work = call.services.logins.login
    address = client_address(call.request)
    made = await _desk(call.request).run(work, body.name, body.password, address=address, device=body.device)
    await _settle(call)
    return json_answer(made)


@routes.add(
    "POST",
    "/api/v1/auth/refresh",
    permission="open",
    summary="Refresh",
    body=_refresh_body,
    answers={200: Answer(Tokens, "The next access token and the next refresh token")},
)
def refresh(call: ToCall, body: Annotated[RefreshRequest, Depends(_refresh_body)]) -> Response:
    """A refresh token is good once. One that comes again ends its session: somebody else may have it."""
    return json_answer(call.services.logins.refresh(body.refresh_token))


@routes.add(
    "POST",
    "/api/v1/auth/logout",
    permission="open",
    summary="Log out",
    body=_refresh_body,
    answers={204: Answer(None, "The session is over, on every host that is connected")},
)
def logout(call: ToCall, body: Annotated[RefreshRequest, Depends(_refresh_body)]) -> Response:
    """Also where it was over already, or never was."""
    call.services.logins.logout(body.refresh_token)
    call.services.settle()
    return no_content()


@routes.add(
    "PUT",
    "/api/v1/auth/password",
    permission="any",
    summary="Change your password",
    body=_password_body,
    answers={204: Answer(None, "It is changed, and all your sessions are over")},
)
async def change_password(call: ToCall, body: Annotated[PasswordRequest, Depends(_password_body)]) -> Response:
    """Of the user who is logged in; a key has none."""
    work = call.services.logins.change_password
    await _desk(call.request).run(work, call.principal, body.current_password, body.new_password)
    await _settle(call)
    return no_content()


@routes.add(
    "POST",
    "/api/v1/auth/token-key",
    permission="users.manage",
    summary="Change the key that signs access tokens",
    body=_token_key_body,
    answers={200: Answer(TokenKeyAnswer, "The id of the new key")},
)
def rotate_token_key(call: ToCall, body: Annotated[TokenKeyRequest, Depends(_token_key_body)]) -> Response:
    """The platform does it by itself each month. With `drop` everybody has to refresh at once."""
    made = call.services.logins.signing.rotate(call.principal, drop=body.drop)
    call.services.settle()
    return json_answer(TokenKeyAnswer(id=made))


def _desk(request: Request) -> PasswordDesk:
    desk: PasswordDesk = request.app.state.password_desk
    return desk


async def _settle(call: Call) -> None:
    """Hosts know of a user or a signing key that is new."""
    await run_in_threadpool(call.services.settle)
