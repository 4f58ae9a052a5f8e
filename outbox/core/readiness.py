"""Waits until descriptors are ready: by poll(2), or by select where there is none, as on Windows."""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Collection


def by_poll(seconds: float, reading: Collection[int], writing: Collection[int]) -> list[int]:
    """See `ready`."""
    poll = select.poll()
    for descriptor in reading:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writing:
        poll.register(descriptor, select.POLLOUT)
    return [descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1000))]


def by_select(seconds: float, reading: Collection[int], writing: Collection[int]) -> list[int]:
    """See `ready`."""
    # Windows tells of a connection that failed by the third alone
    found = select.select(reading, writing, writing, seconds)
    return sorted({descriptor for some in found for descriptor in some})


_how = by_poll if hasattr(select, "poll") else by_select


def reader(descriptor: int) -> Callable[[float], bool]:
    """Waits, so many seconds at most, until this one can be read, or is broken; whether it can. Again and again, with
    less to do each time than `ready` has; not in two threads at once."""
    if _how is not by_poll:
        return lambda seconds: bool(ready(seconds, reading=(descriptor,)))
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda seconds: bool(poll.poll(math.ceil(seconds * 1000)))


def ready(seconds: float, *, reading: Collection[int] = (), writing: Collection[int] = ()) -> list[int]:
    """Those that can be read or written without waiting, or are broken; none after `seconds`. Each is named once."""
    return _how(max(0.0, seconds), reading, writing)
