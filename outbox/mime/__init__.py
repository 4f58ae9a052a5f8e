"""The parts of composing: addresses, headers and MIME parts, to the wire form of a message (RFC 5322, RFC 2045)."""
