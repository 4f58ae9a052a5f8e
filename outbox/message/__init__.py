"""A message and its bytes: addresses, header section, MIME parts, the wire form (RFC 5322, RFC 2045)."""
