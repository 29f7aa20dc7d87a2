"""What is written down of each decision: what was forecast, what was chosen, what the alternatives would have cost."""

from typing import Literal

import msgspec

__all__ = ["Alternative", "Reason", "Receipt", "RungName"]

RungName = Literal["cold", "frozen", "template", "warm"]

# Why a revision is to wait elsewhere than before:
#   forecast  the odds of a call are worth its memory at the price of the moment, or are not any more
#   called    it was called a moment ago
#   cron      one of its schedules is due
#   peak      more calls at once are to be reckoned with, or fewer
#   budget    the budget is spent, or the memory of the host
#   settings  its configuration, or a new revision
Reason = Literal["forecast", "called", "cron", "peak", "budget", "settings"]


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """What a rung costs for the minute that was decided about, as it was reckoned then."""

    rung: RungName
    instances: int
    idle_gb_s: float  # GB·s expected to lie idle in that minute
    wait_s: float  # expected of a call that comes


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about one revision."""

    namespace: str
    name: str
    revision_id: str
    at_ms: int
    reason: Reason
    expected: float  # the probability of a call in the minute decided about
    calls: float  # the mean number of calls forecast for it
    rung: RungName
    instances: int
    former_rung: RungName
    former_instances: int
    price: float  # of idle memory then: the cold starts that one GB·minute has to avoid
    budget: str  # whose, and how much: "platform: idle <= keep_alive", "workload: p_cold <= 1%"
    again_ms: int | None = None  # when it is to be warm again, as far as the forecast reaches
    alternatives: list[Alternative] = []
