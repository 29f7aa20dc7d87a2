"""What the platform tells of warmth: decisions, and what its policy thinks now. In the manner of `model`."""

import msgspec

__all__ = ["Alternative", "Receipt", "Warmth", "WarmthSummary"]


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """What a rung costs for the minute that was decided about, as it was reckoned then."""

    rung: str  # cold, frozen, template or warm
    instances: int = 0
    idle_gb_s: float = 0.0  # GB·s expected to lie idle in that minute
    wait_s: float = 0.0  # expected of a call that comes


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about one revision: what was forecast, what was chosen and why."""

    namespace: str
    name: str
    revision_id: str
    at_ms: int
    reason: str = ""  # forecast, called, cron, peak, budget or settings
    expected: float = 0.0  # the probability of a call in the minute decided about
    calls: float = 0.0  # the mean number of calls forecast for it
    rung: str = ""  # cold, frozen, template or warm
    instances: int = 0
    former_rung: str = ""
    former_instances: int = 0
    price: float = 0.0  # of idle memory then: the cold starts that one GB·minute has to avoid
    budget: str = ""  # whose, and how much
    again_ms: int | None = None  # when it is to be warm again, as far as the forecast reaches
    alternatives: list[Alternative] = msgspec.field(default_factory=list)


class Warmth(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy thinks of one function now. None: it does not decide about it, or has not planned for it yet."""

    namespace: str
    name: str
    policy: str  # foresight, or keep_alive: it goes by its keep-alives alone
    why: str = ""  # this policy decides, in words
    at_ms: int | None = None  # when it was last planned for
    budget: str | None = None  # whose, and how much
    price: float | None = None  # of idle memory: the cold starts that one GB·minute has to avoid
    expected: float | None = None  # the probability of a call in the coming minute
    calls_mean: float | None = None  # the mean number of calls forecast for it
    calls_high: float | None = None  # their 0.95 quantile
    rung: str | None = None  # where it waits
    instances: int | None = None  # that are to wait warm
    again_ms: int | None = None  # when it is to be warm again, as far as the forecast reaches
    last_receipt: Receipt | None = None
    quality: dict[str, float] = msgspec.field(default_factory=dict)  # of its forecasts, by measure


class WarmthSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Warmth of the whole platform. None: it is not known."""

    policy: str  # foresight or keep_alive
    why: str = ""  # this policy decides, in words
    at_ms: int | None = None  # of the last plan
    minute_s: float | None = None  # what the policy takes for a minute: 60, or less where a log is replayed faster
    workloads: dict[str, int] = msgspec.field(default_factory=dict)  # how many wait on each rung
    idle_gb: float | None = None  # memory that is held idle now
    spent_gb_h: float | None = None  # idle memory since midnight, UTC
    budget: str | None = None  # the platform's
    price: float | None = None  # of idle memory: the cold starts that one GB·minute has to avoid
    avoided: float | None = None  # cold starts since midnight, UTC, that the keep-alives alone would have had besides
    quality: dict[str, float] = msgspec.field(default_factory=dict)  # of all forecasts, by measure
