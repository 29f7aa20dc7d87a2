"""People: users of the platform, members of the namespace, and one's own login."""

from collections.abc import Mapping

from isotherm.client.model import Invitation, Member, TokenKey, User
from isotherm.client.request import given, segment
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming

__all__ = ["AsyncAuth", "AsyncMembers", "AsyncUsers", "Auth", "Members", "Users"]

_users = "/api/v1/users"


class AsyncUsers(AsyncNoun):
    """All users, for admins of the platform. They are named by id."""

    def list(self, name: str | None = None, *, limit: int | None = None) -> AsyncStream[User]:
        """By name; `name`: that one alone."""
        return AsyncStream(self._session.pages(_users, User, limit, **given(name=name)))

    async def get(self, user_id: str) -> User:
        """Raises `NotFound`."""
        return await self._session.get(f"{_users}/{segment(user_id)}", User)

    async def invite(self, name: str, roles: Mapping[str, str] | None = None) -> Invitation:
        """A new user, with a role for each namespace (`*`: everywhere). The invitation comes this once.

        Raises `Conflict` where the name is taken.
        """
        grants = [{"namespace": namespace, "role": role} for namespace, role in (roles or {}).items()]
        return await self._session.post(_users, Invitation, {"name": name, "grants": grants})

    async def reset(self, user_id: str) -> Invitation:
        """Forget the password and end all sessions; the invitation lets choose another, and comes this once."""
        return await self._session.post(f"{_users}/{segment(user_id)}/reset", Invitation)

    async def disable(self, user_id: str) -> User:
        """No login and no session, on connected hosts at once; roles stay."""
        return await self._session.post(f"{_users}/{segment(user_id)}/disable", User)

    async def enable(self, user_id: str) -> User:
        """Logins are taken again."""
        return await self._session.post(f"{_users}/{segment(user_id)}/enable", User)

    async def logout(self, user_id: str) -> User:
        """End all sessions; the user may log in again."""
        return await self._session.post(f"{_users}/{segment(user_id)}/logout", User)

    async def unlock(self, user_id: str) -> User:
        """Wrong passwords of before do not count any more."""
        return await self._session.post(f"{_users}/{segment(user_id)}/unlock", User)

    async def set_role(self, user_id: str, role: str) -> Member:
        """A role everywhere, in place of the one that the user had everywhere."""
        return await self._session.put(f"{_users}/{segment(user_id)}/role", Member, {"role": role})

    async def delete_role(self, user_id: str) -> None:
        """The role everywhere; those in namespaces stay."""
        await self._session.delete(f"{_users}/{segment(user_id)}/role")

    async def delete(self, user_id: str) -> None:
        """Name, password, roles and sessions are gone."""
        await self._session.delete(f"{_users}/{segment(user_id)}")


class Users(Noun[AsyncUsers]):
    """All users, for admins of the platform. They are named by id."""

    list = streaming(AsyncUsers.list)
    get = blocking(AsyncUsers.get)
    invite = blocking(AsyncUsers.invite)
    reset = blocking(AsyncUsers.reset)
    disable = blocking(AsyncUsers.disable)
    enable = blocking(AsyncUsers.enable)
    logout = blocking(AsyncUsers.logout)
    unlock = blocking(AsyncUsers.unlock)
    set_role = blocking(AsyncUsers.set_role)
    delete_role = blocking(AsyncUsers.delete_role)
    delete = blocking(AsyncUsers.delete)


class AsyncMembers(AsyncNoun):
    """Users with a role in the namespace, for its admins."""

    def list(self, limit: int | None = None) -> AsyncStream[Member]:
        """By id; without those whose role is for everywhere."""
        return AsyncStream(self._session.pages(self._session.path("members"), Member, limit))

    async def invite(self, name: str, role: str) -> Invitation:
        """A new user; `Forbidden` where registration is closed. The invitation comes this once."""
        return await self._session.post(self._session.path("members"), Invitation, {"name": name, "role": role})

    async def set(self, user_id: str, role: str) -> Member:
        """In place of the role that the user had here."""
        return await self._session.put(self._session.path(f"members/{segment(user_id)}"), Member, {"role": role})

    async def delete(self, user_id: str) -> None:
        """The user has no role here any more."""
        await self._session.delete(self._session.path(f"members/{segment(user_id)}"))


class Members(Noun[AsyncMembers]):
    """Users with a role in the namespace, for its admins."""

    list = streaming(AsyncMembers.list)
    invite = blocking(AsyncMembers.invite)
    set = blocking(AsyncMembers.set)
    delete = blocking(AsyncMembers.delete)


class AsyncAuth(AsyncNoun):
    """One's own password, and the key that signs access tokens. To log in, see `isotherm.client.logins`."""

    async def change_password(self, current: str, new: str) -> None:
        """All sessions of this user end, with the one that this client has."""
        body = {"current_password": current, "new_password": new}
        await self._session.send(self._session.request("PUT", "/api/v1/auth/password", body))

    async def rotate_token_key(self, *, drop: bool = False) -> TokenKey:
        """Sign with another key. `drop`: no access token of before is good any more."""
        return await self._session.post("/api/v1/auth/token-key", TokenKey, {"drop": drop})


class Auth(Noun[AsyncAuth]):
    """One's own password, and the key that signs access tokens. To log in, see `isotherm.client.logins`."""

    change_password = blocking(AsyncAuth.change_password)
    rotate_token_key = blocking(AsyncAuth.rotate_token_key)
