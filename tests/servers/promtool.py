"""Prometheus's own checker of its files."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def promtool(*words: str) -> None:
    """Fails with what it says where it does not like a file; skips without it, unless it is required."""
    program = shutil.which("promtool")
    if program is None:
        if {"all", "promtool"} & set(os.environ.get("OUTBOX_TEST_REQUIRE", "").split(",")):
            pytest.fail("promtool is required (OUTBOX_TEST_REQUIRE): not installed", pytrace=False)
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
