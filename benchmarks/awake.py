"""How awake the machine is: how soon a sleeping process runs again, and what others take of its processors.

A bare loop waits four times for each message, so that it is three times as fast where the processors are kept awake,
by whatever other work; and on a virtual machine the host may give them to another.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

_LOOK_SECONDS = 0.3
_WAKES = 100
_PAUSE_SECONDS = 0.002  # long enough for a processor to fall asleep


def look() -> dict[str, float]:
    """The machine at one moment, with nothing of ours running. Takes half a second."""
    before = _times()
    time.sleep(_LOOK_SECONDS)
    passed = [after - earlier for after, earlier in zip(_times(), before, strict=True)]
    total = sum(passed) or 1
    idle, steal = passed[3] + passed[4], passed[7]
    return {
        "wake": _wake(),  # microseconds until a process that waits for a byte runs again, the median
        "busy": (total - idle - steal) / total,  # share of the processors' time that other work takes
        "steal": steal / total,  # share that the host gives to others
        "load": os.getloadavg()[0],  # of the last minute
    }


def _times() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal; in ticks."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def _wake() -> float:
    """Half of the way to another process and back, after a pause."""
    there, here = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            while os.read(there[0], 1) == b"x":
                os.write(here[1], b"x")
        finally:
            os._exit(0)
    taken = []
    for _ in range(_WAKES):
        time.sleep(_PAUSE_SECONDS)
        began = time.perf_counter()
        os.write(there[1], b"x")
        os.read(here[0], 1)
        taken.append((time.perf_counter() - began) / 2)
    os.write(there[1], b".")
    os.waitpid(child, 0)
    for end in (*there, *here):
        os.close(end)
    return statistics.median(taken) * 1e6
