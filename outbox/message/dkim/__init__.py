"""DKIM signatures (RFC 6376): RSA and Ed25519 (RFC 8463), relaxed/relaxed. Why so: docs/decisions/0037."""
