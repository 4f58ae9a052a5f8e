"""Addresses: of mail links, and of redirects after a log-in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest

from app.links import external_url, is_local_path, is_loopback, local_path

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "\x00//evil.example",
    "/\x0b/evil.example",
    "/\x85/evil.example",
    "http://evil.example",
    "https://evil.example/account",
    "HTTPS:evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "account",
    "?next=x",
    "#x",
    "",
    "//[",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_what_may_lead_elsewhere_is_refused(target: str) -> None:
    """Nothing that a browser takes for another site is a local path."""
    assert not is_local_path(target)
    assert local_path(target, "/home") == "/home"


@pytest.mark.parametrize(
    "target", ["/", "/account", "/account?tab=1&x=//evil.example", "/a//b", "/a:b", "/%2F%2Fx", "/é"]
)
def test_a_path_of_this_site_is_kept(target: str) -> None:
    """Paths, with their queries, are what one may go on to."""
    assert local_path(target, "/home") == target


def test_no_target_is_the_default() -> None:
    """Without `next` one goes home."""
    assert local_path(None, "/home") == "/home"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("app.localhost:5000", True),
        ("127.0.0.1:8080", True),
        ("127.8.8.8", True),
        ("[::1]:5000", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:127", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_this_machine_is_told_by_its_name(host: str, here: bool) -> None:
    """Only loopback names and addresses are this machine."""
    assert is_loopback(host) is here


def test_links_without_a_setting_lead_to_this_machine(app: Flask) -> None:
    """In a request by a loopback name the link goes where the request came from; any other is refused."""
    with app.test_request_context("/", base_url="http://127.0.0.1:8080/sub"):
        assert external_url("auth.confirm", token="x") == "http://127.0.0.1:8080/sub/auth/confirm/x"
    with app.test_request_context("/", base_url="http://10.0.0.1"), pytest.raises(BadRequest, match="FLASKY_BASE_URL"):
        external_url("auth.confirm", token="x")


def test_links_follow_the_setting(make_app: Callable[..., Flask]) -> None:
    """FLASKY_BASE_URL counts in a request and outside of one."""
    app = make_app(FLASKY_BASE_URL="https://www.example.org/x")
    with app.app_context():
        assert external_url("main.home") == "https://www.example.org/x/"
    with app.test_request_context("/", base_url="http://evil.example"):
        assert external_url("main.account") == "https://www.example.org/x/account"
