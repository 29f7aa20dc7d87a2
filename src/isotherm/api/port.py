"""What the API stands on: the rooms' services, met by `bootstrap`."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from isotherm.aws.lambda_api.call import Services as AwsServices
from isotherm.base.clock import Clock
from isotherm.base.settings import Settings
from isotherm.bus.board import HostBoard
from isotherm.bus.fanout import Fanout
from isotherm.bus.latest import Latest
from isotherm.bus.progress import ProgressBook
from isotherm.bus.warmth import WarmthBoard
from isotherm.events.service import EventLog
from isotherm.functions.pruning import Pruning
from isotherm.functions.rollouts import FunctionRollouts
from isotherm.functions.service import Functions
from isotherm.records.service import Records
from isotherm.sigv4.caller import CallerSeal
from isotherm.tenancy.logins import Logins
from isotherm.tenancy.quotas import Quotas
from isotherm.tenancy.secrets import Secrets
from isotherm.tenancy.service import Tenancy
from isotherm.tenancy.users import Users
from isotherm.wire.queue import QueueOrder
from isotherm.wire.telemetry import LogLine
from isotherm.workloads.rollout_model import Reading

__all__ = ["ApiServices", "LogBus", "Queues"]

LogBus = Fanout[tuple[str, str], LogLine]  # by namespace and function name


class Settle(Protocol):
    def __call__(self) -> None:
        """Wait, for a bounded time, until the connected hosts work by the desired state of now. Any thread."""


class Queues(Protocol):
    async def ask(self, order: QueueOrder) -> Any:
        """What a host answers, see `wire.queue`. Raises `Unavailable`, `TimedOut`, and what the host refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything that an endpoint may use."""

    settings: Settings
    clock: Clock
    version: str  # of isotherm
    upload_dir: str  # packages are received here before they are checked
    caller_seal: CallerSeal  # by which the gateway says whose key signed a request
    tenancy: Tenancy
    users: Users
    logins: Logins
    quotas: Quotas
    secrets: Secrets
    functions: Functions
    pruning: Pruning
    rollouts: FunctionRollouts
    warmth: WarmthBoard
    readings: Latest[str, Reading]  # what the gate of each open rollout last saw
    records: Records
    events: EventLog
    board: HostBoard
    logs: LogBus
    progress: ProgressBook
    settle: Settle
    queues: Queues
    aws: AwsServices
    stopping: asyncio.Event = field(default_factory=asyncio.Event)  # set when the process drains: streams end
