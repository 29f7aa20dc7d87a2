"""What control's policy wants a host to hold of revisions, from moment to moment."""

import msgspec

__all__ = ["Target", "Warmth"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Of one revision. What its configuration keeps in any case (`min_instances`, what is provisioned) stays kept."""

    revision_id: str
    instances: int  # that are ready, busy ones included: started ahead where missing; 0: those idle when it came go
    template: bool  # kept, and built where it is missing


class Warmth(msgspec.Struct, frozen=True, kw_only=True, tag="warmth"):
    """Targets that changed, and revisions that go by their keep-alives again; other targets hold on.

    `valid_s`: where nothing comes for so long, all revisions go by their keep-alives again. `full`: targets that are
    not named here are over.
    """

    valid_s: float
    full: bool = False
    targets: list[Target] = []
    released: list[str] = []
