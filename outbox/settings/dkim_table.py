"""The settings about signatures (DKIM) of one transport."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from outbox.settings.connection_table import ConnectionTable
from outbox.settings.dkim import Dkim, KeySource
from outbox.settings.dkim_values import DKIM_DOMAIN, DKIM_KEYS
from outbox.settings.spec import setting


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class DkimTable(ConnectionTable):
    """How mail is signed on its way to the relay."""

    dkim_domain: str | None = setting(
        "OUTBOX_DKIM_DOMAIN",
        DKIM_DOMAIN,
        None,
        "The domain that signs (`d=`), of which the From addresses should be or be below: "
        "[sign with DKIM](dkim.md). Needs the extra `crypto`.",
        says="unset: nothing is signed",
    )
    dkim_keys: tuple[KeySource, ...] = setting(
        "OUTBOX_DKIM_KEYS",
        DKIM_KEYS,
        (),
        "The private keys by their selectors. Of several RSA keys the first signs, and the same with Ed25519; "
        "with one of each, both sign. `outbox-dkim-key` makes them.",
    )

    @property
    def dkim(self) -> Dkim | None:
        """By what mail is signed; None: it is not."""
        if self.dkim_domain is None or not self.dkim_keys:
            return None
        return Dkim(self.dkim_domain, self.dkim_keys)


def dkim_faults(table: DkimTable) -> Iterator[str]:
    """What is wrong with the settings, in sentences by their names."""
    if table.dkim_domain is not None and not table.dkim_keys:
        yield (
            "OUTBOX_DKIM_DOMAIN is set without OUTBOX_DKIM_KEYS. Set it to selector=path; `outbox-dkim-key` makes a "
            "key."
        )
    if table.dkim_keys and table.dkim_domain is None:
        yield (
            "OUTBOX_DKIM_KEYS is set without OUTBOX_DKIM_DOMAIN. Set it to the domain of the From addresses, in whose "
            "DNS the public keys are."
        )
    for source in table.dkim_keys:
        if (fault := source.fault) is not None:
            yield fault
