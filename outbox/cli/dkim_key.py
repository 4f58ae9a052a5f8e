"""`outbox-dkim-key`: a private key for signatures, and the DNS record that goes with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from outbox.cli.command import Command, Failure
from outbox.cli.common import in_app, say, settings
from outbox.cli.output import print_json, print_whole
from outbox.message.dkim.keys import ED25519, MISSING, RSA, SMALL, DkimKey, new_pem, read_key
from outbox.message.dkim.record import name_of, strings_of, value_of, zone_line
from outbox.settings.dkim_values import DKIM_DOMAIN, DKIM_KEYS


@click.command("outbox-dkim-key", cls=Command)
@click.argument("selector")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--type", "algorithm", type=click.Choice([RSA, ED25519]), default=RSA, help="Of the key; the default is rsa."
)
@click.option("--domain", metavar="NAME", help="The domain that signs; the default is OUTBOX_DKIM_DOMAIN.")
@click.option("--show", is_flag=True, help="Make nothing: print the record of the key that there is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def dkim_key(selector: str, file: Path, algorithm: str, domain: str | None, show: bool, as_json: bool) -> None:
    """Make a DKIM key, and print the DNS record to publish.

    Writes a new private key (RSA with 2,048 bits, or Ed25519) to FILE, which only its owner can read; an existing file
    is never overwritten. Prints the TXT record with the public key, in strings of at most 255 bytes. Publish it before
    OUTBOX_DKIM_KEYS names the key. Needs no database and no complete configuration.

    \b
    Examples:
      outbox-dkim-key june2027 /etc/shop/june2027.pem --domain example.org
      outbox-dkim-key june2027-ed /etc/shop/june2027-ed.pem --type ed25519
      outbox-dkim-key june2027 /etc/shop/june2027.pem --show
    """
    selector = _parsed(DKIM_KEYS.parse, {selector: file}, "SELECTOR")[0].selector
    domain = _configured() if domain is None else _parsed(DKIM_DOMAIN.parse, domain, "--domain")
    key = _read(selector, file) if show else _make(selector, file, algorithm)
    name, value = name_of(key.selector, domain), value_of(key)
    if as_json:
        print_json(
            {
                "selector": key.selector,
                "algorithm": key.algorithm,
                "bits": key.bits,
                "file": str(file),
                "name": name,
                "value": value,
                "strings": strings_of(value),
            }
        )
        return
    if not show:
        bits = f", {key.bits:,} bits" if key.algorithm == RSA else ""
        say(f"The private key is in {file} ({key.algorithm}{bits}). The user that the worker runs as must own it.")
    say("Publish this TXT record (as one value, and as a zone file has it):")
    print_whole(f"\n{name}\n{value}\n\n{zone_line(name + '.' if domain else name, value)}\n")
    if not show:
        setting = f"OUTBOX_DKIM_DOMAIN={domain or 'example.org'} and OUTBOX_DKIM_KEYS={key.selector}={file}"
        say(f"Once it is in the DNS (`outbox-check --dns` tells), set {setting}.")


def _parsed(parse: Any, value: Any, what: str) -> Any:
    try:
        return parse(value)
    except ValueError as problem:
        raise Failure(f"{what} {problem}.") from None


def _configured() -> str | None:
    """OUTBOX_DKIM_DOMAIN; None, too, where the configuration is faulty because it names the key that is to be made."""

    @in_app
    def look() -> str | None:
        return settings().dkim_domain

    try:
        return look()
    except click.ClickException:
        return None


def _make(selector: str, file: Path, algorithm: str) -> DkimKey:
    try:
        pem = new_pem(algorithm, SMALL)
    except ImportError:
        raise Failure(f"No key was made: {MISSING}.") from None
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(
            f"{file} exists, and is never overwritten. A new key needs a new selector and a file of its own; --show "
            "prints the record of this one."
        ) from None
    except OSError as error:
        raise Failure(f"{file} can't be written: {error.strerror or type(error).__name__}.") from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(pem)
    return read_key(selector, pem)


def _read(selector: str, file: Path) -> DkimKey:
    try:
        return read_key(selector, file.read_bytes())
    except OSError as error:
        raise Failure(f"{file} can't be read: {error.strerror or type(error).__name__}.") from None
    except ValueError as problem:
        raise Failure(f"The key in {file} {problem}.") from None
