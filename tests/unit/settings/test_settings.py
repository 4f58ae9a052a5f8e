"""The configuration: parsing, defaults, faults, documentation."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from outbox.core.errors import ConfigurationError
from outbox.delivery.presets import PROVIDERS
from outbox.delivery.rate_limits import RateLimits
from outbox.delivery.reply_presets import PRESETS
from outbox.delivery.states import OnUncertain
from outbox.settings import Settings, remarks
from outbox.settings.docs import markdown
from outbox.settings.relay import Relay, Security
from outbox.settings.table import PRESETS as KNOWN_PRESETS
from outbox.settings.table import specs

ROOT = Path(__file__).resolve().parents[3]


def faults(**config: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_config(config)
    return caught.value.faults


def fault(**config: Any) -> str:
    (only,) = faults(**config)
    return only


def test_nothing_configured_is_the_local_relay_in_plain_text_without_log_in() -> None:
    """An empty configuration is Flask-Mail's: localhost, port 25, no TLS, no log-in."""
    relay = Settings.from_config({}).relay
    assert (relay.host, relay.port, relay.security) == ("127.0.0.1", 25, Security.NONE)
    assert relay.username is None
    assert relay.refusal is None


def test_without_configuration_the_table_holds_the_defaults() -> None:
    """What `Settings()` says and what an empty configuration gives are the same."""
    assert Settings.from_config({}) == Settings()


@pytest.mark.parametrize("text", ["false", "False", "FALSE", "no", "off", "0", " false ", "f", "n"])
def test_words_for_false_mean_false(text: str) -> None:
    """Where Flask-Mail takes the string "False" for true, false is false."""
    assert not Settings.from_config({"MAIL_USE_TLS": text}).use_tls


@pytest.mark.parametrize("text", ["true", "True", "yes", "on", "1", True, 1])
def test_words_for_true_mean_true(text: Any) -> None:
    """The usual words of environments, and the values themselves, mean true."""
    assert Settings.from_config({"MAIL_USE_TLS": text}).use_tls


@pytest.mark.parametrize("value", ["", "  ", None])
def test_blank_means_unset(value: str | None) -> None:
    """A blank line in an environment file is as good as none, for each setting but those of staging."""
    names = [name for spec in specs() if not spec.form.blank for name in spec.names]
    assert [name for name in names if Settings.from_config({name: value}) != Settings()] == []


def test_numbers_may_be_texts_and_times_fractions() -> None:
    """An environment has only texts, and a test wants a poll of a fifth of a second."""
    settings = Settings.from_config(
        {"MAIL_PORT": "587", "OUTBOX_POLL_SECONDS": "0.2", "OUTBOX_LEASE_SECONDS": 6, "OUTBOX_CONNECTIONS": " 8 "}
    )
    assert (settings.port, settings.poll_seconds, settings.lease_seconds, settings.connections) == (587, 0.2, 6.0, 8)


def test_a_time_may_be_a_timedelta() -> None:
    """In Python a time is best written as one."""
    assert Settings.from_config({"OUTBOX_RETENTION_SECONDS": timedelta(days=7)}).retention_seconds == 7 * 86_400


@pytest.mark.parametrize("value", ["soon", 0, -1, "-0.5", math.nan, math.inf, "inf", 1e12, True, [5], "1e999"])
def test_what_is_no_time_is_a_fault(value: Any) -> None:
    """A time is a finite number above 0, and the fault names the setting and the value."""
    said = fault(OUTBOX_POLL_SECONDS=value)
    assert said.startswith("OUTBOX_POLL_SECONDS is ")
    assert "number of seconds" in said


@pytest.mark.parametrize("value", ["4.5", 0, 1001, "many", 2.0, False])
def test_what_is_no_whole_number_in_range_is_a_fault(value: Any) -> None:
    """A number is whole and within its bounds, and the fault says which."""
    assert "whole number from 1 to 1,000" in fault(OUTBOX_CONNECTIONS=value)


def test_all_faults_are_told_at_once() -> None:
    """Nobody has to start an application once for each fault."""
    told = faults(
        MAIL_USE_TLS="true",
        MAIL_USE_SSL="true",
        MAIL_USERNAME="user",
        MAIL_PORT="smtp",
        OUTBOX_POLL_SECONDS=0,
        OUTBOX_TYPO=1,
        OUTBOX_UNCOMMITTED="maybe",
        OUTBOX_TLS_CA_FILE="/nowhere/ca.pem",
    )
    assert len(told) == 7
    for name in ("MAIL_PORT", "OUTBOX_POLL_SECONDS", "OUTBOX_UNCOMMITTED", "OUTBOX_TLS_CA_FILE", "OUTBOX_TYPO"):
        assert any(said.startswith(name) for said in told)
    assert any("MAIL_USE_TLS and MAIL_USE_SSL" in said for said in told)
    assert any("MAIL_USERNAME is set without MAIL_PASSWORD" in said for said in told)


def test_error_lists_each_fault_on_its_own_line() -> None:
    """The message of the error is what a person reads at start."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_config({"OUTBOX_TYPO": 1, "MAIL_PORT": 0})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("  - MAIL_PORT is 0")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("OUTBOX_POLL_SECOND", "OUTBOX_POLL_SECONDS"),
        ("OUTBOX_DATABASE_URI", "OUTBOX_DATABASE_URL"),
        ("OUTBOX_CONECTIONS", "OUTBOX_CONNECTIONS"),
        ("OUTBOX_TLS_CAFILE", "OUTBOX_TLS_CA_FILE"),
    ],
)
def test_unknown_setting_is_a_fault_with_a_suggestion(typo: str, meant: str) -> None:
    """A typo is no setting that is silently ignored."""
    assert fault(**{typo: "1"}) == f"{typo} is not a setting of the outbox. Did you mean {meant}?"


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("MAIL_SERVR", "MAIL_SERVER"),
        ("MAIL_SERVERR", "MAIL_SERVER"),
        ("MAIL_PROT", "MAIL_PORT"),
        ("MAIL_USE_TLSS", "MAIL_USE_TLS"),
        ("MAIL_USE_TSL", "MAIL_USE_TLS"),
        ("MAIL_USE_SSl", "MAIL_USE_SSL"),
        ("MAIL_USER_NAME", "MAIL_USERNAME"),
        ("MAIL_PASWORD", "MAIL_PASSWORD"),
        ("MAIL_DEFUALT_SENDER", "MAIL_DEFAULT_SENDER"),
        ("MAIL_DEFAULT_SENDR", "MAIL_DEFAULT_SENDER"),
        ("MAIL_MAX_EMAIL", "MAIL_MAX_EMAILS"),
        ("MAIL_SUPRESS_SEND", "MAIL_SUPPRESS_SEND"),
    ],
)
def test_a_misspelt_setting_of_flask_mail_is_a_fault(typo: str, meant: str) -> None:
    """Ignored, it would send mail to localhost, or a password over plain text; from an environment it comes through."""
    assert fault(**{typo: "1"}) == f"{typo} is not a setting of Flask-Mail or the outbox. Did you mean {meant}?"
    assert Settings.from_env({typo: "1"}) == {typo: "1"}


@pytest.mark.parametrize(
    "name",
    [
        "MAIL_SUBJECT_PREFIX",
        "MAIL_BACKEND",
        "MAIL_TIMEOUT",
        "MAIL_FROM",
        "MAIL_FROM_NAME",
        "MAIL_SENDER",
        "MAIL_REPLY_TO",
        "MAIL_ADMIN",
        "MAIL_HOST",
        "MAIL_USER",
        "MAIL_PASS",
        "MAIL_DOMAIN",
        "MAIL_DRIVER",
        "MAIL_ENABLED",
        "MAIL_PROVIDER",
        "MAIL_DEFAULT_REPLY_TO",
        "MAIL_SSL",
        "MAIL_DEFAULT_CHARSET",
        "MAIL_USERNAME2",
        "MAIL_SERVER_2",
        "MAIL_QUEUE",
        "MAIL_RECIPIENTS",
        "MAIL_USE_AUTH",
        "MAIL_STARTTLS",
        "MAIL_LOCAL_HOSTNAME",
        "MAIL_VALIDATE_CERTS",
        "MAIL_DEFAULT_SENDER_NAME",
        "MAILGUN_KEY",
        "MAIL_",
    ],
)
def test_other_extensions_settings_are_left_alone(name: str) -> None:
    """MAIL_* keys of other packages and applications, and everything else, are not the outbox's to judge."""
    assert Settings.from_config({name: "x", "SECRET_KEY": "x"}) == Settings()
    assert Settings.from_env({name: "x"}) == {}


def test_a_key_that_looks_like_one_that_is_set_is_left_alone() -> None:
    """MAIL_SERVERS beside MAIL_SERVER is an application's own."""
    assert Settings.from_config({"MAIL_SERVER": "localhost", "MAIL_SERVERS": ["a", "b"]}).server == "localhost"


def test_names_from_elsewhere_are_remarked_upon() -> None:
    """They may be another package's, so it is no fault; but whoever means the outbox must be able to see it."""
    (said,) = remarks({"MAIL_HOST": "mail.example.org", "MAIL_FROM": "a@example.org", "MAIL_DEFAULT_SENDER": "a@b.c"})
    assert "MAIL_HOST" in said
    assert "MAIL_SERVER" in said


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("mail.example.org:587", "put the port in MAIL_PORT: mail.example.org and MAIL_PORT=587"),
        ("[::1]:25", "put the port in MAIL_PORT: [::1] and MAIL_PORT=25"),
        ("smtp://mail.example.org", "a URL: give the host name alone (and the port in MAIL_PORT)"),
        ("smtps://user:hunter2@mail.example.org:465", "a URL"),
        ("user@mail.example.org", "not the name or address of a machine"),
        ("mail.example.org/", "not the name or address of a machine"),
        ("mail example org", "not the name or address of a machine"),
        ("a.example.org, b.example.org", "not the name or address of a machine"),
        ("mail.example.org:smtp", "not the name or address of a machine"),
        ("::1::2", "not the name or address of a machine"),
        (".", "not the name or address of a machine"),
        (25, "not a text"),
    ],
)
def test_what_is_no_host_is_a_fault(value: Any, says: str) -> None:
    """A port, a URL or a list in MAIL_SERVER would only show as a name that can't be resolved, once a worker runs."""
    said = fault(MAIL_SERVER=value)
    assert said.startswith("MAIL_SERVER is ")
    assert says in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "value",
    [
        " mail.example.org ",
        "mail.example.org.",
        "192.0.2.1",
        "::1",
        "[::1]",
        "fe80::1%eth0",
        "b\u00fccher.example",
        "mx_1",
    ],
)
def test_what_is_a_host_is_taken(value: str) -> None:
    """Blanks around it go; a dot at the end (an absolute name) stays for the resolver."""
    assert Settings.from_config({"MAIL_SERVER": value, "OUTBOX_ALLOW_PLAINTEXT": True}).server == value.strip()


def test_the_name_for_ehlo_goes_over_the_wire_in_ascii() -> None:
    """EHLO takes A-labels only (RFC 5321 \u00a72.3.5)."""
    assert Settings.from_config({"OUTBOX_LOCAL_HOSTNAME": "b\u00fcro.example"}).local_hostname == "xn--bro-hoa.example"
    assert "not a host name" in fault(OUTBOX_LOCAL_HOSTNAME="b\u00fcro\u2603.\u0301example")


@pytest.mark.parametrize(
    "value",
    [
        "shop",
        "shop@",
        "@example.org",
        "Shop <shop>",
        "a@example.org, b@example.org",
        ("Shop", "shop"),
        "shop@ex ample.org",
    ],
)
def test_a_default_sender_that_is_no_address_is_a_fault(value: Any) -> None:
    """Told at start, or each mail that names no sender would be refused one by one."""
    said = fault(MAIL_DEFAULT_SENDER=value)
    assert said.startswith("MAIL_DEFAULT_SENDER is ")
    assert "shop@example.org" in said


@pytest.mark.parametrize(
    "value",
    [
        "shop@example.org",
        "Shop <shop@example.org>",
        '"Shop, Inc." <shop@example.org>',
        ("Sh\u00f6p", "shop@example.org"),
        "root@localhost",
        "shop@b\u00fccher.example",
    ],
)
def test_a_default_sender_is_what_a_message_takes(value: Any) -> None:
    """Whatever compose would take as a sender."""
    assert Settings.from_config({"MAIL_DEFAULT_SENDER": value}).default_sender == value


def test_alias_of_the_server() -> None:
    """MAIL_HOSTNAME is another name for MAIL_SERVER, and both may stand if they agree."""
    assert Settings.from_config({"MAIL_HOSTNAME": "localhost"}).server == "localhost"
    assert Settings.from_config({"MAIL_HOSTNAME": "localhost", "MAIL_SERVER": "localhost"}).server == "localhost"
    assert "MAIL_SERVER and MAIL_HOSTNAME differ" in fault(MAIL_HOSTNAME="localhost", MAIL_SERVER="127.0.0.1")


def test_user_name_and_password_come_together() -> None:
    """Flask-Mail sends without log-in if one is missing; here it is a fault, whichever it is."""
    assert "MAIL_PASSWORD" in fault(MAIL_USERNAME="user")
    assert "MAIL_USERNAME" in fault(MAIL_PASSWORD="secret")


@pytest.mark.parametrize("server", ["localhost", "LOCALHOST", "127.0.0.1", "127.4.5.6", "::1", "[::1]"])
def test_plain_text_stays_on_this_machine(server: str) -> None:
    """To the machine itself plain text needs no permission."""
    assert Settings.from_config({"MAIL_SERVER": server}).relay.refusal is None


@pytest.mark.parametrize("server", ["smtp.example.org", "10.0.0.1", "localhost.example.org", "128.0.0.1", "::2"])
def test_plain_text_to_another_machine_needs_permission(server: str) -> None:
    """Mail leaves the machine in plain text only where somebody says so."""
    assert "plain text" in fault(MAIL_SERVER=server)
    assert Settings.from_config({"MAIL_SERVER": server, "OUTBOX_ALLOW_PLAINTEXT": "true"}).relay.refusal is None
    assert Settings.from_config({"MAIL_SERVER": server, "MAIL_USE_TLS": "true"}).security is Security.STARTTLS
    assert Settings.from_config({"MAIL_SERVER": server, "MAIL_USE_SSL": "true"}).security is Security.TLS


def test_password_over_plain_text_needs_permission_even_here() -> None:
    """A password over plain text is a fault, to the local machine too."""
    log_in = {"MAIL_USERNAME": "user", "MAIL_PASSWORD": "secret"}
    assert "password" in fault(**log_in)
    assert Settings.from_config(log_in | {"OUTBOX_ALLOW_PLAINTEXT": True}).relay.refusal is None
    assert Settings.from_config(log_in | {"MAIL_USE_TLS": True}).relay.refusal is None


def test_faulty_value_causes_no_second_fault() -> None:
    """Where MAIL_USE_TLS is unreadable, nothing is said about plain text, which depends on it."""
    assert fault(MAIL_SERVER="smtp.example.org", MAIL_USE_TLS="perhaps").startswith("MAIL_USE_TLS is 'perhaps'")


@pytest.mark.parametrize(
    "config",
    [
        {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "hunter2hunter2"},
        {"MAIL_PASSWORD": b"hunter2hunter2"},
        {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "hunter2\nhunter2"},
        {"OUTBOX_DATABASE_URL": "user:hunter2@host/db"},
    ],
)
def test_no_secret_in_a_fault(config: dict[str, Any]) -> None:
    """Faults go to terminals and logs."""
    assert "hunter2" not in " ".join(faults(**config))


def test_no_secret_in_the_repr() -> None:
    """Neither the settings nor the relay show a password when they are printed."""
    settings = Settings.from_config(
        {
            "MAIL_USERNAME": "user",
            "MAIL_PASSWORD": "hunter2",
            "MAIL_USE_TLS": True,
            "OUTBOX_DATABASE_URL": "postgresql://user:hunter2@host/db",
        }
    )
    assert settings.password == "hunter2"
    assert "hunter2" not in repr(settings) + repr(settings.relay)


def test_certificates_must_be_readable(tmp_path: Path) -> None:
    """A file that is not there is told at start, not by the first mail."""
    ca_file = tmp_path / "ca.pem"
    assert "No such file" in fault(OUTBOX_TLS_CA_FILE=str(ca_file))
    assert "directory" in fault(OUTBOX_TLS_CA_FILE=tmp_path)
    ca_file.touch()
    assert Settings.from_config({"OUTBOX_TLS_CA_FILE": str(ca_file)}).relay.ca_file == ca_file
    assert "verifies nothing" in fault(OUTBOX_TLS_CA_FILE=ca_file, OUTBOX_TLS_VERIFY="no")


def test_send_timeout_and_lease() -> None:
    """The time for a message is below the lease: each alone moves the other's default, both are taken at their word."""
    assert Settings.from_config({"OUTBOX_LEASE_SECONDS": 6}).send_timeout_seconds == pytest.approx(4.8)
    assert Settings.from_config({"OUTBOX_SEND_TIMEOUT_SECONDS": 1200}).lease_seconds == 1500
    assert Settings.from_config({"OUTBOX_SEND_TIMEOUT_SECONDS": 5}).lease_seconds == 1200
    both = {"OUTBOX_SEND_TIMEOUT_SECONDS": 5, "OUTBOX_LEASE_SECONDS": 6}
    assert Settings.from_config(both).send_timeout_seconds == 5
    assert "must be below OUTBOX_LEASE_SECONDS (5)" in fault(**both | {"OUTBOX_LEASE_SECONDS": 5})


def test_heartbeat_and_death() -> None:
    """A worker counts as dead after more than one heartbeat: each alone moves the other's default."""
    assert Settings.from_config({"OUTBOX_HEARTBEAT_SECONDS": 0.25}).dead_after_seconds == 1
    assert Settings.from_config({"OUTBOX_DEAD_AFTER_SECONDS": 2}).heartbeat_seconds == 0.5
    assert Settings.from_config({"OUTBOX_DEAD_AFTER_SECONDS": 60}).heartbeat_seconds == 5
    assert "OUTBOX_HEARTBEAT_SECONDS" in fault(OUTBOX_HEARTBEAT_SECONDS=5, OUTBOX_DEAD_AFTER_SECONDS=5)


@pytest.mark.parametrize(("first", "most"), [("RETRY_FIRST", "RETRY_MAX"), ("PROBE", "PROBE_MAX")])
def test_first_wait_and_longest_wait(first: str, most: str) -> None:
    """The first wait is not above the longest: each alone moves the other's default."""
    first, most = f"OUTBOX_{first}_SECONDS", f"OUTBOX_{most}_SECONDS"
    first_field, most_field = first.removeprefix("OUTBOX_").lower(), most.removeprefix("OUTBOX_").lower()
    assert getattr(Settings.from_config({most: 0.5}), first_field) == 0.5
    assert getattr(Settings.from_config({first: 86_400}), most_field) == 86_400
    assert getattr(Settings.from_config({first: 2, most: 2}), first_field) == 2
    assert first in fault(**{first: 3, most: 2})


@pytest.mark.parametrize(
    ("config", "suppress", "uncommitted"),
    [
        ({}, False, "auto"),
        ({"TESTING": True}, True, "auto"),
        ({"TESTING": True, "OUTBOX_UNCOMMITTED": "commit", "MAIL_SUPPRESS_SEND": "false"}, False, "commit"),
        ({"MAIL_SUPPRESS_SEND": True, "OUTBOX_UNCOMMITTED": "raise"}, True, "raise"),
    ],
)
def test_defaults_of_tests_and_debugging(config: dict[str, Any], suppress: bool, uncommitted: str) -> None:
    """Under TESTING nothing is sent; what becomes of a forgotten commit is the same setting everywhere."""
    settings = Settings.from_config(config)
    assert (settings.suppress_send, settings.uncommitted) == (suppress, uncommitted)


@pytest.mark.parametrize("value", ["password-reset=hold, digest=RETRY", {"password-reset": "hold", "digest": "retry"}])
def test_policy_by_kind(value: Any) -> None:
    """What follows an unknown outcome depends on the kind first, then on the general setting."""
    settings = Settings.from_config({"OUTBOX_ON_UNCERTAIN_KINDS": value, "OUTBOX_ON_UNCERTAIN": "hold"})
    assert settings.on_uncertain_for("password-reset") is OnUncertain.HOLD
    assert settings.on_uncertain_for("digest") is OnUncertain.RETRY
    assert settings.on_uncertain_for("other") is OnUncertain.HOLD
    assert Settings().on_uncertain_for(None) is OnUncertain.RETRY


@pytest.mark.parametrize("value", ["reset", "reset=never", {"reset": None}, ["reset"], "=hold,x"])
def test_faulty_policy_by_kind(value: Any) -> None:
    """What is no mapping from kinds to hold or retry is a fault."""
    assert fault(OUTBOX_ON_UNCERTAIN_KINDS=value).startswith("OUTBOX_ON_UNCERTAIN_KINDS")


def test_default_sender_is_an_address_or_a_pair() -> None:
    """As in Flask-Mail, and no line break gets into it."""
    assert Settings.from_config({"MAIL_DEFAULT_SENDER": "a@b.example"}).default_sender == "a@b.example"
    assert Settings.from_config({"MAIL_DEFAULT_SENDER": ["Ann", "a@b.example"]}).default_sender == (
        "Ann",
        "a@b.example",
    )
    assert "line break" in fault(MAIL_DEFAULT_SENDER="a@b.example\nBcc: c@d.example")
    assert "pair" in fault(MAIL_DEFAULT_SENDER=("a", "b", "c"))


def test_mechanism_needs_a_log_in() -> None:
    """A SASL mechanism without a user name would have no effect."""
    assert "MAIL_USERNAME" in fault(OUTBOX_AUTH="XOAUTH2")
    config = {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "p", "MAIL_USE_TLS": "1", "OUTBOX_AUTH": "xoauth2"}
    assert Settings.from_config(config).relay.auth == "XOAUTH2"


def test_relay_gets_every_setting_of_it() -> None:
    """No setting about the relay is lost on the way to it."""
    relay = Settings.from_config(
        {
            "MAIL_SERVER": "smtp.example.org",
            "MAIL_PORT": 465,
            "MAIL_USE_SSL": True,
            "MAIL_USERNAME": "user",
            "MAIL_PASSWORD": "secret",
            "MAIL_MAX_EMAILS": 7,
            "OUTBOX_AUTH": "PLAIN",
            "OUTBOX_TLS_VERIFY": False,
            "OUTBOX_ALLOW_PLAINTEXT": True,
            "OUTBOX_LOCAL_HOSTNAME": "client.example.org",
            "OUTBOX_CONNECT_TIMEOUT_SECONDS": 1,
            "OUTBOX_COMMAND_TIMEOUT_SECONDS": 2,
            "OUTBOX_SEND_TIMEOUT_SECONDS": 3,
            "OUTBOX_PRESET": "ses",
            "OUTBOX_PIPELINING": "false",
            "OUTBOX_RATE": "5/s",
            "OUTBOX_PER_DAY": "100",
        }
    ).relay
    assert relay == Relay(
        limits=RateLimits(second=5, day=100),
        rate_unit="recipients",
        host="smtp.example.org",
        port=465,
        security=Security.TLS,
        username="user",
        password="secret",
        auth="PLAIN",
        verify=False,
        allow_plaintext=True,
        local_hostname="client.example.org",
        connect_timeout=1,
        command_timeout=2,
        send_timeout=1.5,
        dot_timeout=1.5,
        max_messages=7,
        pipelining=False,
        preset="ses",
    )


@pytest.mark.parametrize(
    ("all_in", "before", "after"), [(900, 300, 600), (3600, 3000, 600), (100, 50, 50), (700, 300, 400), (4.8, 2.4, 2.4)]
)
def test_times_for_a_message_add_up(all_in: float, before: float, after: float) -> None:
    """Of the time for one message the reply to the final dot gets ten minutes if it can, what goes before a minute."""
    relay = Settings.from_config({"OUTBOX_SEND_TIMEOUT_SECONDS": all_in}).relay
    assert (relay.send_timeout, relay.dot_timeout) == (before, after)


def test_rules_are_of_presets() -> None:
    """Rules that nobody can choose would be a mistake."""
    assert set(KNOWN_PRESETS) == {"auto", "generic", *(preset.name for preset in PROVIDERS)} > set(PRESETS)


def test_environment_gives_only_what_is_about_mail() -> None:
    """An application takes its mail settings from the environment by one call."""
    environ = {
        "MAIL": "/var/mail/user",
        "MAIL_SERVER": "localhost",
        "MAIL_PASSWORD": "",
        "MAIL_OTHER": "x",
        "OUTBOX_POLL_SECONDS": "0.2",
        "OUTBOX_TYPO": "kept, to be told",
        "OUTBOX_TEST_REQUIRE": "all",
        "OUTBOX_SERVICE_HOST": "10.0.0.1",
        "OUTBOX_METRICS_SERVICE_HOST": "10.0.0.1",
        "OUTBOX_METRICS_PORT": "tcp://10.0.0.1:9100",
        "OUTBOX_METRICS_PORT_9100_TCP_ADDR": "10.0.0.1",
        "OUTBOX_PORT": "tcp://10.0.0.1:80",
        "OUTBOX_PORT_80_TCP": "tcp://10.0.0.1:80",
        "PATH": "/bin",
    }
    assert Settings.from_env(environ) == {
        "MAIL_SERVER": "localhost",
        "OUTBOX_POLL_SECONDS": "0.2",
        "OUTBOX_TYPO": "kept, to be told",
    }


def test_flasks_own_way_of_reading_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`app.config.from_prefixed_env()` takes values for JSON where they are: a user of digits, a list, an object."""
    given = {
        "MAIL_SERVER": "mail.example.org",
        "MAIL_PORT": "587",
        "MAIL_USE_TLS": "true",
        "MAIL_USERNAME": "100200",
        "MAIL_PASSWORD": "1234567890",
        "MAIL_DEFAULT_SENDER": '["Shop", "shop@example.org"]',
        "OUTBOX_POLL_SECONDS": "0.2",
        "OUTBOX_ENVIRONMENT": "2",
        "OUTBOX_SENSITIVE_KINDS": '["password-reset", "confirm"]',
        "OUTBOX_ON_UNCERTAIN_KINDS": '{"invoice": "hold"}',
    }
    for name, value in given.items():
        monkeypatch.setenv(f"FLASK_{name}", value)
    app = Flask(__name__)
    app.config.from_prefixed_env()
    settings = Settings.from_config(app.config)
    assert (settings.server, settings.port, settings.use_tls, settings.poll_seconds) == (
        "mail.example.org",
        587,
        True,
        0.2,
    )
    assert (settings.username, settings.password, settings.environment) == ("100200", "1234567890", "2")
    assert settings.default_sender == ("Shop", "shop@example.org")
    assert settings.sensitive_kinds == ("password-reset", "confirm")
    assert dict(settings.on_uncertain_kinds) == {"invoice": "hold"}


@pytest.mark.parametrize("raw", [1.5, True, None.__class__, ["a"]], ids=repr)
def test_a_password_that_was_taken_for_something_else(raw: object) -> None:
    """What can't be undone is a fault that says what to do, and not what the password is."""
    told = fault(MAIL_USERNAME="user", MAIL_PASSWORD=raw)
    assert "double quotes" in told or raw is None.__class__
    assert "1.5" not in told


def test_documentation_is_up_to_date() -> None:
    """docs/configuration.md is what the table of settings says."""
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown(), (
        "run: python -m outbox.settings.docs > docs/configuration.md"
    )
