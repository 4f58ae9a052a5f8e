"""The domains that mail comes from, by each transport: SPF, DKIM, DMARC and how they fit, as findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from outbox.cli.dns import dmarc
from outbox.cli.dns.lookup import Lookup, Unanswered
from outbox.cli.dns.spf import MOST_LOOKUPS, Spf, SpfError
from outbox.core.errors import ConfigurationError
from outbox.delivery.presets import preset_of
from outbox.message.dkim.keys import DkimKey
from outbox.message.dkim.record import fault_of, is_record, name_of, tags_of
from outbox.operations import Finding
from outbox.settings.dkim import Dkim, KeySource
from outbox.settings.relay import Relay

OWN_BOUNCES = frozenset({"ses", "sendgrid", "mailgun", "postmark", "sparkpost", "mailjet", "brevo", "resend"})
"""Presets of providers that put an envelope sender of their own in place of ours, for which SPF is then asked."""

INCLUDES = {"gmail": "_spf.google.com", "exchange": "spf.protection.outlook.com"}
"""What the SPF record has of a provider that sends with our envelope sender."""


@dataclass(frozen=True, slots=True)
class Author:
    """A domain that mail comes from, and the transports by which that mail may go."""

    domain: str
    relays: tuple[Relay, ...]


class Check:
    """Of one configuration."""

    def __init__(self, lookup: Lookup, authors: Sequence[Author], relays: Sequence[Relay], bounces: str | None) -> None:
        """`bounces`: the domain of the envelope sender where bounces are to come back to us."""
        self._lookup = lookup
        self._authors = authors
        self._relays = relays
        self._bounces = bounces

    def findings(self) -> Iterator[Finding]:
        """All of them: each domain once, then how each fits each transport."""
        if not self._authors:
            words = "no sender is known, so that no domain was looked at"
            yield Finding("dns", None, words, "Set MAIL_DEFAULT_SENDER, or give --from ADDRESS.")
        for domain, relays in self._spf_domains().items():
            yield from _answered("spf", self._spf(domain, relays))
        for domain in dict.fromkeys(one.domain for one in self._authors):
            yield from _answered("dmarc", self._dmarc(domain))
        for relay in self._relays:
            if relay.dkim is not None:
                yield from _answered("dkim", self._dkim(relay, relay.dkim))
        for author in self._authors:
            for relay in author.relays:
                yield from _answered("alignment", self._alignment(author.domain, relay))
        if self._bounces is not None:
            yield from _answered("mx", self._mx(self._bounces))

    def _envelope(self, domain: str, relay: Relay) -> str:
        """The domain of the envelope sender, for which SPF is asked."""
        return domain if self._bounces is None or relay.bounce_sender == "never" else self._bounces

    def _spf_domains(self) -> dict[str, list[Relay]]:
        """Each with the transports that use it; none where all of them use one of the provider's."""
        found: dict[str, list[Relay]] = {}
        for author in self._authors:
            found.setdefault(author.domain, [])
            for relay in author.relays:
                if _preset(relay) not in OWN_BOUNCES:
                    found.setdefault(self._envelope(author.domain, relay), []).append(relay)
        return found

    def _spf(self, domain: str, own: Sequence[Relay]) -> Iterator[Finding]:
        spf = Spf(self._lookup, domain)
        try:
            record = spf.record()
            if record is None and not own:
                yield Finding("spf", None, f"{domain} has no SPF record, and none is asked for: see alignment")
                return
            if record is None:
                words = f"{domain} has no SPF record, so that receivers can't tell which servers may send for it"
                yield Finding("spf", False, words, f"Publish a TXT record at {domain}, such as `v=spf1 mx -all`.")
                return
            end = spf.permits(None)
        except SpfError as error:
            yield Finding("spf", False, str(error))
            return
        if end == "+":
            yield Finding(
                "spf", False, f"the SPF record of {domain} permits everybody: it ends in +all", "End it in -all."
            )
            return
        yield Finding("spf", True, f"{domain} has a valid SPF record, with {spf.lookups} of {MOST_LOOKUPS} look-ups")
        if end in {"?", ""}:
            words = f"the SPF record of {domain} says nothing about other servers"
            yield Finding("spf", None, words, "End it in ~all or -all.")
        for relay in own:
            yield from self._permitted(domain, spf, relay)

    def _permitted(self, domain: str, spf: Spf, relay: Relay) -> Iterator[Finding]:
        """Whether the relay may send, as far as that can be told from here."""
        include = INCLUDES.get(_preset(relay))
        spf.permits(None)
        if include is not None:
            if include not in spf.names:
                words = f"the SPF record of {domain} does not include {include}, by which {relay.name} sends"
                yield Finding("spf", False, words, f"Add include:{include} to it.")
            return
        if relay.is_local or not relay.speaks_smtp:
            return
        addresses = self._lookup.addresses(relay.host) or [relay.host.strip("[]")]
        try:
            named = any(spf.permits(address) == "+" for address in addresses)
        except ValueError:
            return  # a name without an address, of which the look at the relay tells
        if not named:
            words = f"the SPF record of {domain} does not name {relay.host} ({', '.join(addresses)})"
            yield Finding(
                "spf", None, words, "That is right only where it sends from other addresses, which are named."
            )

    def _dmarc(self, domain: str) -> Iterator[Finding]:
        found = dmarc.walk(self._lookup, domain)
        for name in found.several:
            yield Finding("dmarc", False, f"_dmarc.{name} has several DMARC records, so that none counts", "Keep one.")
        record = found.policy
        if record is None:
            words = (
                f"{domain} has no DMARC record, nor has a domain above it: Gmail and Yahoo want one of who sends much"
            )
            remedy = f"Publish a TXT record at _dmarc.{domain}: v=DMARC1; p=none; rua=mailto:dmarc@{domain}."
            yield Finding("dmarc", False, words, remedy)
            return
        policy = record.policy if record.domain == domain else record.for_below()
        where = "" if record.domain == domain else f", by the record of {record.domain}"
        yield Finding("dmarc", True, f"{domain} asks for p={policy}{where}")
        if "p" in record.tags and record.tags["p"].lower() != record.policy:
            words = f"the DMARC record of {record.domain} has p={record.tags['p']}, which counts as none"
            yield Finding("dmarc", False, words, "Use none, quarantine or reject.")
        obsolete = [name for name in dmarc.OBSOLETE if name in record.tags]
        if obsolete:
            tags = ", ".join(f"{name}=" for name in obsolete)
            remedy = "Take them out" + (
                "; t=y asks receivers to test the policy, as pct=0 did." if "pct" in obsolete else "."
            )
            yield Finding(
                "dmarc", None, f"the DMARC record of {record.domain} has {tags}, which RFC 9989 removed", remedy
            )

    def _dkim(self, relay: Relay, dkim: Dkim) -> Iterator[Finding]:
        for source in dkim.sources:
            key: DkimKey | None = None
            try:
                key = source.read()
            except OSError:
                pass  # the worker's alone: that there is a record is all that can be told
            except ValueError as problem:
                yield Finding("dkim", False, f"the key of the selector {source.selector} {problem}")
                continue
            yield self._published(relay, dkim, source, key)

    def _published(self, relay: Relay, dkim: Dkim, source: KeySource, key: DkimKey | None) -> Finding:
        name = name_of(source.selector, dkim.domain)
        show = f"`outbox-dkim-key {source.selector} {source.path or 'FILE'} --show` prints the record."
        records = [text for text in self._lookup.texts(name) if is_record(text)]
        if not records:
            words = f"{name} has no DKIM record, so that nobody can verify what {relay.name} signs"
            return Finding("dkim", False, words, f"Publish it: {show}")
        if len(records) > 1:
            return Finding(
                "dkim", False, f"{name} has {len(records)} DKIM records, of which receivers may take any", "Keep one."
            )
        if key is None:
            words = f"{name} has a record; it can't be compared, for this user may not read {source.path}"
            return Finding("dkim", None, words, "Run outbox-check as the worker's user.")
        tags = tags_of(records[0])
        if (fault := fault_of(tags, key)) is not None:
            return Finding("dkim", False, f"the record at {name} {fault}", f"Publish the one of the key: {show}")
        if "y" in tags.get("t", "").lower().split(":"):
            words = f"the record at {name} fits its key, but says t=y: receivers treat the mail as unsigned"
            return Finding("dkim", None, words, "Take t=y out once all works.")
        return Finding("dkim", True, f"{name} has the public key by which {relay.name} signs ({key.algorithm})")

    def _alignment(self, domain: str, relay: Relay) -> Iterator[Finding]:
        """Whether mail from this domain passes DMARC by this transport: by DKIM, by SPF, or by neither."""
        author = dmarc.walk(self._lookup, domain)
        record = author.policy or dmarc.Record(domain)
        by = f"mail from {domain} by {relay.name}"
        signs = relay.dkim.domain if relay.dkim is not None else None
        strict = record.is_strict("adkim")
        if signs is not None and dmarc.are_aligned(author, dmarc.walk(self._lookup, signs), strict=strict):
            yield Finding("alignment", True, f"{by} is signed with d={signs}: aligned")
            return
        if signs is not None:
            asked = f"{record.domain} asks for the very domain (adkim=s)" if strict else "another organization's"
            words = f"{by} is signed with d={signs}, which is not aligned with From: {asked}"
            setting = (
                "OUTBOX_DKIM_DOMAIN"
                if relay.label in {None, "default"}
                else f"OUTBOX_TRANSPORT_{relay.name.upper()}_DKIM_DOMAIN"
            )
            yield Finding("alignment", False, words, f"Set {setting}={domain}, or give that mail another transport.")
            return
        if _preset(relay) in OWN_BOUNCES:
            words = f"{by} is signed by the provider, if {domain} is set up there; that can't be seen from here"
            yield Finding("alignment", None, words)
            return
        envelope = self._envelope(domain, relay)
        strict = record.is_strict("aspf")
        if dmarc.are_aligned(author, dmarc.walk(self._lookup, envelope), strict=strict):
            words = f"{by} is aligned by SPF alone, which forwarding breaks, unless the relay signs"
            yield Finding("alignment", None, words, "Sign it: docs/dkim.md.")
        else:
            words = f"{by} is not signed, and its envelope sender ({envelope}) is not aligned with From"
            yield Finding("alignment", False, words, "Sign it: docs/dkim.md.")

    def _mx(self, domain: str) -> Iterator[Finding]:
        found = self._lookup.exchanges(domain)
        if [host for _, host in found] == [""]:
            yield Finding(
                "mx", False, f"{domain} says that it takes no mail (MX 0 .)", "Publish the MX of your mail server."
            )
        elif not found and not self._lookup.addresses(domain):
            words = f"{domain} has no MX record, so that bounces can't come back"
            yield Finding("mx", False, words, f"Publish an MX record at {domain}, or unset OUTBOX_BOUNCE_DOMAIN.")
        elif not found:
            yield Finding("mx", None, f"{domain} has no MX record: bounces go to its own address", "Publish one.")
        else:
            lost = [host for _, host in found if not self._lookup.addresses(host)]
            if lost:
                words = f"the MX of {domain}, {', '.join(lost)}, has no address"
                yield Finding("mx", False, words, "Correct the name, or publish its address.")
            else:
                yield Finding("mx", True, f"bounces to {domain} go to {', '.join(host for _, host in found)}")


def _answered(check: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """`found`, as far as the DNS answers."""
    try:
        yield from found
    except Unanswered as unanswered:
        yield Finding(check, False, str(unanswered), "Try again, or ask another resolver: --resolver 9.9.9.9.")
    except ConfigurationError as error:
        yield Finding(check, False, str(error))


def _preset(relay: Relay) -> str:
    return preset_of(relay.preset, relay.host).name
