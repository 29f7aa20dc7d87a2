"""Who may do what, and how much of it: namespaces, keys, secrets, quotas."""

from collections.abc import Mapping, Sequence

from isotherm.client.model import Key, Namespace, Quota, Secret
from isotherm.client.request import given, segment
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming

__all__ = [
    "AsyncKeys", "AsyncNamespaces", "AsyncQuotas", "AsyncSecrets", "Keys", "Namespaces", "Quotas", "Secrets",
]  # fmt: skip

_namespaces = "/api/v1/namespaces"


class AsyncNamespaces(AsyncNoun):
    """The namespaces of the platform."""

    def list(self, limit: int | None = None) -> AsyncStream[Namespace]:
        """Those in which this key has a role, by name."""
        return AsyncStream(self._session.pages(_namespaces, Namespace, limit))

    async def get(self, name: str) -> Namespace:
        """Raises `NotFound`."""
        return await self._session.get(f"{_namespaces}/{segment(name)}", Namespace)

    async def create(self, name: str) -> Namespace:
        """Names are DNS labels that begin with a letter. Raises `Conflict` where there is one of that name."""
        return await self._session.post(_namespaces, Namespace, {"name": name})

    async def delete(self, name: str) -> None:
        """Only an empty one; its keys are revoked."""
        await self._session.delete(f"{_namespaces}/{segment(name)}")


class Namespaces(Noun[AsyncNamespaces]):
    """The namespaces of the platform."""

    list = streaming(AsyncNamespaces.list)
    get = blocking(AsyncNamespaces.get)
    create = blocking(AsyncNamespaces.create)
    delete = blocking(AsyncNamespaces.delete)


class AsyncKeys(AsyncNoun):
    """Keys of the namespace."""

    def list(self, limit: int | None = None) -> AsyncStream[Key]:
        """Without their secrets, by id."""
        return AsyncStream(self._session.pages(self._session.path("keys"), Key, limit))

    async def get(self, key_id: str) -> Key:
        """Without its secrets. Raises `NotFound`."""
        return await self._session.get(self._session.path(f"keys/{segment(key_id)}"), Key)

    async def create(
        self,
        name: str,
        role: str = "invoker",
        *,
        expires_at_ms: int | None = None,
        scopes: Sequence[str] | None = None,
        description: str | None = None,
    ) -> Key:
        """A key with one role: admin, developer, viewer or invoker, as far as `scopes` reach. Its `token` comes this
        once."""
        body = given(name=name, role=role, expires_at_ms=expires_at_ms, scopes=scopes, description=description)
        return await self._session.post(self._session.path("keys"), Key, body)

    async def rotate(self, key_id: str, *, overlap_s: float | None = None, expires_at_ms: int | None = None) -> Key:
        """Its successor, whose `token` comes this once; both are good for `overlap_s`, which is a day by default."""
        body = given(overlap_s=overlap_s, expires_at_ms=expires_at_ms)
        return await self._session.post(self._session.path(f"keys/{segment(key_id)}/rotation"), Key, body)

    async def delete(self, key_id: str) -> None:
        """Revoke it; it is refused within a second."""
        await self._session.delete(self._session.path(f"keys/{segment(key_id)}"))


class Keys(Noun[AsyncKeys]):
    """Keys of the namespace."""

    list = streaming(AsyncKeys.list)
    get = blocking(AsyncKeys.get)
    create = blocking(AsyncKeys.create)
    rotate = blocking(AsyncKeys.rotate)
    delete = blocking(AsyncKeys.delete)


class AsyncSecrets(AsyncNoun):
    """Secrets of the namespace. Nobody reads a value back."""

    def list(self, limit: int | None = None) -> AsyncStream[Secret]:
        """By name, with the functions that take each."""
        return AsyncStream(self._session.pages(self._session.path("secrets"), Secret, limit))

    async def get(self, name: str) -> Secret:
        """Its version and the functions that take it. Raises `NotFound`."""
        return await self._session.get(self._session.path(f"secrets/{segment(name)}"), Secret)

    async def set(self, name: str, value: str, *, etag: str | None = None) -> Secret:
        """Functions that take it have it within seconds. The value that it has already changes nothing."""
        return await self._session.put(
            self._session.path(f"secrets/{segment(name)}"), Secret, {"value": value}, etag=etag
        )

    async def delete(self, name: str, *, force: bool = False) -> None:
        """Raises `Conflict` where a function takes it; `force` removes it nevertheless."""
        await self._session.delete(self._session.path(f"secrets/{segment(name)}"), force=True if force else None)


class Secrets(Noun[AsyncSecrets]):
    """Secrets of the namespace. Nobody reads a value back."""

    list = streaming(AsyncSecrets.list)
    get = blocking(AsyncSecrets.get)
    set = blocking(AsyncSecrets.set)
    delete = blocking(AsyncSecrets.delete)


class AsyncQuotas(AsyncNoun):
    """What namespaces may use, and use. Where no namespace is named, it is the client's."""

    def list(self, limit: int | None = None) -> AsyncStream[Quota]:
        """Of the namespaces that this key may look at, by name."""
        return AsyncStream(self._session.pages("/api/v1/quotas", Quota, limit))

    async def get(self, namespace: str | None = None) -> Quota:
        """Raises `NotFound`."""
        return await self._session.get(self._path(namespace), Quota)

    async def change(self, limits: Mapping[str, float | str | None], namespace: str | None = None) -> Quota:
        """Set the limits that are given and leave the others: `{"instances": 20}`; None: the platform's default.

        Raises `PreconditionFailed` where somebody else did the same meanwhile.
        """
        path = self._path(namespace)
        reply = await self._session.fetch(path)
        found = self._session.decode(reply.content, Quota)
        changed = {**found.own, **limits}
        return await self._session.put(path, Quota, changed, etag=reply.headers.get("etag", "*"))

    def _path(self, namespace: str | None) -> str:
        return f"{_namespaces}/{segment(namespace or self._session.namespace)}/quota"


class Quotas(Noun[AsyncQuotas]):
    """What namespaces may use, and use. Where no namespace is named, it is the client's."""

    list = streaming(AsyncQuotas.list)
    get = blocking(AsyncQuotas.get)
    change = blocking(AsyncQuotas.change)
