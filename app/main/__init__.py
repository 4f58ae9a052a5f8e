"""The pages that everybody sees, and one's own account."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("main", __name__)

from app.main import views  # noqa: E402, F401 - it adds its views to the blueprint
