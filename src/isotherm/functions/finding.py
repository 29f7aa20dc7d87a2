"""A function by its name, for all services of this room."""

from sqlalchemy.orm import Session

from isotherm.base.errors import NotFound
from isotherm.tenancy.service import Tenancy
from isotherm.workloads.model import WorkloadRow
from isotherm.workloads.service import Workloads

__all__ = ["find_function"]


def find_function(session: Session, tenancy: Tenancy, workloads: Workloads, namespace: str, name: str) -> WorkloadRow:
    """Raises `NotFound`: of the namespace, where that is what is not there."""
    try:
        return workloads.find(session, "function", namespace, name)
    except NotFound:
        tenancy.existing_namespace(session, namespace)
        raise
