"""The pages that show the mail which the local SMTP server took."""

from __future__ import annotations

import re
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from devserver.faults import Fault, Faults
from devserver.mailbox import Mailbox
from devserver.pages import create_app, linked
from outbox.message.reports import events

PNG = b"\x89PNG\r\n\x1a\n not really"


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mailbox")


@pytest.fixture
def client(mailbox: Mailbox) -> FlaskClient:
    return create_app(mailbox, "http://127.0.0.1:5000").test_client()


@pytest.fixture
def name(mailbox: Mailbox) -> str:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.com>"
    message["Subject"] = "<b>Hello</b>"
    message.set_content("Go to http://127.0.0.1:5000/auth/confirm/x.y?a=1&b=2. <script>alert(1)</script>")
    message.add_alternative('<p>Hello</p><script>x</script><img src="cid:logo@x">', subtype="html")
    message.get_payload()[1].add_related(PNG, "image", "png", cid="<logo@x>")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Übersicht.pdf")
    return mailbox.add("ada@example.com", ["bob@example.com"], message.as_bytes())


def test_says_when_there_is_none(client: FlaskClient) -> None:
    """An empty mailbox says what to do to fill it."""
    assert "No mail yet" in client.get("/").text


def test_lists_the_newest_first(client: FlaskClient, mailbox: Mailbox) -> None:
    """The list has recipient and subject, escaped."""
    for subject in ("first", "<i>second"):
        mailbox.add("a@example.com", ["bob@example.com"], f"Subject: {subject}\r\n\r\n".encode())
    page = client.get("/").text
    assert page.index("&lt;i&gt;second") < page.index("first")
    assert "bob@example.com" in page
    assert "<i>" not in page


def test_shows_one_mail(client: FlaskClient, name: str) -> None:
    """Its text has live links, its subject and text are escaped, its HTML is in a frame that runs nothing."""
    page = client.get(f"/mail/{name}").text
    assert '<a href="http://127.0.0.1:5000/auth/confirm/x.y?a=1&amp;b=2" ' in page
    assert "<script>" not in page
    assert "<h1>&lt;b&gt;Hello&lt;/b&gt;</h1>" in page
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
    assert "Übersicht.pdf" in page


def test_html_is_shut_in(client: FlaskClient, name: str) -> None:
    """The HTML comes with a policy that allows neither scripts nor anything from elsewhere; inline images show."""
    response = client.get(f"/mail/{name}/html")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox ")
    assert "default-src 'none'" in policy
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert 'src="data:image/png;base64,' in response.text


def test_raw_and_attachments(client: FlaskClient, name: str) -> None:
    """The mail as it arrived is plain text; an attachment is a download."""
    raw = client.get(f"/mail/{name}/raw")
    assert raw.mimetype == "text/plain"
    assert raw.data.startswith(b"Return-Path: <ada@example.com>\r\nDelivered-To: bob@example.com\r\n")
    attachment = client.get(f"/mail/{name}/attachments/0")
    assert attachment.data == b"%PDF"
    assert attachment.headers["Content-Disposition"].startswith("attachment")
    assert client.get(f"/mail/{name}/attachments/1").status_code == 404


@pytest.mark.parametrize("name", ["x", "..", "20300101T000000000000-00000000", ".20300101T000000000000-00000000"])
def test_what_is_no_mail_is_not_found(client: FlaskClient, name: str) -> None:
    """Names that are none, or lead elsewhere, are 404."""
    assert client.get(f"/mail/{name}").status_code == 404


def test_only_by_its_own_name(client: FlaskClient) -> None:
    """A page of another site cannot read it by a host name that leads to 127.0.0.1."""
    assert client.get("/", headers={"Host": "evil.example.com"}).status_code == 400


def test_linked_leaves_out_what_ends_a_sentence() -> None:
    """Punctuation after a URL is not part of it."""
    assert linked("(see https://example.com/a.).").count(">https://example.com/a<") == 1


def test_search(client: FlaskClient, mailbox: Mailbox, name: str) -> None:
    """By recipient, sender, subject or text, in any case."""
    mailbox.add("a@example.com", ["eve@example.net"], b"Subject: Invoice\r\n\r\nPay 12 euros\r\n")
    for words in ("EVE@example.net", "invoice", "12 Euros"):
        page = client.get("/", query_string={"q": words}).text
        assert "eve@example.net" in page
        assert "bob@example.com" not in page
    assert "No mail matches." in client.get("/?q=nothing").text
    assert "http-equiv" not in client.get("/").text


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "faults")


@pytest.fixture
def with_relays(mailbox: Mailbox, faults: Faults) -> FlaskClient:
    return create_app(mailbox, "http://127.0.0.1:5000", {"main": 2525, "backup": 2526}, faults).test_client()


def test_says_which_relay_took_it(with_relays: FlaskClient, mailbox: Mailbox) -> None:
    """The list names the relay of each message."""
    mailbox.add("a@example.com", ["bob@example.com"], b"Subject: first\r\n\r\n", "backup")
    assert '<td data-label="By">backup</td>' in with_relays.get("/").text


def test_a_fault_is_set_by_its_own_form_alone(with_relays: FlaskClient, faults: Faults) -> None:
    """A page of another site can't set one, and what does not exist is not found."""
    own = {"Origin": "http://localhost"}
    assert with_relays.post("/relays/main", data={"fault": "down"}).status_code == 403
    other = {"Origin": "https://evil.example"}
    assert with_relays.post("/relays/main", data={"fault": "down"}, headers=other).status_code == 403
    assert faults.of("main") is Fault.NONE
    assert with_relays.post("/relays/main", data={"fault": "down"}, headers=own).status_code == 303
    assert (faults.of("main"), faults.of("backup")) == (Fault.DOWN, Fault.NONE)
    for path, fault in (("main", "flood"), ("other", "down"), ("..", "down")):
        assert with_relays.post(f"/relays/{path}", data={"fault": fault}, headers=own).status_code == 404


@pytest.fixture
def taken() -> list[tuple[bytes, str]]:
    """Reports, each with the address that it came to."""
    return []


@pytest.fixture
def answering(mailbox: Mailbox, taken: list[tuple[bytes, str]]) -> FlaskClient:
    def take(report: bytes, to: str) -> str:
        taken.append((report, to))
        return f"taken: {len(taken)}"

    return create_app(mailbox, "http://127.0.0.1:5000", take=take).test_client()


OWN = {"Origin": "http://localhost"}


@pytest.mark.parametrize("answer", ["bounce", "complain"])
def test_a_report_is_handed_over(
    answering: FlaskClient, taken: list[tuple[bytes, str]], mailbox: Mailbox, answer: str
) -> None:
    """To the envelope sender, for each recipient; the page says what became of it. A second one is the same."""
    mail = b"From: a@example.com\r\nMessage-ID: <1@example.com>\r\nSubject: =?utf-8?q?=C3=9C?=\r\n\r\nHello\r\n"
    name = mailbox.add("bounce+token@bounces.example.com", ["bob@example.com", "eve@example.net"], mail)
    for _ in range(2):
        response = answering.post(f"/mail/{name}/answers", data={"answer": answer}, headers=OWN, follow_redirects=True)
    assert "taken: 2" in response.text
    [(first, to), second] = taken
    assert (first, to) == second or _without_boundary(first) == _without_boundary(second[0])
    assert to == "bounce+token@bounces.example.com"
    found = events(first, None, to=to)
    said = {(str(one.type), one.recipient) for one in found}
    both = {("bounced", "bob@example.com"), ("bounced", "eve@example.net")}
    assert said == (both if answer == "bounce" else {("complained", "bob@example.com")})
    assert b"X-Taken-By" not in first


def _without_boundary(report: bytes) -> bytes:
    return re.sub(rb"=+\d+==", b"", report)


def test_only_what_is_possible_is_offered(answering: FlaskClient, mailbox: Mailbox) -> None:
    """No report without an envelope sender; the link of a mail is followed to the application alone."""
    link = b"List-Unsubscribe: <https://evil.example/x>\r\n"
    name = mailbox.add("", ["bob@example.com"], b"From: a@example.com\r\n" + link + b"\r\nHello\r\n")
    assert "What its recipient may do" not in answering.get(f"/mail/{name}").text
    for answer in ("bounce", "unsubscribe", "x"):
        assert answering.post(f"/mail/{name}/answers", data={"answer": answer}, headers=OWN).status_code == 404
    assert answering.post(f"/mail/{name}/answers", data={"answer": "bounce"}).status_code == 403
    own = b"List-Unsubscribe: <mailto:x@example.com>, <http://127.0.0.1:5000/unsubscribe/t>\r\n"
    name = mailbox.add("", ["bob@example.com"], b"From: a@example.com\r\n" + own + b"\r\nHello\r\n")
    page = answering.get(f"/mail/{name}").text
    assert ('value="unsubscribe"' in page, 'value="bounce"' in page) == (True, False)
