"""Bodies that only the API knows; all else are the rooms' own nouns."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from isotherm.base.ids import ALIAS_PATTERN, NAME_PATTERN
from isotherm.bus.board import HostEntry
from isotherm.events.model import Entry
from isotherm.functions.model import Alias, Function, Revision
from isotherm.records.model import Minute
from isotherm.tenancy.model import Grant, Key, Member, Namespace, Secret, User
from isotherm.tenancy.passwords import MAX_PASSWORD
from isotherm.tenancy.service import MAX_OVERLAP_S
from isotherm.warming.receipt import Receipt
from isotherm.wire.desired import Role
from isotherm.wire.queue import QueuedCall
from isotherm.wire.quota import Quota
from isotherm.wire.scopes import MAX_SCOPES
from isotherm.wire.telemetry import InvocationRecord, LogLine, WorkloadState
from isotherm.workloads.model import LIVE
from isotherm.workloads.rollout_model import Reading, RolloutPlan, RolloutState, Rule

__all__ = [
    "AliasList",
    "AliasWeights",
    "CreatedKey",
    "EntryList",
    "FunctionList",
    "FunctionView",
    "HostList",
    "HostView",
    "InvocationList",
    "KeyList",
    "KeyRequest",
    "LogList",
    "LoginRequest",
    "Me",
    "MemberList",
    "MemberRequest",
    "MinuteList",
    "NamespaceList",
    "NamespaceRequest",
    "PasswordRequest",
    "PruneRequest",
    "QueuedCallList",
    "QuotaList",
    "QuotaRequest",
    "QuotaUse",
    "QuotaView",
    "ReceiptList",
    "RedriveRequest",
    "RefreshRequest",
    "RegisterRequest",
    "RevisionList",
    "RoleRequest",
    "RollbackRequest",
    "Rollout",
    "RolloutList",
    "RolloutRequest",
    "RotateRequest",
    "SecretList",
    "SecretRequest",
    "Share",
    "Status",
    "TokenKeyAnswer",
    "TokenKeyRequest",
    "UserList",
    "UserRequest",
]

T = TypeVar("T")
NAMESPACE_OR_ALL = rf"^\*$|{NAME_PATTERN}"


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends: unknown members are errors."""


UserName = Annotated[str, Meta(min_length=1, max_length=63, description="Name of a user")]
Password = Annotated[str, Meta(min_length=1, max_length=MAX_PASSWORD)]
ScopeList = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=80)]],
    Meta(min_length=1, max_length=MAX_SCOPES, description="What of the role the key opens; null: all"),
]


class GrantRequest(_Request, frozen=True, kw_only=True):
    namespace: Annotated[str, Meta(pattern=NAMESPACE_OR_ALL, max_length=63, description="`*`: everywhere")]
    role: Role


class NamespaceRequest(_Request, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern=NAME_PATTERN, max_length=63)]


class KeyRequest(_Request, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    role: Role
    expires_at_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    scopes: ScopeList | None = None
    description: Annotated[str, Meta(max_length=1000)] = ""


class RotateRequest(_Request, frozen=True, kw_only=True):
    overlap_s: Annotated[float, Meta(ge=0, le=MAX_OVERLAP_S, description="That the former key is good yet")] = 86_400
    expires_at_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class LoginRequest(_Request, frozen=True, kw_only=True):
    name: UserName
    password: Password
    device: Annotated[str, Meta(max_length=200, description="What a former login from here gave")] | None = None


class RefreshRequest(_Request, frozen=True, kw_only=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class RegisterRequest(_Request, frozen=True, kw_only=True):
    password: Password
    name: UserName | None = None  # an invitation has it already
    invitation: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class PasswordRequest(_Request, frozen=True, kw_only=True):
    current_password: Password
    new_password: Password


class UserRequest(_Request, frozen=True, kw_only=True):
    name: UserName
    grants: Annotated[list[GrantRequest], Meta(max_length=100)] = []


class RoleRequest(_Request, frozen=True, kw_only=True):
    role: Role


class MemberRequest(_Request, frozen=True, kw_only=True):
    name: UserName
    role: Role


class TokenKeyRequest(_Request, frozen=True, kw_only=True):
    drop: Annotated[bool, Meta(description="No access token of before is good any more")] = False


class TokenKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str  # the `kid` of tokens from now on


class QuotaRequest(Quota, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole quota: what is null or left out follows the platform's default."""


class QuotaUse(msgspec.Struct, frozen=True, kw_only=True):
    """What is used now. Where there are several hosts: of the one where most is used."""

    memory_mb: int
    instances: int
    rate_per_s: float  # in the last ten seconds
    disk_mb: float  # of packages, or of unpacked code and dependencies: the larger
    log_mb: float
    refused: dict[str, int]  # calls and starts since the hosts' boots, by quota


class QuotaView(msgspec.Struct, frozen=True, kw_only=True):
    namespace: str
    own: Quota
    limits: Quota
    use: QuotaUse


class SecretRequest(_Request, frozen=True, kw_only=True):
    value: Annotated[str, Meta(min_length=1, max_length=49152, description="UTF-8, at most 48 KiB, no zero byte")]


class Share(_Request, frozen=True, kw_only=True):
    number: Annotated[int, Meta(ge=1, le=2**31 - 1, description="Number of a ready revision")]
    weight: Annotated[float, Meta(gt=0, le=1, description="Its share; all of an alias sum to 1")]


class AliasWeights(_Request, frozen=True, kw_only=True):
    weights: Annotated[list[Share], Meta(min_length=1, max_length=10)]


class RollbackRequest(_Request, frozen=True, kw_only=True):
    to: (
        Annotated[int, Meta(ge=1, le=2**31 - 1, description="Revision; by default the newest ready one before")] | None
    ) = None


class RedriveRequest(_Request, frozen=True, kw_only=True):
    ids: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=100)]],
            Meta(min_length=1, max_length=1000, description="Dead letters; by default all of the function"),
        ]
        | None
    ) = None


class PruneRequest(_Request, frozen=True, kw_only=True):
    keep: (
        Annotated[int, Meta(ge=1, le=1000, description="Newest ones that stay; by default the platform's policy")]
        | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Only say which would go")] = False


class RolloutRequest(RolloutPlan, frozen=True, kw_only=True, forbid_unknown_fields=True):
    to: Annotated[int, Meta(ge=1, le=2**31 - 1, description="Number of a ready revision")]
    alias: Annotated[str, Meta(pattern=ALIAS_PATTERN, max_length=128, description="The alias to move")] = LIVE


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout, as it is shown."""

    id: str  # "roll_…"
    alias: str
    before: int  # the revision that the alias had
    to: int
    plan: RolloutPlan
    state: RolloutState
    paused: bool
    step: int  # 0: nothing has moved yet
    steps: int
    percent: float  # of the calls that the new revision has now
    by: str  # id of the principal who asked for it
    created_at_ms: int
    step_since_ms: int
    ended_at_ms: int | None
    rule: Rule | None  # why it was rolled back
    reading: Reading | None  # what the gate sees now; where it has ended, what it ended by


class CreatedKey(Key, frozen=True, kw_only=True):
    """The secrets are shown this once."""

    token: str
    secret_access_key: str


class FunctionView(Function, frozen=True, kw_only=True):
    states: list[WorkloadState]  # what hosts hold of it now


class HostView(HostEntry, frozen=True, kw_only=True):
    states: list[WorkloadState]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    principal_id: str
    grants: list[Grant]
    home_namespace: str
    kind: Literal["key", "user"] = "key"
    name: str | None = None  # of a user
    scopes: list[str] | None = None  # of a key; null: all that the roles allow


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    host_id: str
    connected: bool
    last_seen_ms: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    functions: int
    hosts: int
    instances: dict[str, int]  # by temperature


class Status(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    region: str
    time_ms: int
    hosts: list[HostSummary]
    counts: Counts | None  # to who may look at hosts, as `hosts`


def _list_of(kind: type[Any]) -> Any:
    """A page of `kind`, as a named schema."""
    return msgspec.defstruct(
        f"{kind.__name__}List",
        [("items", list[kind]), ("next_cursor", str | None)],  # type: ignore[valid-type]  # the type is a value here
        kw_only=True,
        frozen=True,
        module=__name__,
    )


AliasList = _list_of(Alias)
EntryList = _list_of(Entry)
FunctionList = _list_of(Function)
HostList = _list_of(HostView)
InvocationList = _list_of(InvocationRecord)
KeyList = _list_of(Key)
LogList = _list_of(LogLine)
QueuedCallList = _list_of(QueuedCall)
MemberList = _list_of(Member)
MinuteList = _list_of(Minute)
NamespaceList = _list_of(Namespace)
UserList = _list_of(User)
QuotaList = _list_of(QuotaView)
ReceiptList = _list_of(Receipt)
RevisionList = _list_of(Revision)
RolloutList = _list_of(Rollout)
SecretList = _list_of(Secret)
