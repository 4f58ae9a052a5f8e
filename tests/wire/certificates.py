"""Certificates for the test server: a good one and the faults that a verifying client must refuse."""

from __future__ import annotations

import functools
import ssl
import tempfile
import warnings
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAMES = ("localhost", "127.0.0.1", "::1")


@functools.cache
def authority() -> trustme.CA:
    """The issuer that clients are told to trust."""
    return trustme.CA()


@functools.cache
def ca_file() -> Path:
    """The issuer's certificate as a PEM file, kept until the process ends."""
    folder = Path(_keep(tempfile.TemporaryDirectory(prefix="outbox-ca-")).name)
    path = folder / "ca.pem"
    authority().cert_pem.write_to_path(path)
    return path


@functools.cache
def server_context(kind: str) -> ssl.SSLContext:
    """A server's context: "good", or its certificate is "expired", for the "wrong host", by an "unknown issuer", by a
    "plain issuer" (see there); "old" knows TLS 1.1 at most; "client certificate 1.2" and "1.3" ask for one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if kind == "plain issuer":
        context.load_cert_chain(plain_issuer().parent / "leaf.pem")
        return context
    if kind == "old":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    elif kind.startswith("client certificate"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca_file())
        context.maximum_version = ssl.TLSVersion.TLSv1_2 if kind.endswith("1.2") else ssl.TLSVersion.TLSv1_3
    _issue(kind).configure_cert(context)
    return context


@functools.cache
def client_files() -> tuple[Path, Path]:
    """Certificate and key of a client that servers of a kind "client certificate" accept, as two PEM files."""
    folder = Path(_keep(tempfile.TemporaryDirectory(prefix="outbox-client-")).name)
    issued = authority().issue_cert("outbox@example.org")
    issued.cert_chain_pems[0].write_to_path(folder / "client.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "client.pem", folder / "key.pem"


@functools.cache
def plain_issuer() -> Path:
    """The PEM file of an authority whose certificate has no key usage and no key identifiers, as a house makes one."""
    folder = Path(_keep(tempfile.TemporaryDirectory(prefix="outbox-plain-ca-")).name)
    begins, ends = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    issuer_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        named = [
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, "The House's CA")
        ]
        builder = x509.CertificateBuilder(named[1], named[0], key.public_key(), 1 + len(subject), begins, ends)
        signed = builder.add_extension(extension, critical=False).sign(issuer_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    private = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "leaf.pem").write_bytes(private + certificate("localhost", leaf_key, names))
    authority = certificate("The House's CA", issuer_key, x509.BasicConstraints(ca=True, path_length=None))
    (folder / "ca.pem").write_bytes(authority)
    return folder / "ca.pem"


def _issue(kind: str) -> trustme.LeafCert:
    match kind:
        case "good" | "old" | "client certificate 1.2" | "client certificate 1.3":
            return authority().issue_cert(*NAMES)
        case "expired":
            return authority().issue_cert(*NAMES, not_after=datetime(2020, 1, 1, tzinfo=UTC))
        case "wrong host":
            return authority().issue_cert("mail.elsewhere.example")
        case "unknown issuer":
            return trustme.CA().issue_cert(*NAMES)
    raise ValueError(f"no such certificate: {kind}")


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _keep(folder: tempfile.TemporaryDirectory[str]) -> tempfile.TemporaryDirectory[str]:
    _kept.append(folder)
    return folder
