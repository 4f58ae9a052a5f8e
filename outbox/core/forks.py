"""What must be new in a child process, where the system can fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def after_fork(call: Callable[[], Any]) -> None:
    """Have `call` done in each child before anything else runs in it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
