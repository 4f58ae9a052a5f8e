"""The signed envelope sender, by which mail that comes back is tied to what was sent.

It is put in when a message is sent, since only then it is known by which transport. It is the same on each attempt: a
relay that greylists knows it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from outbox.message.bounce_address import BounceAddresses
from outbox.message.values import Envelope
from outbox.settings import Settings
from outbox.settings.bounce_addresses import bounce_addresses
from outbox.settings.relay import Relay
from outbox.store.claimed import Claimed


@dataclass(frozen=True, slots=True)
class Returning:
    """How what comes back from one transport finds the way."""

    addresses: BounceAddresses
    names: str  # `Relay.bounce_sender`

    def marked(self, envelope: Envelope, claimed: Claimed) -> Envelope:
        """The envelope with a token. What has no sender is not to come back at all."""
        if not envelope.sender:
            return envelope
        if self.names == "delivery":
            token = self.addresses.of_delivery(claimed.id)
        else:
            token = self.addresses.of_message(claimed.message.pk)
        sender = envelope.sender if self.names == "never" else self.addresses.address(token)
        return replace(envelope, sender=sender, envid=token)


def returning(settings: Settings, relay: Relay) -> Returning | None:
    """None: nothing is marked. Where all mail goes to one address, what comes back says nothing about people's."""
    if settings.redirect_to is not None or (addresses := bounce_addresses(settings)) is None:
        return None
    return Returning(addresses, relay.bounce_sender)
