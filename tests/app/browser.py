"""A visitor: follows links, fills in the forms that a page really shows, with the tokens in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PASSWORD = "correct horse battery"


@dataclass
class Form:
    """One form of a page."""

    method: str = "get"
    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)


class Forms(HTMLParser):
    """Reads the forms of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(values.get("method", "get"), values.get("action", "")))
        elif tag == "input" and self.forms and values.get("name"):
            self.forms[-1].fields[values["name"]] = values.get("value", "")


def without_tokens(page: str) -> str:
    """`page` without what differs each time it is shown."""
    return re.sub(r'name="csrf_token"[^>]*>', "", page)


class Visitor:
    """One browser with its cookies."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str) -> TestResponse:
        """The page at `path`, redirects followed."""
        return self.client.get(path, follow_redirects=True)

    def submit(self, page: str, *, follow: bool = True, **values: str) -> TestResponse:
        """Fill in the form on `page` that has all of the fields `values`, and send it."""
        response = self.client.get(page)
        assert response.status_code == 200, f"{page}: {response.status} {response.location}"
        form = next(
            f
            for f in Forms(response.text).forms
            if values.keys() <= f.fields.keys() and f.method == "post" and (values or f.action != "/auth/logout")
        )
        return self.client.post(form.action or page, data={**form.fields, **values}, follow_redirects=follow)

    def press(self, page: str, action: str) -> TestResponse:
        """Press the button on `page` whose form leads to `action`."""
        form = next(f for f in Forms(self.client.get(page).text).forms if f.action == action)
        return self.client.post(action, data=form.fields, follow_redirects=True)

    def register(self, email: str = "ada@example.org", username: str = "ada", **more: str) -> TestResponse:
        """Ask for an account."""
        values = {"email": email, "username": username, "password": PASSWORD, "password2": PASSWORD, **more}
        return self.submit("/auth/register", **values)

    def log_in(self, email: str = "ada@example.org", password: str = PASSWORD) -> TestResponse:
        """Log in."""
        return self.submit("/auth/login", email=email, password=password)

    def name(self) -> str | None:
        """Whom the pages take this visitor for."""
        found = re.search(r"<h1>Hello, (.*?)!</h1>", self.client.get("/").text)
        return found[1] if found else None
