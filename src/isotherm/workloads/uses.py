"""Which workloads take which secrets, and who has to hear when one changes."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from isotherm.base.errors import Invalid
from isotherm.events.changes import note_change
from isotherm.workloads import policy, store
from isotherm.workloads.service import Workloads

__all__ = ["WorkloadSecrets"]


class WorkloadSecrets:
    """See `tenancy.port.SecretUses`."""

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads

    def users(self, session: Session, namespace: str, names: Collection[str]) -> dict[str, list[str]]:
        """Revisions that no alias has and that are not building do not count: they only could be called by number."""
        uses = store.list_secret_uses(session, namespace, names)
        pinned = store.aliased_numbers(session, {use.workload_id for use in uses})
        found: dict[str, set[str]] = {}
        for use in uses:
            if use.state == "building" or use.number in pinned.get(use.workload_id, ()):
                found.setdefault(use.secret, set()).add(use.name)
        return {secret: sorted(users) for secret, users in found.items()}

    def changed(self, session: Session, namespace: str, name: str) -> None:
        """A building revision gets the value of the moment when it is ready; hosts know nothing of it before."""
        for sealed in store.list_taking(session, namespace, name):
            spec = self._workloads.opened(session, sealed)
            try:
                policy.check_env_size(spec.env)
            except Invalid as exc:
                raise Invalid(f"revision {spec.number} of {spec.name} cannot take it: {exc.message}") from exc
            if sealed.row.state == "ready":
                note_change(session, "revision", spec.id)
