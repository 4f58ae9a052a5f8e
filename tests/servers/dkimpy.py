"""The verifier of signatures that is not ours: modules that need it are skipped where an environment lacks it."""

from __future__ import annotations

import os

import pytest

if "all" in os.environ.get("OUTBOX_TEST_REQUIRE", ""):
    import dkim
else:
    dkim = pytest.importorskip("dkim", reason="dkimpy is not installed: set up the environment from requirements.lock")

__all__ = ["dkim"]
