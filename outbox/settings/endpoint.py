"""Where a transport that is not SMTP hands messages over: what its URL and settings say, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of OUTBOX_TRANSPORTS, whose URL has a scheme of the application's own. Its `repr` shows no secret."""

    name: str
    """Its name in OUTBOX_TRANSPORTS."""
    scheme: str
    host: str
    """"" where the URL has none."""
    port: int | None
    username: str | None
    password: str | None = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    """What else is in the URL's query and in OUTBOX_TRANSPORT_<NAME>_…, by name in lower case."""
    ca_file: Path | None = None
    """OUTBOX_TLS_CA_FILE: certificates to trust; None: the system's."""
    connect_timeout: float = 10.0
    """Seconds."""


TransportFactory = Callable[[Endpoint], Any]
"""Makes one transport (`outbox.Transport`) for each connection; it opens nothing yet."""

Transports = Mapping[str, TransportFactory] | None
"""By the scheme of their URLs."""
