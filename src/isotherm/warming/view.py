"""What the policy thinks now: of one workload, and of all together. The controller fills it in; the API shows it."""

from typing import Literal

import msgspec

from isotherm.warming.receipt import Receipt, RungName

__all__ = ["PolicyName", "WarmthSummary", "WarmthView"]

PolicyName = Literal["foresight", "keep_alive"]


class WarmthView(msgspec.Struct, frozen=True, kw_only=True):
    """One workload. What is not known is null: the policy does not decide about it, or has not planned for it yet."""

    namespace: str
    name: str
    policy: PolicyName  # "keep_alive": it goes by its keep-alives alone
    why: str  # this policy decides, in words
    at_ms: int | None = None  # when it was last planned for
    budget: str | None = None  # whose, and how much: "workload: p_cold <= 1%"
    price: float | None = None  # of idle memory: the cold starts that one GB·minute has to avoid
    expected: float | None = None  # the probability of a call in the coming minute
    calls_mean: float | None = None  # the mean number of calls forecast for it
    calls_high: float | None = None  # their 0.95 quantile
    rung: RungName | None = None  # where it waits
    instances: int | None = None  # that are to wait warm
    again_ms: int | None = None  # when it is to be warm again, as far as the forecast reaches
    last_receipt: Receipt | None = None
    quality: dict[str, float] = {}  # of its forecasts: mase, mape, rmse, r2, pinball, coverage, spikes_caught


class WarmthSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole platform. What is not known is null."""

    policy: PolicyName
    why: str  # this policy decides, in words
    at_ms: int | None = None  # of the last plan
    minute_s: float | None = None  # what the policy takes for a minute: 60, or less where a log is replayed faster
    workloads: dict[RungName, int] = {}  # how many wait on each rung
    idle_gb: float | None = None  # memory that is held idle now
    spent_gb_h: float | None = None  # idle memory since midnight, UTC
    budget: str | None = None  # the platform's
    price: float | None = None  # of idle memory: the cold starts that one GB·minute has to avoid
    avoided: float | None = None  # cold starts since midnight, UTC, that the keep-alives alone would have had besides
    quality: dict[str, float] = {}  # of all forecasts, as in the views
