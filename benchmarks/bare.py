"""The bare loop that everything is compared with: smtplib, one open connection, bytes built beforehand, no record kept.

    python -m benchmarks.bare PORT CA_FILE MAILS

STARTTLS, verified. It runs in a process of its own, as the worker does; the sink says how long it took.
"""

from __future__ import annotations

import smtplib
import ssl
import subprocess
import sys
from pathlib import Path

from benchmarks import apart, mails, stats
from benchmarks.sink import Sink


def rate(sink: Sink, count: int, *, port: int | None = None) -> float:
    """Mails a second of the bare loop, from the first to the last that was accepted. `port`: a proxy's."""
    sink.reset()
    command = [sys.executable, "-m", __name__, str(port or sink.port), str(sink.ca_file), str(count)]
    subprocess.run(command, check=True, cwd=Path(__file__).resolve().parents[1])
    accepted = sink.accepted()
    if len(accepted) != count:
        raise RuntimeError(f"the sink accepted {len(accepted)} of {count} mails")
    return stats.rate([one.at for one in accepted])


def main() -> None:
    """Send."""
    apart.keep_loop()
    port, ca_file, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    contents = list(mails.wire(count))
    with smtplib.SMTP("localhost", port) as smtp:
        smtp.starttls(context=ssl.create_default_context(cafile=ca_file))
        for content in contents:
            smtp.sendmail(mails.SENDER, [mails.RECIPIENT], content)


if __name__ == "__main__":
    main()
