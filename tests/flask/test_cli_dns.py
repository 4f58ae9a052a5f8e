"""`outbox-check --dns` against a DNS server: what it says of the domains that mail comes from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from outbox import Settings
from outbox.cli.dns.authors import authors, resolver
from outbox.cli.dns.check import Author, Check
from outbox.cli.dns.dmarc import walk
from outbox.cli.dns.lookup import Lookup
from outbox.cli.dns.spf import Spf, SpfError
from outbox.message.dkim.keys import ED25519, RSA, new_pem, read_key
from outbox.message.dkim.record import strings_of, value_of
from outbox.settings.kinds import policy
from outbox.settings.relay import Relay
from tests.flask.terminal import COLUMNS, SGR, Terminal
from tests.servers.dns_server import BROKEN, SILENT, DnsServer
from tests.wire.server import SmtpServer

Zone = Mapping[str, str | Sequence[str]]
Ask = Callable[..., list[tuple[str, str]]]

GOOD: Zone = {
    "example.org TXT": ['"google-site-verification=x"', '"v=spf1 ip4:192.0.2.0/24 include:relay.example -all"'],
    "relay.example TXT": '"v=spf1 a:out.relay.example ~all"',
    "out.relay.example A": "198.51.100.7",
    "_dmarc.example.org TXT": '"v=DMARC1; p=reject; rua=mailto:dmarc@example.org"',
}


@pytest.fixture(name="ask")
def _ask(terminal: Terminal) -> Iterator[Ask]:
    """The findings about the DNS as (mark, words), with this zone and these settings."""
    with SmtpServer() as relay:

        def ask(zone: Zone, *words: str, **env: str) -> list[tuple[str, str]]:
            env = {
                "MAIL_PORT": str(relay.port),
                "MAIL_DEFAULT_SENDER": "Shop <shop@example.org>",
                "OUTBOX_SECRET_KEY": "s",
                **env,
            }
            with DnsServer(zone) as server:
                code, said = terminal.json("outbox-check", "--dns", "--resolver", server.address, *words, env=env)
            marks = {True: "ok", False: "FAULT", None: "note"}
            found = [
                (f"{marks[one['ok']]} {one['check']}", f"{one['words']} {one['remedy']}".strip())
                for one in said["checks"]
                if one["check"] in {"dns", "spf", "dkim", "dmarc", "alignment", "mx"}
            ]
            assert code == (1 if any(one["ok"] is False for one in said["checks"]) else 0)
            return found

        yield ask


def signing(folder: Path, **algorithms: str) -> tuple[dict[str, str], dict[str, str]]:
    """The settings for keys under these selectors, and their records."""
    paths, records = {}, {}
    for selector, algorithm in algorithms.items():
        path = paths[selector] = folder / f"{selector}.pem"
        path.touch(0o600)
        path.write_bytes(new_pem(algorithm))
        strings = strings_of(value_of(read_key(selector, path.read_bytes())))
        records[f"{selector}._domainkey.example.org TXT"] = " ".join(f'"{one}"' for one in strings)
    keys = " ".join(f"{selector}={path}" for selector, path in paths.items())
    return {"OUTBOX_DKIM_DOMAIN": "example.org", "OUTBOX_DKIM_KEYS": keys}, records


def test_all_is_well(ask: Ask, tmp_path: Path) -> None:
    """Two keys whose records fit, SPF, DMARC, and From aligned by the signature."""
    env, records = signing(tmp_path, june=RSA, juneed=ED25519)
    found = ask({**GOOD, **records}, **env)
    assert [mark for mark, _ in found] == ["ok spf", "ok dmarc", "ok dkim", "ok dkim", "ok alignment"]
    said = "\n".join(words for _, words in found)
    assert "example.org has a valid SPF record, with 2 of 10 look-ups" in said
    assert "example.org asks for p=reject" in said
    assert "june._domainkey.example.org has the public key by which" in said
    assert "is signed with d=example.org: aligned" in said


def test_nothing_is_there(ask: Ask, tmp_path: Path) -> None:
    """Each is a fault with what to publish."""
    env, _ = signing(tmp_path, june=RSA)
    found = ask({}, **env)
    assert [mark for mark, _ in found] == ["FAULT spf", "FAULT dmarc", "FAULT dkim", "ok alignment"]
    said = "\n".join(words for _, words in found)
    assert "Publish a TXT record at example.org, such as `v=spf1 mx -all`." in said
    assert "Publish a TXT record at _dmarc.example.org: v=DMARC1; p=none; rua=mailto:dmarc@example.org." in said
    assert f"`outbox-dkim-key june {tmp_path}/june.pem --show` prints the record." in said


def test_another_key_is_published(ask: Ask, tmp_path: Path) -> None:
    """The one of before, a revoked one, one in testing, two."""
    env, records = signing(tmp_path, june=ED25519)
    ((name, value),) = records.items()
    (tmp_path / "other").mkdir()
    _, other = signing(tmp_path / "other", june=ED25519)
    said = {
        record: [words for mark, words in ask({**GOOD, name: record}, **env) if mark.endswith("dkim")]
        for record in (other[name], '"v=DKIM1; k=ed25519; p="', value.replace("DKIM1;", "DKIM1; t=y;"))
    }
    assert ["has another public key" in one[0] for one in said.values()] == [True, False, False]
    assert ["is revoked" in one[0] for one in said.values()] == [False, True, False]
    assert ["says t=y" in one[0] for one in said.values()] == [False, False, True]
    twice = ask({**GOOD, name: [value, other[name]]}, **env)
    assert dict(twice)["FAULT dkim"].startswith(f"{name[:-4]} has 2 DKIM records")


def test_from_is_not_aligned(ask: Ask, tmp_path: Path) -> None:
    """By relaxed alignment a domain below will do; by strict it will not, nor will another organization's."""
    env, records = signing(tmp_path, june=ED25519)
    zone = {**GOOD, **records, "example.com TXT": '"v=spf1 -all"', "_dmarc.example.com TXT": '"v=DMARC1; p=none"'}
    below = ask(zone, **{**env, "MAIL_DEFAULT_SENDER": "shop@news.example.org"})
    assert (below[-1][0], below[1][0]) == ("ok alignment", "ok dmarc")
    assert "news.example.org asks for p=reject, by the record of example.org" in below[1][1]
    strict = {**zone, "_dmarc.example.org TXT": '"v=DMARC1; p=reject; adkim=s"'}
    mark, words = ask(strict, **{**env, "MAIL_DEFAULT_SENDER": "shop@news.example.org"})[-1]
    assert mark == "FAULT alignment"
    assert "example.org asks for the very domain (adkim=s)" in words
    mark, words = ask(zone, **{**env, "MAIL_DEFAULT_SENDER": "shop@example.com"})[-1]
    assert mark == "FAULT alignment"
    assert "Set OUTBOX_DKIM_DOMAIN=example.com" in words


def test_each_transport_and_sender(ask: Ask, tmp_path: Path) -> None:
    """What only a provider knows is a note; --from and an application's own sender are looked at, too."""
    env, records = signing(tmp_path, june=ED25519)
    env = {name.replace("OUTBOX_", "OUTBOX_TRANSPORT_OWN_"): value for name, value in env.items()}
    found = ask(
        {**GOOD, **records, "example.com TXT": '"v=spf1 ?all"'},
        "--from",
        "news@example.com",
        OUTBOX_TRANSPORTS="own plain esp",
        OUTBOX_TRANSPORT_OWN_URL="smtp://127.0.0.1:1",
        OUTBOX_TRANSPORT_PLAIN_URL="smtp://127.0.0.1:1",
        OUTBOX_TRANSPORT_ESP_URL="smtp+starttls://u:p@127.0.0.1:1?preset=postmark",
        **env,
    )
    aligned = [(mark.split()[0], words) for mark, words in found if mark.endswith("alignment")]
    assert [mark for mark, _ in aligned] == ["ok", "note", "note", "FAULT", "note", "note"]
    assert aligned[0][1].startswith("mail from example.org by own is signed with d=example.org")
    assert "aligned by SPF alone" in aligned[1][1]
    assert "signed by the provider, if example.org is set up there" in aligned[2][1]
    assert "Set OUTBOX_TRANSPORT_OWN_DKIM_DOMAIN=example.com" in aligned[3][1]
    assert any(mark == "note spf" and "says nothing about other servers" in words for mark, words in found)


@pytest.mark.parametrize(
    ("record", "mark", "words"),
    [
        ('"v=spf1 +all"', "FAULT", "permits everybody"),
        ('"v=spf1 ip4:192.0.2.300 -all"', "FAULT", "has 'ip4:192.0.2.300', which is invalid"),
        ('"v=spf1 include -all"', "FAULT", "has 'include', which is invalid"),
        ('"v=spf1 include:gone.example -all"', "FAULT", "refers to gone.example, which has none"),
        ('"v=spf1 ' + " ".join(f"a:a{number}.example" for number in range(11)) + ' -all"', "FAULT", "more than 10"),
        ('"v=spf1 mx ~all"', "ok", "with 1 of 10 look-ups"),
        ('"v=spf1 ip6:2001:db8::/32 a/24//64 exists:%{i}.x.example redirect=relay.example"', "ok", "with 4 of 10"),
    ],
)
def test_spf_records(ask: Ask, record: str, mark: str, words: str) -> None:
    """Each fault says what is wrong with it."""
    found = ask({**GOOD, "example.org TXT": record})
    assert [said for found_mark, said in found if found_mark == f"{mark} spf" and words in said], found


def test_two_spf_records(ask: Ask) -> None:
    """None counts."""
    found = ask({**GOOD, "example.org TXT": ['"v=spf1 -all"', '"v=spf1 mx -all"']})
    assert ("FAULT spf", "example.org has 2 SPF records, so that none counts. Make one of them") in found


@pytest.mark.parametrize(
    ("preset", "include", "mark"),
    [("gmail", "_spf.google.com", "FAULT"), ("exchange", "spf.protection.outlook.com", "FAULT")],
)
def test_a_provider_that_spf_has_to_name(ask: Ask, preset: str, include: str, mark: str) -> None:
    """Whose include is known."""
    without = ask(GOOD, OUTBOX_PRESET=preset, MAIL_SERVER="127.0.0.1", MAIL_USE_TLS="false")
    assert any(found == f"{mark} spf" and f"Add include:{include} to it." in words for found, words in without)
    zone = {**GOOD, "example.org TXT": f'"v=spf1 include:{include} -all"', f"{include} TXT": '"v=spf1 ?all"'}
    assert not any("include" in words for mark, words in ask(zone, OUTBOX_PRESET=preset, MAIL_SERVER="127.0.0.1"))


def test_which_addresses_spf_names() -> None:
    """Networks, hosts, what is included, and what is not named."""
    zone = {
        **GOOD,
        "example.net TXT": '"v=spf1 -ip4:192.0.2.9 ip4:192.0.2.0/24 mx/30 include:example.org ip6:2001:db8::/32 -all"',
        "example.net MX": "10 mx.example.net.",
        "mx.example.net A": "203.0.113.4",
    }
    with DnsServer(zone) as server:
        spf = Spf(Lookup(("127.0.0.1", int(server.address.split(":")[1]))), "example.net")
        found = {
            address: spf.permits(address)
            for address in ("192.0.2.1", "192.0.2.9", "203.0.113.5", "198.51.100.7", "2001:db8::7", "203.0.113.9")
        }
    assert [*found.values()] == ["+", "-", "+", "+", "+", "-"]


def test_a_circle_of_includes_ends() -> None:
    """By the limit on look-ups."""
    with DnsServer({"a.example TXT": '"v=spf1 include:a.example -all"'}) as server:
        spf = Spf(Lookup(("127.0.0.1", int(server.address.split(":")[1]))), "a.example")
        with pytest.raises(SpfError, match="more than 10 look-ups"):
            spf.permits(None)


@pytest.mark.parametrize(
    ("domain", "zone", "organization", "policy"),
    [
        ("example.org", {}, "example.org", None),
        ("a.example.org", {"example.org": "p=reject"}, "example.org", "example.org"),
        ("a.example.org", {"a.example.org": "p=none", "example.org": "p=reject"}, "example.org", "a.example.org"),
        ("a.b.org", {"a.b.org": "p=none; psd=n", "b.org": "p=reject"}, "a.b.org", "a.b.org"),
        ("shop.gov.example", {"gov.example": "p=reject; psd=y"}, "shop.gov.example", "gov.example"),
        ("a.b.gov.example", {"gov.example": "psd=y", "b.gov.example": "p=none"}, "b.gov.example", "b.gov.example"),
        ("gov.example", {"gov.example": "p=reject; psd=y"}, "gov.example", "gov.example"),
        ("a.b.c.d.e.f.g.h.i.org", {"i.org": "p=reject"}, "i.org", "i.org"),
        ("a.b.c.d.e.f.g.h.i.org", {"b.c.d.e.f.g.h.i.org": "p=reject"}, "a.b.c.d.e.f.g.h.i.org", None),
    ],
)
def test_the_walk_up_the_tree(domain: str, zone: dict[str, str], organization: str, policy: str | None) -> None:
    """RFC 9989 §4.10: whose record holds, with eight questions at most."""
    with DnsServer({f"_dmarc.{name} TXT": f'"v=DMARC1; {record}"' for name, record in zone.items()}) as server:
        found = walk(Lookup(("127.0.0.1", int(server.address.split(":")[1]))), domain)
        assert len(server.asked) <= 8
    assert (found.organization, found.policy and found.policy.domain) == (organization, policy)


def test_what_dmarc_has_no_more(ask: Ask) -> None:
    """pct, rf and ri of RFC 7489; a p= that there is not; several records."""
    record = '"v=DMARC1; p=quarantine; pct=50; ri=3600"'
    found = ask({**GOOD, "_dmarc.example.org TXT": record})
    assert ("ok dmarc", "example.org asks for p=quarantine") in found
    assert any(mark == "note dmarc" and "has pct=, ri=, which RFC 9989 removed" in words for mark, words in found)
    found = ask({**GOOD, "_dmarc.example.org TXT": '"v=DMARC1; p=monitor"'})
    assert any(mark == "FAULT dmarc" and "has p=monitor, which counts as none" in words for mark, words in found)
    found = ask({**GOOD, "_dmarc.example.org TXT": ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"', '"verify=x"']})
    assert any(mark == "FAULT dmarc" and "several DMARC records" in words for mark, words in found)


@pytest.mark.parametrize(
    ("zone", "mark", "words"),
    [
        ({}, "FAULT", "has no MX record, so that bounces can't come back"),
        ({"MX": "0 ."}, "FAULT", "takes no mail"),
        ({"MX": "10 gone.example.org."}, "FAULT", "gone.example.org, has no address"),
        ({"A": "192.0.2.1"}, "note", "bounces go to its own address"),
        ({"MX": "10 out.relay.example."}, "ok", "go to out.relay.example"),
    ],
)
def test_where_bounces_go(zone: dict[str, str], mark: str, words: str) -> None:
    """The MX of the domain of the envelope sender."""
    whole = {**GOOD, **{f"bounce.example.org {kind}": value for kind, value in zone.items()}}
    with DnsServer(whole) as server:
        lookup = Lookup(("127.0.0.1", int(server.address.split(":")[1])))
        relay = Relay("127.0.0.1", bounce_sender="message")
        found = [*Check(lookup, [Author("example.org", (relay,))], [relay], "bounce.example.org").findings()]
    marks = {True: "ok", False: "FAULT", None: "note"}
    assert [(marks[one.ok], words in one.words) for one in found if one.check == "mx"] == [(mark, True)]
    assert any("aligned by SPF alone" in one.words for one in found)


def test_a_dns_that_does_not_answer() -> None:
    """Silence and SERVFAIL are faults of the look-up, not missing records; the other checks go on."""
    with DnsServer({**GOOD, "example.org TXT": SILENT, "_dmarc.example.org TXT": BROKEN}) as server:
        lookup, relay = Lookup(("127.0.0.1", int(server.address.split(":")[1])), seconds=0.5), Relay("127.0.0.1")
        found = [*Check(lookup, [Author("example.org", (relay,))], [relay], None).findings()]
    assert [(one.check, one.ok) for one in found] == [("spf", False), ("dmarc", False), ("alignment", False)]
    assert "the question for TXT of example.org was not answered in time" in found[0].words
    assert "refused, or its servers are broken (SERVFAIL)" in found[1].words


def test_wrong_use(terminal: Terminal) -> None:
    """A resolver that is none; dnspython that is not installed."""
    done = terminal.here("outbox-check", "--dns", "--resolver", "dns.example.org")
    assert (done.returncode, "is not an IP address, such as 9.9.9.9" in done.stderr) == (2, True)
    program = (
        "import sys; sys.modules['dns'] = None; sys.argv = ['flask', '--app', 'trial', 'outbox-check', '--dns']; "
        "from flask.cli import main; main()"
    )
    alone = subprocess.run(
        [sys.executable, "-c", program],
        cwd=terminal.folder,
        env=terminal.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (alone.returncode, "pip install 'flask-outbox[check]'" in alone.stderr) == (2, True), alone.stderr


def test_on_a_terminal(terminal: Terminal) -> None:
    """80 columns: a finding a line, wrapped at words, the checks in one column."""
    with DnsServer({**GOOD, "example.org TXT": '"v=spf1 ~all"'}) as server, SmtpServer() as relay:
        terminal.env |= {"MAIL_PORT": str(relay.port), "MAIL_DEFAULT_SENDER": "shop@example.org"}
        with terminal.screen("outbox-check", "--dns", "--resolver", server.address) as screen:
            shown = SGR.sub("", screen.to_end())
    lines = shown.splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert any(line.startswith("  dmarc          ok example.org asks for p=reject") for line in lines), shown


def test_no_sender(ask: Ask) -> None:
    """Then no domain is known."""
    found: Any = ask({}, MAIL_DEFAULT_SENDER="")
    assert found == [
        (
            "note dns",
            "no sender is known, so that no domain was looked at Set MAIL_DEFAULT_SENDER, or give --from ADDRESS.",
        )
    ]


@pytest.mark.parametrize(("host", "named"), [("out.relay.example", True), ("other.example", False)])
def test_the_relay_that_spf_names(host: str, named: bool) -> None:
    """By its addresses; one that it does not name may still be right."""
    with DnsServer({**GOOD, "other.example A": "203.0.113.9"}) as server:
        lookup = Lookup(("127.0.0.1", int(server.address.split(":")[1])))
        relay = Relay(host, 587)
        found = [*Check(lookup, [Author("example.org", (relay,))], [relay], None).findings()]
    assert not any(one.ok is False for one in found)
    words = "the SPF record of example.org does not name other.example (203.0.113.9)"
    assert [one.words for one in found if one.check == "spf" and one.ok is None] == ([] if named else [words])


def test_the_senders_of_kinds() -> None:
    """Each domain once; a kind with a transport of its own goes by that one alone."""
    urls = {f"OUTBOX_TRANSPORT_{name}_URL": "smtp://127.0.0.1" for name in ("A", "B")}
    settings = Settings.from_config({"OUTBOX_TRANSPORTS": "a b", **urls})
    kinds = [
        policy("news", {"sender": "News <news@Example.com>", "transport": "b"}),
        policy("more", {"sender": "more@example.com"}),
        policy("bulk", {"sender": "bulk@münchen.example", "transport": "b"}),
        policy("plain", {}),
    ]
    found = authors(["shop@example.org"], kinds[:1], settings)
    assert [(one.domain, [relay.name for relay in one.relays]) for one in found] == [
        ("example.org", ["a", "b"]),
        ("example.com", ["b"]),
    ]
    found = authors([], kinds, settings)
    assert [(one.domain, [relay.name for relay in one.relays]) for one in found] == [
        ("example.com", ["a", "b"]),
        ("xn--mnchen-3ya.example", ["b"]),
    ]


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("9.9.9.9", ("9.9.9.9", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("2620:fe::fe", ("2620:fe::fe", 53)),
        ("[2620:fe::fe]:5353", ("2620:fe::fe", 5353)),
    ],
)
def test_a_resolver(text: str, server: tuple[str, int]) -> None:
    """An address, with a port or without."""
    assert resolver(text) == server


def test_spf_is_asked_for_the_bounce_domain(ask: Ask) -> None:
    """Where it is in the envelope; there, too, it is the organization that counts for alignment."""
    found = ask(GOOD, OUTBOX_BOUNCE_DOMAIN="bounce.example.org")
    assert [mark for mark, _ in found] == ["ok spf", "FAULT spf", "ok dmarc", "note alignment", "FAULT mx"]
    found = ask(GOOD, OUTBOX_BOUNCE_DOMAIN="bounces.example.net")
    assert any(mark == "FAULT alignment" and "(bounces.example.net) is not aligned" in words for mark, words in found)
