"""The order of a run in which several processes take a slice each, and what is left of another's when theirs is done.

Long tests wait most of the time and quick ones compute: each slice has its share of both. It begins with the longest,
which would run alone at the end, and ends with quick ones.
"""

from __future__ import annotations

from itertools import groupby

import pytest

SLICES = 6  # JOBS in the Makefile
FILLED = 0.8  # of each slice, from where on it has quick ones only


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Long ones stand between modules of quick ones, whose fixtures are made once; these keep their order."""
    quick = [item for item in items if not item.get_closest_marker("long")]
    long = sorted((item for item in items if item.get_closest_marker("long")), key=_limit, reverse=True)
    shares = [long[number::SLICES] for number in range(SLICES)]
    queue = [item for share in shares for item in share]
    made: list[pytest.Item] = []
    taken = passed = 0
    for _, module in groupby(quick, lambda item: item.path):
        number, of_slice = divmod(passed * SLICES / len(quick), 1)
        share = shares[int(number)]
        before = sum(map(len, shares[: int(number)]))
        longest = sum(_limit(item) > 0 for item in share)
        due = before + min(len(share), longest + round(len(share) * of_slice / FILLED))
        made += queue[taken:due]
        taken = max(taken, due)
        tests = list(module)
        made += tests
        passed += len(tests)
    made += queue[taken:]
    assert len(made) == len(items), "a test would be left out"
    return made


def _limit(item: pytest.Item) -> float:
    """Seconds that a test may take, where it has a limit of its own."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker and marker.args else 0.0
