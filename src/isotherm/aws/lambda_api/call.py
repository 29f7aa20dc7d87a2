"""One call of an operation: who makes it and on what it works; and the table of operations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.names import FunctionRef, Names, parse_function
from isotherm.base.clock import Clock
from isotherm.base.settings import Settings
from isotherm.functions.heads import Heads
from isotherm.functions.layers import Layers
from isotherm.functions.service import Functions
from isotherm.functions.sources import EventSources
from isotherm.storage.vault import Vault
from isotherm.tenancy.model import Permission, Principal
from isotherm.tenancy.quotas import Quotas

__all__ = ["Call", "Operation", "Operations", "Services", "State"]

State = (
    str  # "yes": as AWS; "partly": see the note; "stored": kept and shown, without effect; "no": refused by its name
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What operations use."""

    functions: Functions
    heads: Heads
    layers: Layers
    sources: EventSources
    quotas: Quotas
    vault: Vault
    clock: Clock
    settings: Settings
    content_url: str
    warm_of: Callable[[str, str, set[str]], int]  # (namespace, name, revision ids) → instances that are there now
    settle: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Call:
    services: Services
    principal: Principal
    given: Mapping[str, Any]
    url: str  # of the API, as the client reached it
    operation: str = ""
    names: Names = field(default=Names("local"))

    @property
    def home(self) -> str:
        return self.principal.home_namespace

    def text(self, name: str, default: str = "") -> str:
        value = self.given.get(name)
        return default if value is None else str(value)

    def function(self, member: str = "FunctionName") -> FunctionRef:
        """The function that is named, with its qualifier. Raises `AwsError`."""
        return parse_function(self.text(member), self.home, self.names.region, self.given.get("Qualifier") or None)

    def parsed(self, text: str) -> FunctionRef:
        """A function that is named anywhere else. Raises `AwsError`."""
        return parse_function(text, self.home, self.names.region)

    def unqualified(self, member: str = "FunctionName") -> FunctionRef:
        """The function that is named; a version or alias in the name is not this operation's."""
        found = self.function(member)
        if found.qualifier is not None:
            raise AwsError(
                "InvalidParameterValueException",
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN.",
            )
        return found


Run = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. `permission` is checked before its input is; None: it is refused by its name anyway."""

    name: str
    permission: Permission | None
    state: State
    note: str = ""
    run: Run | None = None


class Operations:
    """Operations of one module, declared by a decorator."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.table: dict[str, Operation] = {}

    def add(self, name: str, permission: Permission, *, state: State = "yes", note: str = "") -> Callable[[Run], Run]:
        def declare(run: Run) -> Run:
            self.table[name] = Operation(name=name, permission=permission, state=state, note=note, run=run)
            return run

        return declare
