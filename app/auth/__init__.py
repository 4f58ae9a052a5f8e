"""Accounts: register, confirm, log in and out, reset the password, change password and address."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("auth", __name__)

from app.auth import account, views  # noqa: E402, F401 - they add their views to the blueprint
