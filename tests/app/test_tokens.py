"""Tokens in links."""

from __future__ import annotations

import pytest
from flask import Flask

from app import tokens
from app.tokens import Purpose, TokenError, TokenExpiredError


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_says_what_was_put_in(app: Flask, purpose: Purpose) -> None:
    """Claims come back as they were, from a token that fits into a URL."""
    with app.app_context():
        token = tokens.issue(purpose, user=7, email="a@bücher.example")
        assert token.replace("-", "").replace("_", "").replace(".", "").isalnum()
        assert tokens.read(purpose, token) == {"user": 7, "email": "a@bücher.example"}


@pytest.mark.parametrize("other", Purpose)
@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_is_good_for_one_purpose(app: Flask, purpose: Purpose, other: Purpose) -> None:
    """A link to confirm an address does not reset a password."""
    with app.app_context():
        token = tokens.issue(purpose, user=7)
        if purpose is other:
            assert tokens.read(other, token)
        else:
            with pytest.raises(TokenError):
                tokens.read(other, token)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_expires(app: Flask, purpose: Purpose) -> None:
    """After its time it is worth nothing, and is told from one that never was."""
    with app.app_context():
        token = tokens.issue(purpose, user=7)
        app.config["FLASKY_" + purpose.replace("-", "_").upper() + "_SECONDS"] = -1
        with pytest.raises(TokenExpiredError):
            tokens.read(purpose, token)


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-1], lambda t: "x" + t, lambda t: t.upper(), lambda t: "", lambda t: "."]
)
def test_a_changed_token_is_refused(app: Flask, damage: object) -> None:
    """Whatever was not issued is no token."""
    with app.app_context():
        token = tokens.issue(Purpose.RESET, user=7)
        with pytest.raises(TokenError):
            tokens.read(Purpose.RESET, damage(token))  # type: ignore[operator]


def test_a_key_can_be_replaced(app: Flask) -> None:
    """A token of an older key counts while that key is in SECRET_KEY_FALLBACKS."""
    with app.app_context():
        token = tokens.issue(Purpose.RESET, user=7)
        app.config["SECRET_KEY_FALLBACKS"] = [app.config["SECRET_KEY"]]
        app.config["SECRET_KEY"] = "a new one"
        assert tokens.read(Purpose.RESET, token) == {"user": 7}
        app.config["SECRET_KEY_FALLBACKS"] = None
        with pytest.raises(TokenError):
            tokens.read(Purpose.RESET, token)
