"""Rates, percentiles, medians."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What repetitions of one measurement came to."""

    median: float
    least: float
    most: float
    count: int


def rate(moments: Sequence[int]) -> float:
    """Events a second, from the first to the last; `moments` are nanoseconds. Raises ValueError for fewer than two."""
    if len(moments) < 2:
        raise ValueError("a rate needs two moments at least")
    return (len(moments) - 1) / (max(moments) - min(moments)) * 1e9


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` (0 to 1) of them do not exceed."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def summary(values: Sequence[float]) -> Summary:
    """Median and range."""
    return Summary(statistics.median(values), min(values), max(values), len(values))
