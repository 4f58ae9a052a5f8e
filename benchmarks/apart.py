"""The SMTP server has a processor to itself, and the loops that others are compared with have the rest.

Left to the kernel both come to lie on one processor in one run, where a reply is there at once, and on two in the next,
where each must be woken: the bare loop was 2.7 times as fast in one than in the other, on the same machine.
"""

from __future__ import annotations

import os


def keep_server(process: int) -> None:
    """Keep it to the last processor."""
    _keep(process, last=True)


def keep_loop() -> None:
    """Keep this process to the others."""
    _keep(0, last=False)


def _keep(process: int, *, last: bool) -> None:
    if not hasattr(os, "sched_setaffinity"):
        return
    *others, final = sorted(os.sched_getaffinity(0))
    if others:
        os.sched_setaffinity(process, {final} if last else others)
