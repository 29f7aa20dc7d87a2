"""What each table of the control database is: a projection of the log, a store of record, or a cache."""

import sqlalchemy
from sqlalchemy.orm import Session

from isotherm.db.tables import meta
from isotherm.events.service import EventLog
from isotherm.tenancy.rebuilding import projected as tenancy
from isotherm.workloads.rebuilding import projected as workloads

__all__ = ["CACHES", "PROJECTIONS", "RECORDS", "forget_derived"]

PROJECTIONS = (tenancy, workloads)

RECORDS = {
    "events": "the log itself",
    "meta": "facts about the database: its epoch, which key is the bootstrap admin's",
    "sessions": "of users who are logged in: which refresh token is good",
    "token_keys": "the keys that access tokens are signed with, sealed; without them everybody refreshes once",
    "login_attempts": "counts of wrong passwords; without them nobody is locked out",
    "key_uses": "when keys were last used",
    "packages": "which namespace uploaded which zip; the zips are blobs",
    "layers": "versions of layers; their zips are blobs",
    "event_sources": "event source mappings",
    "workload_settings": "URLs, permissions, tags and limits of functions; their events say who set what, not to what",
}
CACHES = {
    "snapshots": "states of long histories; made anew as these grow",
    "desired_changes": "what hosts have to hear of since a version; without it they get everything",
}


def forget_derived(log: EventLog, session: Session) -> None:
    """What was derived from projections that were wrong: snapshots, and the hosts' epoch, so that they get all anew."""
    log.forget_snapshots(session)
    session.execute(sqlalchemy.delete(meta).where(meta.c.name == "epoch"))
