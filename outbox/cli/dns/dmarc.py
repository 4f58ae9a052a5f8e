"""DMARC by RFC 9989: a domain's policy, and its organizational domain, by walking up the DNS tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from outbox.cli.dns.lookup import Lookup

OBSOLETE = ("pct", "rf", "ri")
"""Tags of RFC 7489 that RFC 9989 has no more."""

_MOST_LABELS = 7  # of a name above the one that the walk begins with
_TAG = re.compile(r"\s*([a-z]+)\s*=\s*([^;]*?)\s*(?:;|$)", re.IGNORECASE)
_POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class Record:
    """One DMARC record and where it is."""

    domain: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def policy(self) -> str:
        """What is asked for mail that fails; without a valid p= nothing is (RFC 9989 §4.7)."""
        said = self.tags.get("p", "").lower()
        return said if said in _POLICIES else "none"

    def for_below(self) -> str:
        """The same for mail from domains below."""
        said = self.tags.get("sp", "").lower()
        return said if said in _POLICIES else self.policy

    def is_strict(self, tag: str) -> bool:
        """Whether `adkim` or `aspf` asks for the very domain."""
        return self.tags.get(tag, "r").lower() == "s"


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk up from one domain found."""

    domain: str
    records: tuple[Record, ...] = ()  # from the domain up
    several: tuple[str, ...] = ()  # domains with more than one record, which then count as none

    @property
    def organization(self) -> str:
        """The organizational domain (RFC 9989 §4.10.2)."""
        for one in self.records:
            if one.tags.get("psd") == "n":
                return one.domain
            if one.tags.get("psd") == "y" and one.domain != self.domain:
                return ".".join(self.domain.split(".")[-one.domain.count(".") - 2 :])
        return self.records[-1].domain if self.records else self.domain

    @property
    def policy(self) -> Record | None:
        """The record that holds: the domain's, that of its organization, or that of the suffix above it."""
        by_domain = {one.domain: one for one in self.records}
        suffix = next((one for one in self.records if one.tags.get("psd") == "y"), None)
        return by_domain.get(self.domain) or by_domain.get(self.organization) or suffix


def walk(lookup: Lookup, domain: str) -> Found:
    """From `domain` up to its top-level domain; with eight questions at most. Raises Unanswered."""
    labels = domain.split(".")
    above = [".".join(labels[at:]) for at in range(1, len(labels)) if len(labels) - at <= _MOST_LABELS]
    records, several = [], []
    for name in (domain, *above):
        valid = [tags for text in lookup.texts(f"_dmarc.{name}") if (tags := tags_of(text)) is not None]
        if len(valid) > 1:
            several.append(name)
        elif valid:
            records.append(Record(name, valid[0]))
            if valid[0].get("psd") in {"y", "n"}:
                break
    return Found(domain, tuple(records), tuple(several))


def tags_of(text: str) -> dict[str, str] | None:
    """The tags of a record, in lower case; None: it is not of DMARC."""
    tags = {name.lower(): value for name, value in _TAG.findall(text)}
    first = _TAG.match(text)
    return tags if first is not None and (first[1].lower(), first[2]) == ("v", "DMARC1") else None


def are_aligned(one: Found, other: Found, *, strict: bool) -> bool:
    """Whether two domains count as the same for DMARC."""
    return one.domain == other.domain or (not strict and one.organization == other.organization)
