"""The package's version, known without installing it; pyproject.toml has the same (tests/unit/test_packaging.py)."""

from __future__ import annotations

VERSION = "0.1.0"
