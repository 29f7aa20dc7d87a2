"""The keys that access tokens are signed with: made, kept sealed, changed every month, dropped once of no more use."""

import threading
from collections.abc import Sequence

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Unavailable
from isotherm.base.ids import new_id
from isotherm.db.tables import read_meta, write_meta
from isotherm.events.changes import note_change
from isotherm.events.service import EventLog
from isotherm.storage.vault import Vault
from isotherm.tenancy import user_store
from isotherm.tenancy.model import SYSTEM, Principal
from isotherm.tenancy.user_history import TokenKeyHistory
from isotherm.tenancy.user_store import TokenKeyRow
from isotherm.wire.access import ALGORITHM, AUDIENCE, Claims, TokenCheck
from isotherm.wire.desired import TokenKeySpec

__all__ = ["ACCESS_S", "Signing"]

ACCESS_S = 900  # that an access token is good
LIFE_MS = 30 * 86_400_000  # of a key that signs
_overlap_ms = 2 * ACCESS_S * 1000  # that a former key is kept, so that its tokens are good to their end
_purpose = "tenancy.token_key"
_history = "token_key"
_platform = "platform_id"


class Signing:
    """Thread-safe. Another process of the same database may change the keys: what is not known is looked for once."""

    def __init__(self, *, log: EventLog, vault: Vault, clock: Clock) -> None:
        self._log = log
        self._vault = vault
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: tuple[str, Ed25519PrivateKey] | None = None
        self._check = TokenCheck(clock.time_ms)
        self._known: set[str] = set()

    def sign(self, session: Session, user_id: str, session_id: str, version: int) -> tuple[str, int]:
        """An access token, and when it ends, ms. In the transaction of a login or refresh."""
        token_key_id, private = self._newest_key(session)
        now_s = self._log.time_ms(session) // 1000
        claims = {
            "iss": self._issuer(session),
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "ver": version,
            "iat": now_s,
            "exp": now_s + ACCESS_S,
        }
        return jwt.encode(claims, private, ALGORITHM, headers={"kid": token_key_id}), (now_s + ACCESS_S) * 1000

    def claims(self, session: Session, token: str) -> Claims:
        """What a token of ours says. Raises `Unauthenticated`."""
        with self._lock:
            self._load(session)
        return self._check.check(token, lambda claims: user_store.find_session(session, claims.sid) is not None)

    def rotate(self, principal: Principal, *, drop: bool = False) -> str:
        """Sign with a new key from now on; its id. `drop`: no token of before is good any more."""
        with self._log.transaction() as session:
            return self._rotate(session, principal, drop=drop)

    def sweep(self) -> int:
        """Change a key that is old, and remove those of which no token is left; how many."""
        now_ms = self._clock.time_ms()
        with self._log.database.read() as session:
            rows = user_store.list_token_keys(session)
        if not rows:
            return 0
        if now_ms - rows[0].created_at_ms > LIFE_MS:
            self.rotate(SYSTEM)
        successors = zip(rows[1:], rows, strict=False)
        over = [row.id for row, successor in successors if now_ms - successor.created_at_ms > _overlap_ms]
        if over:
            with self._log.transaction() as session:
                self._remove(session, over)
        return len(over)

    def specs(self, session: Session, ids: Sequence[str] | None = None) -> list[TokenKeySpec]:
        """As hosts are told of them, in the snapshot of `session`; these, or all."""
        rows = user_store.list_token_keys(session, ids)
        issuer = self._issuer(session) if rows else ""
        return [TokenKeySpec(id=row.id, public=row.public, issuer=issuer) for row in rows]

    def _newest_key(self, session: Session) -> tuple[str, Ed25519PrivateKey]:
        """The newest key, made where there is none yet."""
        rows = user_store.list_token_keys(session)
        newest = rows[0].id if rows else self._rotate(session, SYSTEM, drop=False)
        with self._lock:
            if self._newest is None or self._newest[0] != newest:
                row = user_store.list_token_keys(session, [newest])[0]
                private = Ed25519PrivateKey.from_private_bytes(self._vault.open(_purpose, row.private, row.id))
                self._newest = (newest, private)
            return self._newest

    def _rotate(self, session: Session, principal: Principal, *, drop: bool) -> str:
        former = [row.id for row in user_store.list_token_keys(session)]
        private, token_key_id = Ed25519PrivateKey.generate(), new_id("isk")
        row = TokenKeyRow(
            id=token_key_id,
            private=self._vault.seal(_purpose, private.private_bytes_raw(), token_key_id),
            public=private.public_key().public_bytes_raw(),
            created_at_ms=self._log.time_ms(session),
        )
        user_store.insert_token_key(session, row)
        if read_meta(session, _platform) is None:
            write_meta(session, _platform, new_id("iso"))
        note_change(session, "token_key", token_key_id)
        history = self._log.load(session, TokenKeyHistory, _history)
        if drop and former:
            history.drop()
            self._remove(session, former)
        history.make(token_key_id)
        self._log.save(session, history, by=principal.id, namespace=None)
        return token_key_id

    def _remove(self, session: Session, ids: list[str]) -> None:
        user_store.delete_token_keys(session, ids)
        for token_key_id in ids:
            note_change(session, "token_key", token_key_id)

    def _load(self, session: Session) -> None:
        """What is trusted here is what is in the table now."""
        present = {spec.id: spec for spec in self.specs(session)}
        for token_key_id in self._known - present.keys():
            self._check.remove(token_key_id)
        for token_key_id in present.keys() - self._known:
            self._check.put(present[token_key_id])
        self._known = set(present)

    def _issuer(self, session: Session) -> str:
        issuer = read_meta(session, _platform)
        if issuer is None:
            raise Unavailable("the platform has no id yet; log in again")
        return issuer
