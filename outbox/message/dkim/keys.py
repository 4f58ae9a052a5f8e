"""Private keys that sign, and what is published of them. `cryptography`, an extra, is imported when a key is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RSA, ED25519 = "rsa", "ed25519"
SMALLEST, SMALL = 1024, 2048  # bits of an RSA key: less is refused by receivers (RFC 8301 §3.2), less is not advised

MISSING = "the package cryptography is not installed. Run `pip install 'flask-outbox[crypto]'`"


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A private key under its selector."""

    selector: str
    algorithm: str  # RSA or ED25519
    bits: int
    public: bytes = field(repr=False)  # what `p=` of the DNS record holds, not yet in base64
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)  # of canonical header fields

    @property
    def is_small(self) -> bool:
        """Whether receivers may think little of it."""
        return self.algorithm == RSA and self.bits < SMALL


def read_key(selector: str, pem: bytes) -> DkimKey:
    """The key in a PEM text. Raises ValueError, whose sentence goes after "the key of …" and shows nothing of it."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise ValueError(f"can't be used: {MISSING}") from None
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError(
            "is encrypted with a passphrase. Store it without one (`openssl pkey -in KEY -out KEY2`), in a file that "
            "only the worker can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a private key in PEM form. Make one with `outbox-dkim-key`") from None
    if isinstance(key, RSAPrivateKey):
        return _rsa(selector, key)
    if isinstance(key, Ed25519PrivateKey):
        return _ed25519(selector, key)
    raise ValueError("is neither RSA nor Ed25519, which are all that DKIM knows. Make one with `outbox-dkim-key`")


def new_pem(algorithm: str, bits: int = SMALL) -> bytes:
    """A new private key (PKCS #8, PEM). Raises ImportError without `cryptography`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: Any = Ed25519PrivateKey.generate() if algorithm == ED25519 else generate_private_key(65537, bits)
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


def _rsa(selector: str, key: Any) -> DkimKey:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if key.key_size < SMALLEST:
        raise ValueError(
            f"has {key.key_size} bits, and receivers ignore signatures by RSA keys of less than {SMALLEST}. Make one "
            f"of {SMALL} with `outbox-dkim-key`"
        )
    padding, sha256 = PKCS1v15(), SHA256()
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return DkimKey(selector, RSA, key.key_size, public, lambda fields: bytes(key.sign(fields, padding, sha256)))


def _ed25519(selector: str, key: Any) -> DkimKey:
    """It signs the hash of the fields (RFC 8463 §3)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return DkimKey(selector, ED25519, 256, public, lambda fields: bytes(key.sign(hashlib.sha256(fields).digest())))
