"""Outcomes of calls, made by hand."""

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from isotherm.replay.drive import Outcomes
from isotherm.replay.model import OwnRecords, Way

__all__ = ["no_records", "outcomes"]


def outcomes(
    sent_s: list[float],
    done_s: list[float],
    *,
    failed: list[int] | None = None,
    crashed: list[int] | None = None,
    **changes: object,
) -> Outcomes:
    """Calls by Invoke, answered 200; `failed` and `crashed` are indices."""
    count = len(sent_s)
    broken = np.isin(np.arange(count), [*(failed or []), *(crashed or [])])
    made = Outcomes(
        way=np.full(count, Way.INVOKE, dtype=np.int8),
        sent_s=np.array(sent_s, dtype=np.float64),
        first_s=np.array(done_s, dtype=np.float64),
        done_s=np.array(done_s, dtype=np.float64),
        status=np.where(broken, 502, 200).astype(np.int32),
        failed=broken,
        crashed=np.isin(np.arange(count), crashed or []),
        version=np.ones(count, dtype=np.int32),
        queue_ms=np.zeros(count),
        start_ms=np.zeros(count),
        run_ms=np.zeros(count),
        request_ids=[f"call-{index}" for index in range(count)],
        errors=[],
        wall_s=1.0,
        client_cpu_s=0.1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # by name


def no_records(namespace: str | None, days: float) -> AbstractContextManager[OwnRecords]:
    """Of a platform that nobody is to ask."""
    raise AssertionError((namespace, days))
