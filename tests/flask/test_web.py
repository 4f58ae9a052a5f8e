"""The admin's pages by Flask's test client: who may, what is refused, what the browser is told, what changes."""

from __future__ import annotations

import re
from html import unescape
from importlib.metadata import version
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask, abort, redirect
from flask.testing import FlaskClient
from flask_wtf import CSRFProtect
from werkzeug.test import TestResponse

import outbox.web
from outbox import operations
from outbox.core.errors import NotBoundError
from outbox.delivery.states import State
from outbox.operations import Filter
from outbox.web import actions, csrf, headers
from tests.servers.databases import Database
from tests.web.seed import HOSTILE_REPLY, HOSTILE_SUBJECT, JAPANESE, LONG_ADDRESS, REFUSED, SCRIPT, Mail, seed, write
from tests.web.site import Site, bare, site

ROOT = "/admin/outbox"
GETS = (
    "/",
    "/mail",
    "/failures",
    "/pauses",
    "/history",
    "/mail/{id}",
    "/mail/{id}/html",
    "/mail/{id}/source",
    "/mail/{id}/message.eml",
    "/mail/{id}/attachments/1",
    "/confirm?action=cancel&id={id}",
    "/pauses/question?what=all",
    "/kinds",
    "/workers",
    "/workers/1/question?what=stop",
    "/mail/{id}/again",
    "/backlog",
    "/mail.csv",
    "/suppressions",
    "/effects",
    "/effects/question?what=run&name=nobody",
    "/batches",
    "/person",
)
BODIES = ("/mail/{id}/html", "/mail/{id}/source", "/mail/{id}/message.eml", "/mail/{id}/attachments/1")
CHANGES = (
    "/act",
    "/pause",
    "/resume",
    "/speed-up",
    "/mail/1/recipient",
    "/mail/1/send-again",
    "/workers/1/end",
    "/suppress",
    "/suppressions/1/lift",
    "/effects/change",
    "/batches/cancel",
    "/person/look",
    "/person/erase",
    "/person/export",
)


def text_of(response: TestResponse) -> str:
    """What a person reads: no tags, entities resolved, spaces single."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def token(client: FlaskClient) -> str:
    """The token of a form that the client was shown."""
    for action in ("cancel", "send-now"):
        page = client.get(f"{ROOT}/confirm?action={action}&id=1").text
        if found := re.search(rf'name="{csrf.FIELD}" value="([^"]+)"', page):
            return found[1]
    pytest.fail("no form")


def question(client: FlaskClient, **words: object) -> TestResponse:
    """What is asked before a change."""
    return client.get(f"{ROOT}/confirm", query_string=words)


def change(client: FlaskClient, path: str, **form: object) -> TestResponse:
    return client.post(ROOT + path, data={csrf.FIELD: token(client), **form})


def states(database: Database, *ids: int) -> list[State]:
    with database.engine.connect() as connection:
        return [found.state for id in ids if (found := operations.show(connection, id))]


def count(database: Database, **words: object) -> int:
    with database.engine.connect() as connection:
        return operations.count(connection, Filter(**words))


class TestWhoMay:
    """Three rights, each denied unless it is granted."""

    def test_closed_by_default(self, seeded: Database, ids: dict[str, int]) -> None:
        """A blueprint mounted without checks shows nothing to anybody and does nothing for anybody."""
        app = bare(seeded.url)
        app.register_blueprint(outbox.web.blueprint(), url_prefix=ROOT)
        client = app.test_client()
        for path in GETS:
            response = client.get(ROOT + path.format(id=ids["ann@example.org"]))
            assert response.status_code == 403, path
            assert "ann@example.org" not in response.text
            assert "Failures" not in response.text
        for path in CHANGES:
            assert client.post(ROOT + path).status_code == 403, path

    def test_every_page_asks_for_a_right(self, pages: Site) -> None:
        """No page but the style sheet is open to who may nothing."""
        pages.rights.view = False
        client = pages.app.test_client()
        rules = [rule for rule in pages.app.url_map.iter_rules() if rule.endpoint.startswith("outbox_admin.")]
        assert (
            len(rules) == len(GETS) + len(CHANGES) + 5
        )  # the style sheet, /mail/, two questions about what is not there, and what is no page
        for rule in rules:
            if not rule.endpoint.endswith(".static"):
                path = rule.rule.replace("<int:id>", "1").replace("<int:number>", "1")
                path = path.replace("<path:rest>", "nowhere")
                assert client.open(path, method="POST" if "POST" in rule.methods else "GET").status_code == 403, path

    def test_a_view_needs_to_name_a_right(self) -> None:
        """A page that forgets to say which right it needs cannot be registered."""
        with pytest.raises(ValueError, match="say which right"):
            outbox.web.Rights().guard(lambda: "open")

    def test_bodies_are_a_right_of_their_own(self, pages: Site, client: FlaskClient, ids: dict[str, int]) -> None:
        """Who may look at the queue but not read sees envelope and replies, no text, no HTML, no secret header."""
        pages.rights.read_bodies = False
        id = ids["ann@example.org"]
        page = client.get(f"{ROOT}/mail/{id}")
        assert page.status_code == 200
        assert "does not exist" in page.text
        assert "You may not read the content of this message" in page.text
        for secret in ("auth/reset", "sEcReT", "<iframe", "Dear Ann", ".eml"):
            assert secret not in page.text, secret
        for path in BODIES:
            assert client.get(ROOT + path.format(id=id)).status_code == 403, path

    def test_acting_is_a_right_of_its_own(
        self, pages: Site, client: FlaskClient, ids: dict[str, int], seeded: Database
    ) -> None:
        """Who may look but not act sees no button, and what they send all the same is refused."""
        id = ids["ann@example.org"]
        valid = token(client)
        pages.rights.act = pages.rights.send_now = pages.rights.erase = False
        for path in ("/mail?state=failed", f"/mail/{id}", "/failures"):
            page = client.get(ROOT + path).text
            assert 'method="post"' not in page, path
            assert "/confirm" not in page, path
        for path in CHANGES:
            form = {csrf.FIELD: valid, "action": "requeue", "id": id}
            assert client.post(ROOT + path, data=form).status_code == 403, path
        assert states(seeded, id) == [State.FAILED]

    def test_acting_needs_looking(self, pages: Site, client: FlaskClient, ids: dict[str, int]) -> None:
        """The other rights count for nothing without the right to look."""
        valid = token(client)
        pages.rights.view = False
        form = {csrf.FIELD: valid, "action": "requeue", "id": ids["ann@example.org"]}
        assert client.post(f"{ROOT}/act", data=form).status_code == 403
        assert client.get(f"{ROOT}/mail/{ids['ann@example.org']}/source").status_code == 403

    def test_no_right_without_the_first(self) -> None:
        """Whoever asks on a page for a right to read or act hears no where looking is not allowed."""
        rights = outbox.web.Rights(may_read_bodies=lambda: True, may_act=lambda: True)
        assert not any(rights.may(right) for right in outbox.web.Right)

    def test_a_check_may_send_to_the_log_in_page(self, seeded: Database) -> None:
        """A check that aborts with a response of its own has its way."""

        def logged_in() -> bool:
            abort(redirect("/log-in"))

        app = bare(seeded.url)
        app.register_blueprint(outbox.web.blueprint(may_view=logged_in), url_prefix=ROOT)
        response = app.test_client().get(f"{ROOT}/mail")
        assert (response.status_code, response.location) == (302, "/log-in")

    def test_who_is_not_logged_in_is_denied(self, seeded: Database, caplog: pytest.LogCaptureFixture) -> None:
        """Flask-Login's anonymous user has no attribute of the application's: no is no, for each right, not a 500."""

        class Anonymous:
            is_authenticated = False

        def is_support() -> bool:
            return bool(Anonymous().is_support)  # type: ignore[attr-defined]

        app = bare(seeded.url)
        app.register_blueprint(outbox.web.blueprint(may_view=is_support), url_prefix=ROOT)
        app.register_blueprint(outbox.web.health_blueprint(may_view=is_support), url_prefix="/health")
        for path in (f"{ROOT}/", f"{ROOT}/mail"):
            assert app.test_client().get(path).status_code == 403
        assert app.test_client().get("/health/metrics").status_code in {401, 403, 404}
        assert "is_support" in caplog.text
        rights = outbox.web.Rights(may_view=lambda: True, may_act=is_support)
        assert not rights.may(outbox.web.Right.ACT)
        assert rights.may(outbox.web.Right.VIEW)

    def test_another_name(self, seeded: Database, ids: dict[str, int]) -> None:
        """The blueprint works under any name and prefix, twice in one application if need be."""
        app = bare(seeded.url)
        for name in ("one", "two"):
            made = outbox.web.blueprint(may_view=lambda: True, name=name)
            app.register_blueprint(made, url_prefix=f"/{name}/mail")
        page = app.test_client().get("/two/mail/mail")
        assert page.status_code == 200
        assert f'href="/two/mail/mail/{ids["ann@example.org"]}"' in page.text
        assert "/one/" not in page.text


class TestForms:
    """Nothing is changed but by a form of the page itself."""

    @pytest.mark.parametrize("path", CHANGES)
    def test_no_token_no_change(self, client: FlaskClient, ids: dict[str, int], seeded: Database, path: str) -> None:
        """A form without a valid token is refused with 400."""
        token(client)
        for value in (None, "", "x", "eyJhIjoxfQ.aR.x"):
            form = {"action": "requeue", "id": ids["ann@example.org"]} | ({} if value is None else {csrf.FIELD: value})
            response = client.post(ROOT + path, data=form)
            assert response.status_code == 400, value
            assert "token" in response.text, value
        assert states(seeded, ids["ann@example.org"]) == [State.FAILED]

    def test_token_of_another_session(self, pages: Site, ids: dict[str, int], seeded: Database) -> None:
        """A token that was given to somebody else does not count."""
        theirs = token(pages.app.test_client())
        client = pages.app.test_client()
        token(client)
        form = {csrf.FIELD: theirs, "action": "requeue", "id": ids["ann@example.org"]}
        assert client.post(f"{ROOT}/act", data=form).status_code == 400
        assert states(seeded, ids["ann@example.org"]) == [State.FAILED]

    def test_token_in_the_address(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """A token counts only in the form, never in the address."""
        form = {"action": "requeue", "id": ids["ann@example.org"]}
        assert client.post(f"{ROOT}/act?{csrf.FIELD}={token(client)}", data=form).status_code == 400

    def test_old_token(self, client: FlaskClient, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
        """A form that lay open too long is refused."""
        valid = token(client)
        monkeypatch.setattr(csrf, "LIFETIME", -1)
        form = {csrf.FIELD: valid, "action": "requeue", "id": ids["ann@example.org"]}
        assert client.post(f"{ROOT}/act", data=form).status_code == 400

    @pytest.mark.skipif(
        tuple(map(int, version("flask").split(".")[:2])) < (3, 1), reason="Flask reads SECRET_KEY_FALLBACKS since 3.1"
    )
    def test_rotated_key(self, pages: Site, client: FlaskClient, ids: dict[str, int]) -> None:
        """A form made with a key that is now a fallback is still taken."""
        valid = token(client)
        pages.app.config.update(SECRET_KEY_FALLBACKS=[pages.app.secret_key], SECRET_KEY="the next key")
        form = {csrf.FIELD: valid, "action": "requeue", "id": ids["ann@example.org"]}
        assert client.post(f"{ROOT}/act", data=form).status_code == 303

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
    def test_post_only(self, client: FlaskClient, method: str) -> None:
        """Changes are made by POST and by nothing else."""
        answers = {path: client.open(ROOT + path, method=method).status_code for path in CHANGES}
        assert answers == dict.fromkeys(CHANGES, 405)

    def test_no_secret_key(self, pages: Site, client: FlaskClient, ids: dict[str, int]) -> None:
        """Without a SECRET_KEY the pages can be read, and a change says what is missing."""
        pages.app.secret_key = None
        assert client.get(f"{ROOT}/mail").status_code == 200
        response = client.post(f"{ROOT}/act", data={"action": "requeue", "id": ids["ann@example.org"]})
        assert response.status_code == 400
        assert "SECRET_KEY" in response.text

    def test_beside_csrfprotect_over_https(
        self, pages: Site, client: FlaskClient, seeded: Database, ids: dict[str, int]
    ) -> None:
        """Where Flask-WTF guards the whole application, our forms pass its check as well as ours, over HTTPS too."""
        CSRFProtect(pages.app)
        page = client.get(f"{ROOT}/mail/{ids['ann@example.org']}", base_url="https://example.org")
        assert page.headers["Referrer-Policy"] == "same-origin"  # with no-referrer the check below would fail
        form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        form["action"] = "requeue"
        sent = {"base_url": "https://example.org", "headers": {"Referer": f"https://example.org{ROOT}/mail"}}
        assert client.post(f"{ROOT}/act", data=form, **sent).status_code == 303
        assert states(seeded, ids["ann@example.org"]) == [State.QUEUED]
        del form["csrf_token"]
        assert client.post(f"{ROOT}/act", data=form, **sent).status_code == 400


class TestHeaders:
    """What the browser is told."""

    def test_on_every_page(self, pages: Site, client: FlaskClient, ids: dict[str, int]) -> None:
        """A strict policy, no sniffing, no framing, no caching; on refusals too."""
        paths = [path.format(id=ids["ann@example.org"]) for path in GETS if path not in (*BODIES, "/mail.csv")]
        seen = [client.get(ROOT + path) for path in [*paths, "/mail/999999", "/mail?state=nonsense"]]
        seen.append(client.post(f"{ROOT}/act"))
        pages.rights.view = False
        seen.append(client.get(f"{ROOT}/mail"))
        assert {response.status_code for response in seen} == {200, 400, 403, 404}
        for response in seen:
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            for part in ("script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
                assert part in policy
            assert "form-action 'self'" in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Referrer-Policy"] == "same-origin"

    def test_the_list_as_a_file(self, client: FlaskClient) -> None:
        """A browser that shows it instead of saving it runs nothing of it."""
        with client.get(f"{ROOT}/mail.csv") as response:
            assert response.status_code == 200
            assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["Cache-Control"] == "no-store"

    def test_no_script_and_no_style_in_the_page(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """The pages hold nothing that their own policy would block."""
        for path in ("/", "/mail", f"/mail/{ids['ann@example.org']}", "/failures"):
            page = client.get(ROOT + path).text
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=\"|javascript:", page), path

    def test_nothing_from_elsewhere(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """All that a page loads lies in the package."""
        for path in ("/", "/mail", f"/mail/{ids['ann@example.org']}"):
            page = client.get(ROOT + path).text
            loaded = re.findall(r'<(?:link|script|img|iframe)\b[^>]*?\b(?:href|src)="([^"]*)"', page)
            assert loaded
            for address in loaded:
                assert address.startswith(f"{ROOT}/"), address
                with client.get(unescape(address)) as part:
                    assert part.status_code == 200

    def test_the_mail_as_html(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """The HTML is a sandboxed document of its own without script, form or remote content."""
        id = ids["ann@example.org"]
        assert re.search(
            r'<iframe[^>]* sandbox="allow-popups allow-popups-to-escape-sandbox"[^>]* src="[^"]*/mail/\d+/html"',
            client.get(f"{ROOT}/mail/{id}").text,
        )
        response = client.get(f"{ROOT}/mail/{id}/html")
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert "sandbox allow-popups allow-popups-to-escape-sandbox" in policy  # a link opens a tab, nothing else
        assert "img-src data:" in policy
        assert "form-action 'none'" in policy
        assert not any(part.startswith("script-src") for part in policy)
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert 'src="data:image/png;base64,' in response.text  # it was cid:logo

    def test_remote_images_when_asked(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Remote images, and nothing else that is remote, may be asked for."""
        response = client.get(f"{ROOT}/mail/{ids['ann@example.org']}/html?remote=1")
        assert response.headers["Content-Security-Policy"] == headers.MAIL_WITH_REMOTE_IMAGES
        assert headers.MAIL_WITH_REMOTE_IMAGES.replace("data: https: http:;", "data:;") == headers.MAIL

    @pytest.mark.parametrize(
        "opening",
        ["<link ", "<LINK/", "<Link\n", "<iframe ", "<frame ", "<link>", "<lin<link k ", "<object\t", "<embed "],
    )
    def test_elements_that_call_home_by_being_there(self, client: FlaskClient, seeded: Database, opening: str) -> None:
        """Elements that make a browser connect before it asks the policy are not in the HTML any more."""
        with seeded.engine.begin() as connection:
            [id] = write(
                connection, Mail({"eve@example.org": State.SENT}, html=f"<p>linked</p>{opening}rel=preconnect>")
            )
        shown = client.get(f"{ROOT}/mail/{id}/html").text
        assert "<p>linked</p>" in shown
        assert "rel=preconnect>" in shown
        assert not re.search(r"<(link|iframe|frame|object|embed)\b", shown, re.IGNORECASE)

    def test_downloads_are_files(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """The source is given as a file, never shown as a page."""
        with client.get(f"{ROOT}/mail/{ids['ann@example.org']}/message.eml") as response:
            assert response.headers["Content-Disposition"].startswith("attachment")
            assert "sandbox" in response.headers["Content-Security-Policy"]
            assert response.data.startswith(b"From: flasky@example.com\r\n")


class TestLooking:
    """What the pages show."""

    def test_overview(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Counts by state, failures by cause, the workers."""
        words = text_of(client.get(f"{ROOT}/"))
        for expected in (
            "41 failed",
            "1 uncertain",
            "37 × 5.1.1 gone.example.org",
            "mail-1 :4711",
            "smtp.example.com :587",
        ):
            assert expected in words, expected

    def test_what_is_wrong_comes_first(self, client: FlaskClient, seeded: Database) -> None:
        """Before all figures, with what to do about it."""
        with seeded.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE outbox_worker SET stopped_at = heartbeat_at")
        words = text_of(client.get(f"{ROOT}/"))
        wrong = words.index("The outbox is degraded. Mail is due and no worker is alive: start outbox-sender")
        assert wrong < words.index("Mail by state")

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("recipient=ann@example.org", {"ann@example.org"}),
            ("state=uncertain", {"invoice@example.com"}),
            ("state=uncertain,cancelled", {"invoice@example.com", "bob@example.com"}),
            ("kind=confirm", {"carol@example.com"}),
            ("error=5.1.10", {"bcc@typo.example"}),
            ("error=expired", {"old@example.org"}),
            ("error=greylisted&state=queued", {"long@example.com"}),
            ("subject=minutes+of", {"to@example.com", "cc@example.com", "bcc@typo.example"}),
            ("domain=example.jp", {"tanaka@example.jp"}),
            ("priority=high", {"dora@example.com"}),
            ("older-than=1d", {"old@example.org"}),
            ("search=invoice", {"invoice@example.com"}),
            ("state=failed&transport=smtp.example.com:587&kind=password-reset", {"ann@example.org"}),
            ("transport=elsewhere.example.com", set()),
            ("search=TANAKA@example.jp", {"tanaka@example.jp"}),
            ("recipient=nobody", set()),
        ],
    )
    def test_filters(self, client: FlaskClient, ids: dict[str, int], words: str, expected: set[str]) -> None:
        """Each filter word finds what it says."""
        page = client.get(f"{ROOT}/mail?{words}", follow_redirects=True)
        assert page.status_code == 200
        rows = re.findall(r'data-label="Recipient"><bdi>([^<]*)</bdi>', page.text)
        assert set(rows) == expected
        assert len(rows) == len(expected)

    def test_a_search_for_a_recipient_becomes_that_filter(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """A whole address to which mail went is looked up by the index; what else has an @ is searched."""
        found = client.get(f"{ROOT}/mail?search=ann@example.org&state=failed")
        assert found.location == f"{ROOT}/mail?state=failed&recipient=ann@example.org"
        assert client.get(f"{ROOT}/mail?search=nobody@example.org").status_code == 200
        assert client.get(f"{ROOT}/mail?search=%3Cann@example.org%3E").status_code == 200

    @pytest.mark.parametrize(
        "words", ["state=nonsense", "priority=x", "older-than=soon", "before=x", "before=-1", "before=1e9"]
    )
    def test_bad_words(self, client: FlaskClient, words: str) -> None:
        """A filter word that is none is told so, with those that there are."""
        response = client.get(f"{ROOT}/mail?{words}")
        assert response.status_code == 400
        assert "is not" in response.text or "is no" in response.text

    def test_pages_by_key(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Older and newer lead through all mail, each once, and back."""
        seen: list[str] = []
        visited: list[str] = []
        path: str | None = f"{ROOT}/mail?since=7d"
        while path:
            visited.append(path)
            page = client.get(path).text
            seen += re.findall(r'name="id" value="(\d+)"', page)
            link = re.search(r'rel="next" href="([^"]+)"', page)
            path = unescape(link[1]) if link else None
        assert len(visited) == 3
        assert "offset" not in visited[-1].lower()
        assert [int(id) for id in seen] == sorted(ids.values(), reverse=True)
        back = re.search(r'rel="prev" href="([^"]+)"', client.get(visited[2]).text)
        assert back
        middle = client.get(unescape(back[1])).text
        assert re.findall(r'name="id" value="(\d+)"', middle) == seen[50:100]
        first = re.search(r'rel="prev" href="([^"]+)"', middle)
        assert first
        assert re.findall(r'name="id" value="(\d+)"', client.get(unescape(first[1])).text) == seen[:50]

    def test_capped_count(self, client: FlaskClient, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
        """Counting stops at a limit and says so."""
        monkeypatch.setattr("outbox.web.pages.CAP", 20)
        assert "over 20 match" in text_of(client.get(f"{ROOT}/mail?state=failed"))

    def test_one_mail(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Why it failed, each try with phase, code, words, worker and duration, the envelope, the text."""
        words = text_of(client.get(f"{ROOT}/mail/{ids['ann@example.org']}"))
        for expected in (
            "Failed (refused)",
            "transport at CONNECT not counted as an attempt",
            "450 4.7.1 Greylisted",
            "permanent at RCPT smtp.example.com:587 replied 550 5.1.1 The email account that you tried to ",
            "took 412 ms · worker mail-1 :4711",
            "https://flasky.example/auth/reset/",
            "List-Unsubscribe <https://flasky.example/u/sEcReT>",
            "password-reset",
        ):
            assert expected in words, expected

    def test_fellow_recipients(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """The deliveries of the same message lead to each other."""
        page = client.get(f"{ROOT}/mail/{ids['bcc@typo.example']}").text
        assert f'href="{ROOT}/mail/{ids["to@example.com"]}"' in page
        assert f'href="{ROOT}/mail/{ids["cc@example.com"]}"' in page

    def test_attachments_are_listed(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Name, type and size of what is attached."""
        words = text_of(client.get(f"{ROOT}/mail/{ids['invoice@example.com']}"))
        assert "Rechnung für Ann.pdf application/pdf · 8.1 KB" in words

    def test_unicode(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Other scripts and very long words are shown as they are."""
        page = client.get(f"{ROOT}/mail").text
        assert JAPANESE in page
        assert LONG_ADDRESS in page
        assert "田中様" in client.get(f"{ROOT}/mail/{ids['tanaka@example.jp']}").text

    def test_redacted(self, client: FlaskClient, seeded: Database) -> None:
        """What was redacted is not shown, and the page says when it was."""
        with seeded.engine.begin() as connection:
            [id] = write(connection, Mail({"ann@example.org": State.SENT}, html="<p>token</p>", redacted=True))
        page = client.get(f"{ROOT}/mail/{id}").text
        assert "was redacted" in page
        assert "<iframe" not in page
        assert client.get(f"{ROOT}/mail/{id}/html").status_code == 404

    def test_a_damaged_mail_can_be_looked_at(self, client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
        """A message whose stored form is damaged shows what is known and says what is wrong."""
        with seeded.engine.begin() as connection:
            connection.execute(sa.text("UPDATE outbox_message SET size = 1 WHERE subject = 'Welcome to Flasky'"))
        page = client.get(f"{ROOT}/mail/{ids['bob@example.com']}")
        assert page.status_code == 200
        assert "is damaged" in page.text
        assert "bob@example.com" in page.text
        assert client.get(f"{ROOT}/mail/{ids['bob@example.com']}/source").status_code == 500

    @pytest.mark.parametrize("id", ["999999", "0", str(2**63), str(10**30)])
    def test_no_such_mail(self, client: FlaskClient, id: str) -> None:
        """A number without mail is 404, however large."""
        assert client.get(f"{ROOT}/mail/{id}").status_code == 404

    def test_hostile_text_stays_text(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Script in subject, reply, kind, header and body is shown, not run; templates are not evaluated."""
        id = ids["kaputt@example.net"]
        for path in ("/", "/mail", f"/mail/{id}", f"/mail/{id}/source", "/failures", f"/mail?search={SCRIPT}"):
            page = client.get(ROOT + path)
            assert page.status_code == 200
            assert SCRIPT not in page.text, path
            assert "<i>kind</i>" not in page.text
            assert "& 49" not in unescape(page.text), path
        words = text_of(client.get(f"{ROOT}/mail/{id}"))
        assert " ".join(HOSTILE_SUBJECT.split()) in words
        assert HOSTILE_REPLY in words


class TestChanging:
    """Requeue, cancel, mark as sent."""

    def test_one_mail_at_once(self, client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
        """One failed mail is requeued by one click on its page, and the page says so."""
        id = ids["ann@example.org"]
        response = change(client, "/act", action="requeue", id=id, origin=id)
        assert (response.status_code, response.location) == (303, f"{ROOT}/mail/{id}")
        assert states(seeded, id) == [State.QUEUED]
        assert "This message is queued again and due now." in text_of(client.get(response.location))
        assert "This message is queued again and due now." not in text_of(client.get(response.location))

    @pytest.mark.parametrize(
        ("recipient", "at_once", "asked"),
        [
            ("ann@example.org", {"requeue", "cancel"}, {"mark-sent"}),
            ("invoice@example.com", set(), {"requeue", "mark-sent"}),
            ("bob@example.com", {"requeue"}, set()),
            ("long@example.com", {"cancel", "send-now"}, set()),
            ("carol@example.com", set(), set()),
            ("tanaka@example.jp", set(), set()),
        ],
    )
    def test_buttons(
        self, client: FlaskClient, ids: dict[str, int], recipient: str, at_once: set[str], asked: set[str]
    ) -> None:
        """A page offers what can be done in its state; what may duplicate or cannot be undone is asked first."""
        page = client.get(f"{ROOT}/mail/{ids[recipient]}").text
        assert set(re.findall(r'<button name="action" value="([^"]+)"[^>]*>', page)) == at_once
        assert set(re.findall(r'href="[^"]*/confirm\?action=([^&"]+)', page)) == asked
        primary = re.findall(r'<button name="action" value="([^"]+)" class="primary">', page)
        assert "cancel" not in primary

    def test_preview_changes_nothing(self, client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
        """The first form says how many will change and which are passed over; only the second does it."""
        before = {state: count(seeded, states=(state,)) for state in State}
        ticked = [
            ids[name] for name in ("ann@example.org", "tanaka@example.jp", "carol@example.com", "bob@example.com")
        ]
        page = question(client, action="requeue", id=ticked)
        words = text_of(page)
        assert "Requeue 2 messages?" in words
        assert "skipped: a worker is sending them" in words
        assert "skipped: sent mail can't be requeued" in words
        assert {state: count(seeded, states=(state,)) for state in State} == before
        form = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        data = {name: [value for other, value in form if other == name] for name, _ in form}
        assert client.post(f"{ROOT}/act", data=data).status_code == 303
        assert states(seeded, *ticked) == [State.QUEUED, State.SENT, State.SENDING, State.QUEUED]

    def test_all_that_match(self, client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
        """All that match a filter, not only those on the page, are changed; the others are left alone."""
        words = {"scope": "all", "state": "failed", "domain": "gone.example.org"}
        assert "Requeue 37 messages?" in text_of(question(client, action="requeue", **words))
        response = change(client, "/act", action="requeue", **words)
        assert "37 messages are queued again and due now." in text_of(client.get(response.location))
        assert "domain=gone.example.org" in response.location
        assert count(seeded, states=(State.FAILED,)) == 4

    def test_ids_are_ignored_when_all_are_meant(
        self, client: FlaskClient, ids: dict[str, int], seeded: Database
    ) -> None:
        """With "all that match" the ticks do not count, and with "the ticked ones" the filter does not."""
        change(
            client, "/act", action="requeue", scope="all", error="expired", state="failed", id=ids["ann@example.org"]
        )
        assert states(seeded, ids["ann@example.org"], ids["old@example.org"]) == [State.FAILED, State.QUEUED]
        change(client, "/act", action="requeue", scope="ticked", state="sent", id=ids["ann@example.org"])
        assert states(seeded, ids["ann@example.org"]) == [State.QUEUED]

    def test_cancel_and_mark_as_sent(self, client: FlaskClient, ids: dict[str, int], seeded: Database) -> None:
        """What is queued can be cancelled, what is uncertain marked as sent."""
        change(client, "/act", action="cancel", id=ids["long@example.com"])
        change(client, "/act", action="mark-sent", id=ids["invoice@example.com"])
        found = states(seeded, ids["long@example.com"], ids["invoice@example.com"])
        assert found == [State.CANCELLED, State.SENT]

    def test_warnings(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Requeueing what is uncertain warns of a duplicate, marking as sent that it is for good."""
        id = ids["invoice@example.com"]
        assert "a second time" in question(client, action="requeue", id=id).text
        assert "can't be undone" in text_of(question(client, action="mark-sent", id=id))

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ({"action": "delete", "id": 1}, "no such action"),
            ({"action": "requeue", "id": "1 OR 1=1"}, "is not the number"),
            ({"action": "requeue", "scope": "all"}, "All mail would match"),
            ({"action": "requeue", "scope": "all", "state": "nonsense"}, "is not a state"),
            ({"action": "requeue", "id": list(range(1, 202))}, "At most 200"),
            ({"action": "requeue", "id": 1, "origin": "//evil.example"}, "is not the number"),
        ],
    )
    @pytest.mark.parametrize("path", ["/confirm", "/act"])
    def test_bad_forms(
        self,
        client: FlaskClient,
        ids: dict[str, int],
        seeded: Database,
        path: str,
        form: dict[str, object],
        expected: str,
    ) -> None:
        """A form that says nothing sensible is refused with 400 and changes nothing."""
        response = change(client, path, **form) if path == "/act" else question(client, **form)
        assert response.status_code == 400
        assert expected in response.text
        assert count(seeded, states=(State.FAILED,)) == 41

    def test_no_open_redirect(self, client: FlaskClient, ids: dict[str, int]) -> None:
        """Wherever a change leads is within the pages, whatever the form says."""
        for name in ("next", "back", "origin", "search", "recipient"):
            response = change(client, "/act", action="cancel", id=ids["long@example.com"], **{name: "//evil.example/"})
            assert response.status_code == 400 or response.location.partition("?")[0] == f"{ROOT}/mail"

    def test_outcome_says_only_its_own_words(self, client: FlaskClient) -> None:
        """No address shows a success that never was."""
        for path in ("/mail?did=requeue&changed=3", "/mail/1?did=requeue&changed=3", "/pauses?did=paused"):
            assert 'role="status"' not in client.get(ROOT + path).text, path

    def test_a_long_change_stops_and_says_so(
        self, client: FlaskClient, ids: dict[str, int], seeded: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A change that takes longer than a request should is told to be unfinished."""
        monkeypatch.setattr(actions, "BUDGET_SECONDS", -1.0)
        monkeypatch.setattr(operations.transitions, "BATCH", 10)
        response = change(client, "/act", action="requeue", scope="all", state="failed")
        page = text_of(client.get(response.location))
        assert "10 messages are queued again and due now." in page
        assert "repeat this for the rest" in page
        assert count(seeded, states=(State.FAILED,)) == 31

    def test_who_did_it_is_logged(
        self, client: FlaskClient, ids: dict[str, int], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log says who changed how many and by which filter, in one line."""
        caplog.set_level("INFO", "outbox.web")
        change(client, "/act", action="requeue", id=ids["ann@example.org"])
        [record] = [record for record in caplog.records if record.name == "outbox.web"]
        assert "status=requeued by='ann@example.org' deliveries=1" in record.getMessage()
        assert "\n" not in record.getMessage()


class TestTrouble:
    """When the database is not as it should be."""

    def test_not_migrated(self, tmp_path: Path) -> None:
        """A database without tables gives 503 and the command that fixes it."""
        made = site(f"sqlite:///{tmp_path}/empty.sqlite3")
        client = made.app.test_client()
        for path in ("/", "/mail", "/mail/1", "/failures"):
            response = client.get(ROOT + path)
            assert response.status_code == 503, path
            assert "alembic upgrade head" in text_of(response)
            assert "Traceback" not in response.text
        made.close()

    def test_unreachable(self) -> None:
        """A database that does not answer gives 503 and no password."""
        made = site("postgresql+psycopg://outbox:hunter2@127.0.0.1:1/outbox?connect_timeout=2")
        response = made.app.test_client().get(f"{ROOT}/mail")
        assert response.status_code == 503
        assert "does not answer" in response.text
        assert "safe" in response.text
        assert "hunter2" not in response.text
        made.close()

    def test_no_outbox(self) -> None:
        """An application without an outbox is told what to call."""
        app = Flask("none")
        app.testing = True
        app.register_blueprint(outbox.web.blueprint(may_view=lambda: True), url_prefix=ROOT)
        with pytest.raises(NotBoundError, match="init_app"):
            app.test_client().get(f"{ROOT}/mail")


def test_on_each_database(database: Database) -> None:
    """Every page answers, and a group is requeued, on each of the databases."""
    ids = seed(database.engine)
    made = site(database.url)
    client = made.app.test_client()
    for path in GETS:
        with client.get(ROOT + path.format(id=ids["ann@example.org"])) as response:
            assert response.status_code == 200, path
    words = {"scope": "all", "state": "failed", "domain": "gone.example.org"}
    assert "Requeue 37 messages?" in text_of(question(client, action="requeue", **words))
    change(client, "/act", action="requeue", **words)
    assert count(database, states=(State.FAILED,)) == 4
    made.close()


def test_the_parts_lie_in_the_package() -> None:
    """Templates and static files are found beside the code, where the package's build takes them from."""
    folder = Path(outbox.web.__file__).parent
    assert (folder / "templates/outbox_admin/mail.html").is_file()
    assert (folder / "static/admin.css").is_file()
    assert REFUSED.code == 550
