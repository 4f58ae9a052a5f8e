"""The SMTP server that every figure is measured against: sink.c and smtp.c, compiled when it is first needed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import trustme

from benchmarks import apart

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "bench"


class Unavailable(Exception):
    """Something that is needed is not on this machine; the text says what would help."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """One message the server said 250 to."""

    at: int  # nanoseconds, CLOCK_MONOTONIC
    message_id: str


class Sink:
    """A running server on 127.0.0.1. It asks for STARTTLS by a certificate for `localhost`, signed by `ca_file`."""

    def __init__(self, folder: Path) -> None:
        """Start it; its files lie in `folder`. Raises Unavailable without a compiler or OpenSSL's headers."""
        program = build()
        self.ca_file = folder / "ca.pem"
        self._record = folder / "accepted"
        certificate, key = _certificate(folder, self.ca_file)
        self._process = subprocess.Popen(
            [program, certificate, key, self._record], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        apart.keep_server(self._process.pid)
        self.port = int(self._answer().removeprefix("port "))

    def delay(self, milliseconds: int) -> None:
        """Hold back the reply to the final dot."""
        self._order(f"delay {milliseconds}")

    def reset(self) -> None:
        """Forget what was accepted."""
        self._order("reset")

    def count(self) -> int:
        """How many messages were accepted since the last reset."""
        return int(self._order("count"))

    def accepted(self) -> list[Accepted]:
        """The messages accepted since the last reset, in order."""
        self._order("flush")
        lines = (line.split(maxsplit=1) for line in self._record.read_text().splitlines())
        return [Accepted(int(at), message_id) for at, message_id in lines]

    def close(self) -> None:
        """The end of its input ends it."""
        self._process.communicate()

    def _order(self, order: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the sink ended with code {self._process.wait()}")
        return answer.strip()


def build() -> Path:
    """The program, compiled if it is older than its sources."""
    program = BUILD / "sink"
    newest = max(file.stat().st_mtime for file in (*HERE.glob("*.c"), *HERE.glob("*.h")))
    if program.is_file() and program.stat().st_mtime > newest:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler (Debian: apt-get install gcc libc6-dev libssl-dev)")
    BUILD.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-o", program, *sorted(HERE.glob("*.c")), "-lssl", "-lcrypto"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unavailable(f"the SMTP sink does not compile (Debian: apt-get install libssl-dev): {done.stderr[-800:]}")
    return program


def _certificate(folder: Path, ca_file: Path) -> tuple[Path, Path]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server.key"
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
