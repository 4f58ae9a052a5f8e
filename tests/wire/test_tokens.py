"""Log-ins by access token: a real token endpoint over HTTPS, a real relay that takes its tokens and no others."""

from __future__ import annotations

import base64
import json
import logging
import re
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from outbox.delivery.reply import Phase, Result, Verdict
from outbox.settings.token_source import TokenSource
from outbox.smtp import tokens as tokens_module
from outbox.smtp.connection import Connection
from outbox.smtp.token_answer import TokenError
from tests.servers.token_server import CLIENT, REFRESH_TOKEN, SECRET, TokenServer
from tests.wire import certificates
from tests.wire.conftest import CONTENT, envelope, mail_state
from tests.wire.server import SmtpServer

USER = "app,one@example.org"
WHEN = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

Connect = Callable[..., Connection]


@pytest.fixture(autouse=True)
def _nothing_shared() -> Iterator[None]:
    yield
    tokens_module.shared.cache_clear()


@pytest.fixture(name="endpoint")
def _endpoint() -> Iterator[TokenServer]:
    with TokenServer() as endpoint:
        yield endpoint


@pytest.fixture(name="server")
def _server(endpoint: TokenServer) -> Iterator[SmtpServer]:
    """A relay that takes the endpoint's tokens."""
    with SmtpServer(
        tls="starttls",
        auth={},
        mechanisms="PLAIN XOAUTH2 OAUTHBEARER",
        takes_token=lambda user, token: user == USER and endpoint.is_valid(token),
    ) as server:
        yield server


def source(endpoint: TokenServer, **changes: Any) -> TokenSource:
    """Client credentials at the endpoint."""
    usual = {"url": endpoint.url, "client_id": CLIENT, "client_secret": SECRET, "ca_file": certificates.ca_file()}
    return TokenSource(USER, **(usual | changes))


def send(connection: Connection) -> Result:
    return connection.deliver(envelope(), CONTENT)


@pytest.mark.parametrize(("auth", "says"), [(None, "XOAUTH2"), ("XOAUTH2", "XOAUTH2"), ("OAUTHBEARER", "OAUTHBEARER")])
def test_log_in(auth: str | None, says: str, endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """By client credentials, with the mechanism that is asked for; never by password."""
    connection = connect(server.relay(username=USER, tokens=source(endpoint, scope="smtp.send"), auth=auth))
    assert send(connection).verdict is Verdict.ACCEPTED
    assert [line for line in server.commands if line.startswith("AUTH")] == [f"AUTH {says}"]
    assert endpoint.requests == [
        {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, "scope": "smtp.send"}
    ]


def test_connections_share_a_token(endpoint: TokenServer, server: SmtpServer) -> None:
    """Eight log in at once, and the endpoint is asked once; equal settings share, others do not."""
    relay = server.relay(username=USER, tokens=source(endpoint))
    connections = [Connection(mail_state(), relay) for _ in range(8)]
    endpoint.hold.clear()
    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    endpoint.hold.set()
    for thread in threads:
        thread.join(30)
    assert len(server.wait_for(8)) == 8
    assert len(endpoint.requests) == 1
    connections.append(Connection(mail_state(), server.relay(username=USER, tokens=source(endpoint))))
    assert send(connections[-1]).verdict is Verdict.ACCEPTED
    assert len(endpoint.requests) == 1
    for connection in connections:
        connection.close()


def test_renewed_before_its_end(endpoint: TokenServer, server: SmtpServer) -> None:
    """In the middle of its life, without anybody asking; a log-in never waits for it."""
    endpoint.life = 2.0
    began = time.monotonic()
    with Connection(mail_state(), server.relay(username=USER, tokens=source(endpoint))) as connection:
        assert send(connection).verdict is Verdict.ACCEPTED
        wait(lambda: len(endpoint.left) >= 1)
        assert len(endpoint.requests) <= (time.monotonic() - began) / 1.0 + 1
        assert endpoint.left[0] > 0.5


def test_five_minutes_early() -> None:
    """An hour's token is renewed five minutes before its end, a short one after half its life."""
    hour, short = (tokens_module.Token("x", 1000.0, life) for life in (3600.0, 20.0))
    assert (hour.renewed_at, short.renewed_at) == (4300.0, 1010.0)
    assert hour.is_usable(4594.0)
    assert not hour.is_usable(4596.0)
    assert short.is_usable(1018.0)
    assert not short.is_usable(1019.5)


def test_an_endpoint_that_is_down_while_the_token_is_valid(
    endpoint: TokenServer, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It changes nothing: mail goes, and the token is renewed as soon as the endpoint is back."""
    endpoint.life = 20.0
    relay = server.relay(username=USER, tokens=source(endpoint), max_messages=1)
    with Connection(mail_state(), relay) as connection:
        assert send(connection).verdict is Verdict.ACCEPTED
        endpoint.down.set()
        tokens = tokens_module.shared(source(endpoint))
        tokens._renew()
        wait(lambda: endpoint.turned_away >= 2)
        assert send(connection).verdict is Verdict.ACCEPTED
        endpoint.down.clear()
        wait(lambda: len(endpoint.requests) == 2)
    assert "the access token can't be renewed" in caplog.text


def test_an_endpoint_that_is_down_from_the_start(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """Nobody's mail is at fault, the relay is not even called; afterwards it goes."""
    endpoint.down.set()
    connection = connect(server.relay(username=USER, tokens=source(endpoint)))
    result = send(connection)
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.AUTH)
    assert "no access token: https://localhost:" in result.reply.text
    assert server.connections == 0
    endpoint.down.clear()
    wait(lambda: send(connection).verdict is Verdict.ACCEPTED)


def test_an_endpoint_that_hangs(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """The wait ends with the time for the message, or by `abort`."""
    endpoint.hold.clear()
    connection = connect(server.relay(username=USER, tokens=source(endpoint), send_timeout=0.3))
    result = send(connection)
    assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.AUTH)
    assert re.search(r"did not answer in 0\.(3|2\d*) s", result.reply.text)
    patient = connect(server.relay(username=USER, tokens=source(endpoint), send_timeout=30))
    aborter = threading.Timer(0.2, patient.abort)
    aborter.start()
    assert "given up" in send(patient).reply.text
    aborter.join()
    endpoint.hold.set()
    assert send(connect(server.relay(username=USER, tokens=source(endpoint)))).verdict is Verdict.ACCEPTED
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        ((401, {"error": "invalid_client", "error_description": "Bad\nTrace"}), "configuration", "invalid_client: Bad"),
        ((400, {"error": "invalid_grant"}), "configuration", "answered 400, invalid_grant"),
        ((400, {"error": "temporarily_unavailable"}), "transport", "temporarily_unavailable"),
        ((404, b"<html>"), "configuration", "answered 404"),
        ((302, b""), "configuration", "answered 302"),
        ((429, {}), "transport", "answered 429"),
        ((503, b"<html>"), "transport", "answered 503"),
        ((200, b"<html>"), "configuration", "without an access token"),
        ((200, {"access_token": "a b"}), "configuration", "gave no access token"),
        ((200, {"access_token": ""}), "configuration", "an empty text"),
        ((200, {"access_token": "x\x01"}), "configuration", "gave no access token"),
        ((200, {"access_token": 1}), "configuration", "of type int"),
        ((200, {"access_token": "x", "expires_in": "soon"}), "configuration", "lives for 'soon'"),
        ((200, {"access_token": "x", "expires_in": -1}), "configuration", "lives for '-1'"),
        ((400, {"error": "x", "error_description": f"your secret {SECRET}"}), "configuration", "[hidden]"),
    ],
)
def test_what_the_endpoint_answers(
    answer: tuple[int, Any], verdict: str, words: str, endpoint: TokenServer, server: SmtpServer, connect: Connect
) -> None:
    """A refusal is a fault of the configuration, in the provider's words; what passes is not. No secret is repeated."""
    endpoint.answer = answer
    result = send(connect(server.relay(username=USER, tokens=source(endpoint))))
    assert (result.verdict, result.phase) == (Verdict(verdict), Phase.AUTH)
    assert words in result.reply.text
    assert SECRET not in result.reply.text
    assert server.connections == 0


def test_an_endpoint_with_another_certificate(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """It is told no secret."""
    result = send(connect(server.relay(username=USER, tokens=source(endpoint, ca_file=None))))
    assert result.verdict is Verdict.CONFIGURATION
    assert "has a certificate that is not accepted" in result.reply.text
    assert endpoint.requests == []


def test_a_young_token_that_is_refused(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """Another one would be refused as well: a fault of the configuration, with the reason that the relay gave."""
    server.takes_token = lambda user, token: False
    result = send(connect(server.relay(username=USER, tokens=source(endpoint))))
    assert (result.verdict, result.phase, result.reply.code) == (Verdict.CONFIGURATION, Phase.AUTH, 535)
    assert '"scope":"https://mail.example/"' in result.reply.text
    assert len(endpoint.requests) == 1


def test_an_old_token_that_is_refused(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """Withdrawn, perhaps: it is renewed once, and the mail goes. Refused again, it is the configuration."""
    later = 0.0
    relay = server.relay(username=USER, tokens=source(endpoint), max_messages=1)
    connection = connect(relay, monotonic=lambda: time.monotonic() + later)
    assert send(connection).verdict is Verdict.ACCEPTED
    endpoint.withdraw()
    later = 61.0
    assert send(connection).verdict is Verdict.ACCEPTED
    assert len(endpoint.requests) == 2
    server.takes_token = lambda user, token: False
    server.commands.clear()
    later = 200.0
    result = send(connection)
    assert (result.verdict, result.reply.code) == (Verdict.CONFIGURATION, 535)
    assert len(endpoint.requests) == 3
    assert len([line for line in server.commands if line.startswith("AUTH")]) == 2


def test_several_connections_renew_a_refused_token_once(endpoint: TokenServer, server: SmtpServer) -> None:
    """Who comes second takes the one that the first has fetched."""
    relay = server.relay(username=USER, tokens=source(endpoint), max_messages=1)
    later = 0.0
    connections = [Connection(mail_state(), relay, monotonic=lambda: time.monotonic() + later) for _ in range(4)]
    assert {send(connection).verdict for connection in connections} == {Verdict.ACCEPTED}
    endpoint.withdraw()
    later = 61.0
    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(server.wait_for(8)) == 8
    assert len(endpoint.requests) == 2
    for connection in connections:
        connection.close()


def test_a_token_without_a_life(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """It is used for a minute; then it is asked for again, and stays if there is no other."""
    endpoint.life = None
    relay = server.relay(username=USER, tokens=source(endpoint), max_messages=1)
    assert send(connect(relay)).verdict is Verdict.ACCEPTED
    tokens = tokens_module.shared(source(endpoint))
    tokens._monotonic = lambda: time.monotonic() + 61.0
    assert send(connect(relay)).verdict is Verdict.ACCEPTED
    assert len(endpoint.requests) == 2
    tokens._monotonic = lambda: time.monotonic() + 200.0
    endpoint.down.set()
    assert send(connect(relay)).verdict is Verdict.ACCEPTED


def test_in_the_authorization_header(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """Where the provider takes the client's secret only there (RFC 6749 §2.3.1)."""
    endpoint.wants_basic = True
    assert send(connect(server.relay(username=USER, tokens=source(endpoint)))).verdict is Verdict.ACCEPTED
    assert endpoint.requests[-1] == {"grant_type": "client_credentials"}


def test_by_refresh_token(endpoint: TokenServer, server: SmtpServer, connect: Connect) -> None:
    """Where a person has consented once."""
    tokens = source(endpoint, refresh_token=REFRESH_TOKEN)
    assert send(connect(server.relay(username=USER, tokens=tokens))).verdict is Verdict.ACCEPTED
    assert endpoint.requests[-1]["grant_type"] == "refresh_token"


@pytest.mark.parametrize("first", [REFRESH_TOKEN, None])
def test_a_refresh_token_that_each_use_replaces(
    first: str | None, endpoint: TokenServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The new one is kept in a file for its owner alone, from which others go on; none of them is shown."""
    caplog.set_level(logging.DEBUG)
    endpoint.rotates = True
    file = tmp_path / "refresh-token"
    if first is None:
        file.write_text(f"{REFRESH_TOKEN}\n")
    asking = [tokens_module.Tokens(source(endpoint, refresh_token=first, refresh_token_file=file)) for _ in range(3)]
    for one in asking:
        assert endpoint.is_valid(one.get(30, threading.Event.wait).value)
    assert [form["refresh_token"] for form in endpoint.requests] == endpoint.refresh_tokens[:3]
    assert endpoint.refresh_tokens[3] in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"refresh-token", "refresh-token.lock"}
    for token in endpoint.refresh_tokens:
        assert token not in caplog.text + repr(asking[0].source)


def test_a_new_consent_replaces_what_is_kept(endpoint: TokenServer, tmp_path: Path) -> None:
    """Another OUTBOX_REFRESH_TOKEN than the kept one came from."""
    endpoint.rotates = True
    file = tmp_path / "refresh-token"
    refresh_by(endpoint, REFRESH_TOKEN, file)
    endpoint.refresh_tokens.append("1//consented-again")
    refresh_by(endpoint, "1//consented-again", file)
    refresh_by(endpoint, "1//consented-again", file)
    assert endpoint.requests[1]["refresh_token"] == "1//consented-again"


def test_at_once_each_uses_its_own(endpoint: TokenServer, tmp_path: Path) -> None:
    """Threads and processes take turns: a refresh token that comes twice would end all of them."""
    endpoint.rotates = True
    file = tmp_path / "refresh-token"
    threads = [threading.Thread(target=refresh_by, args=(endpoint, REFRESH_TOKEN, file)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(endpoint.refresh_tokens) == 7
    assert "revoked" not in endpoint.refresh_tokens


def test_a_refresh_token_that_can_not_be_kept(endpoint: TokenServer, tmp_path: Path) -> None:
    """It is not used up: the provider is asked only when there is a place for the next one."""
    endpoint.rotates = True
    folder = tmp_path / "is-a-file"
    folder.touch()
    with pytest.raises(TokenError, match=r"OUTBOX_REFRESH_TOKEN_FILE .* can't be read or written") as refused:
        refresh_by(endpoint, REFRESH_TOKEN, folder / "refresh-token")
    assert refused.value.refused
    assert endpoint.requests == []


def test_a_refresh_token_that_is_replaced_and_not_kept(endpoint: TokenServer, caplog: pytest.LogCaptureFixture) -> None:
    """Without a file the log says so, once."""
    endpoint.rotates = True
    for _ in range(2):
        endpoint.refresh_tokens[-1] = REFRESH_TOKEN
        refresh_by(endpoint, REFRESH_TOKEN, None)
    assert caplog.text.count("set OUTBOX_REFRESH_TOKEN_FILE") == 1


def refresh_by(endpoint: TokenServer, first: str, file: Path | None) -> None:
    """A new access token, by a source of its own."""
    asked = source(endpoint, refresh_token=first, refresh_token_file=file)
    tokens_module.Tokens(asked).get(30, threading.Event.wait)


@pytest.fixture(name="pem", scope="module")
def _pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key and its certificate in one file, as for an app registration at Microsoft."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "outbox")])
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, *WHEN).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("key") / "app.pem"
    path.write_bytes(_private(key) + built.public_bytes(serialization.Encoding.PEM))
    return path


def _private(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_at_microsoft_by_certificate(endpoint: TokenServer, server: SmtpServer, pem: Path, connect: Connect) -> None:
    """msal signs what proves the client; TLS, times and sizes are ours."""
    tokens = source(endpoint, client_secret=None, certificate_file=pem, scope="https://outlook.office365.com/.default")
    assert send(connect(server.relay(username=USER, tokens=tokens))).verdict is Verdict.ACCEPTED
    claims = _claims(endpoint.asserted[-1])
    assert (claims["iss"], claims["aud"]) == (CLIENT, endpoint.url)
    assert endpoint.requests[-1]["scope"] == "https://outlook.office365.com/.default"


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_certificate_that_is_none(content: bytes, endpoint: TokenServer, tmp_path: Path, connect: Connect) -> None:
    """It is a fault of the configuration, and names the file."""
    path = tmp_path / "app.pem"
    path.write_bytes(content)
    with SmtpServer(tls="starttls") as server:
        tokens = source(endpoint, client_secret=None, certificate_file=path)
        result = send(connect(server.relay(username=USER, tokens=tokens)))
    assert result.verdict is Verdict.CONFIGURATION
    assert str(path) in result.reply.text


def test_at_google_by_service_account(
    endpoint: TokenServer, server: SmtpServer, tmp_path: Path, connect: Connect
) -> None:
    """google-auth signs for the mailbox that MAIL_USERNAME names (domain-wide delegation)."""
    path = tmp_path / "key.json"
    key = rsa.generate_private_key(65537, 2048)
    account = {"type": "service_account", "client_email": "outbox@project.example", "private_key_id": "1"}
    path.write_text(json.dumps(account | {"private_key": _private(key).decode(), "token_uri": endpoint.url}))
    tokens = TokenSource(USER, service_account_file=path, ca_file=certificates.ca_file())
    assert send(connect(server.relay(username=USER, tokens=tokens))).verdict is Verdict.ACCEPTED
    claims = _claims(endpoint.asserted[-1])
    assert (claims["iss"], claims["sub"], claims["scope"]) == (
        "outbox@project.example",
        USER,
        "https://mail.google.com/",
    )


def _claims(assertion: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    return found


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print(TOKEN)", None),
        ("print(json.dumps({'access_token': TOKEN, 'expires_in': 100}))", None),
        ("sys.exit('hunter2')", "ended with status 1"),
        ("print()", "gave no access token but an empty text"),
        ("print('two words')", "gave no access token"),
    ],
)
def test_by_command(script: str, words: str | None, tmp_path: Path, connect: Connect) -> None:
    """It prints a token, alone or as JSON; what it says otherwise may be a secret, and is not shown."""
    path = tmp_path / "a command.py"
    path.write_text(f"import json, sys\nTOKEN = 'abc'\n{script}\n")
    with SmtpServer(tls="starttls", auth={USER: "abc"}, mechanisms="XOAUTH2") as server:
        tokens = TokenSource(USER, command=f"{sys.executable} '{path}'")
        result = send(connect(server.relay(username=USER, tokens=tokens)))
    if words is None:
        assert result.verdict is Verdict.ACCEPTED
    else:
        assert words in result.reply.text
        assert "hunter2" not in result.reply.text


def test_a_command_that_is_not_there(connect: Connect) -> None:
    """A fault of the configuration."""
    with SmtpServer(tls="starttls") as server:
        result = send(connect(server.relay(username=USER, tokens=TokenSource(USER, command="/no/such/command"))))
    assert result.verdict is Verdict.CONFIGURATION
    assert "can't be run: No such file" in result.reply.text


@pytest.mark.parametrize(
    "given",
    [
        "abc",
        ("abc", 100),
        {"access_token": "abc", "expires_in": 100},
        SimpleNamespace(token="abc", expires_on=time.time() + 3600),
    ],
)
def test_by_function(given: Any, connect: Connect) -> None:
    """It returns a token, with its life or without; azure-identity's do as well."""
    with SmtpServer(tls="starttls", auth={USER: "abc"}, mechanisms="XOAUTH2") as server:
        connection = connect(server.relay(username=USER, tokens=TokenSource(USER, function=lambda: given)))
        assert send(connection).verdict is Verdict.ACCEPTED


def test_a_function_that_raises(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Its words may hold secrets: its type is told, no more."""

    def function() -> str:
        raise LookupError("the secret is hunter2")

    with SmtpServer(tls="starttls") as server:
        result = send(connect(server.relay(username=USER, tokens=TokenSource(USER, function=function))))
    assert result.verdict is Verdict.TRANSPORT
    assert "the application's token function failed: LookupError" in result.reply.text
    assert "hunter2" not in result.reply.text + caplog.text


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_no_token_in_a_log_or_a_reply(
    mechanism: str, endpoint: TokenServer, server: SmtpServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at the loudest level, and not where a relay repeats what it was told."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def repeat(client: Any) -> str:
        said.append(client.line)
        return f"535 5.7.8 no: {next(iter(endpoint.issued))} {client.line.split()[-1]}"

    server.script["auth"] = repeat
    relay = server.relay(username=USER, tokens=source(endpoint), auth=mechanism)
    result = send(connect(relay))
    (token,) = endpoint.issued
    shown = repr(result) + caplog.text + repr(relay) + repr(tokens_module.shared(source(endpoint)))
    assert result.verdict is Verdict.CONFIGURATION
    assert "a new access token from" in shown
    for secret in (token, SECRET, base64.b64encode(token.encode()).decode(), said[0].split()[-1]):
        assert secret not in shown


def wait(condition: Callable[[], Any], limit: float = 30.0) -> None:
    """Until `condition` holds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "not in time"
        threading.Event().wait(0.01)
