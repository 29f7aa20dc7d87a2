"""Sessions of users: a chain of refresh tokens, each good once. One that comes again ends the session.

A refresh token is `isr_` and the session, a number that counts up, and a keyed digest of both: nothing that is stored
gives a token away, a token that was made up is refused without effect, and one that was used is told from it.
"""

import re
import secrets
from dataclasses import dataclass

from sqlalchemy.orm import Session

from isotherm.base.errors import TooManyRequests
from isotherm.base.ids import new_id
from isotherm.events.service import EventLog
from isotherm.storage.vault import Vault
from isotherm.tenancy import user_store
from isotherm.tenancy.model import Tokens
from isotherm.tenancy.signing import ACCESS_S, Signing
from isotherm.tenancy.user_history import SessionEnd, UserHistory
from isotherm.tenancy.user_store import SessionRow, UserRow

__all__ = ["ENDED_MS", "IDLE_MS", "LIFE_MS", "Presented", "Sessions"]

IDLE_MS = 14 * 86_400_000  # a refresh token that nobody used is good for so long
LIFE_MS = 90 * 86_400_000  # after this a user logs in again, however busy
ENDED_MS = (ACCESS_S + 60) * 1000  # that hosts hear of the end of a session: as long as an access token may be good
MAX_SESSIONS = 20  # of one user; the one that was used longest ago makes room
MAX_RECENT = 100  # with those that ended within `ENDED_MS`
_purpose = "tenancy.refresh"
_form = re.compile(r"isr_([0-9a-z]{26})_([0-9]{1,9})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token that is one of ours, and its session. `used`: it was good once, and came again."""

    row: SessionRow
    used: bool


class Sessions:
    """In the transactions of `Logins`. Thread-safe."""

    def __init__(self, *, log: EventLog, vault: Vault, signing: Signing) -> None:
        self._log = log
        self._vault = vault
        self._signing = signing

    def begin(self, session: Session, user: UserRow, history: UserHistory) -> Tokens:
        """Raises `TooManyRequests` where the user logs in without end."""
        now_ms = self._log.time_ms(session)
        recent = user_store.list_sessions(session, [user.id], ended_since_ms=now_ms - ENDED_MS)
        if len(recent) >= MAX_RECENT:
            raise TooManyRequests("too many logins of one user in a quarter of an hour", retry_after_s=60.0)
        going_on = [row for row in recent if row.ended_at_ms is None]
        for row in going_on[: max(0, len(going_on) - MAX_SESSIONS + 1)]:
            self.end(session, row, history, "too_many")
        made = SessionRow(
            id=new_id("ses"),
            user_id=user.id,
            version=history.state.version,
            generation=1,
            salt=secrets.token_hex(16),
            created_at_ms=now_ms,
            used_at_ms=now_ms,
        )
        user_store.insert_session(session, made)
        history.log_in(made.id)
        return self._tokens(session, made)

    def presented(self, session: Session, token: str) -> Presented | None:
        """The session of a refresh token; None where it is not one, or of a session that is over."""
        match = _form.fullmatch(token[:200])
        if match is None:
            return None
        row = user_store.find_session(session, f"ses_{match[1]}")
        generation = int(match[2])
        if row is None or not user_store.same(match[3], self._seal(row, generation)):
            return None
        now_ms = self._log.time_ms(session)
        over = row.ended_at_ms is not None or now_ms >= self._good_until_ms(row)
        if over or generation > row.generation:
            return None
        return Presented(row, generation < row.generation)

    def renew(self, session: Session, row: SessionRow) -> Tokens:
        """The next refresh token, with a fresh access token."""
        now_ms = self._log.time_ms(session)
        user_store.update_session(session, row.id, generation=row.generation + 1, used_at_ms=now_ms)
        renewed = user_store.find_session(session, row.id)
        assert renewed is not None
        return self._tokens(session, renewed)

    def end(self, session: Session, row: SessionRow, history: UserHistory, reason: SessionEnd) -> None:
        user_store.update_session(session, row.id, ended_at_ms=self._log.time_ms(session))
        history.end_session(row.id, reason)

    def _tokens(self, session: Session, row: SessionRow) -> Tokens:
        access, expires_at_ms = self._signing.sign(session, row.user_id, row.id, row.version)
        return Tokens(
            access_token=access,
            expires_at_ms=expires_at_ms,
            refresh_token=f"isr_{row.id.removeprefix('ses_')}_{row.generation}_{self._seal(row, row.generation)}",
            refresh_expires_at_ms=self._good_until_ms(row),
            principal_id=row.user_id,
        )

    def _good_until_ms(self, row: SessionRow) -> int:
        return min(row.used_at_ms + IDLE_MS, row.created_at_ms + LIFE_MS)

    def _seal(self, row: SessionRow, generation: int) -> str:
        return self._vault.fingerprint(_purpose, f"{row.id}/{generation}/{row.salt}".encode())
