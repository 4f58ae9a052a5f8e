"""Hosts with a name and cables of their own, by Linux's namespaces: what runs on one has no other way out.

A cable leads to a forwarder, and from there to one server of the tests, which listens on 127.0.0.1 as all of them do.
To pull it is not to end connections: what is sent is lost, and nobody is told.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Self

from tests.servers.process import ServerUnavailable
from tests.servers.proxy import Freezer

_CABLES = itertools.count()


class Host:
    """One host. `addresses`: by the name of each cable, where its server is found from here."""

    def __init__(self, name: str, servers: Mapping[str, int]) -> None:
        """`servers`: by name, the port of 127.0.0.1. Raises ServerUnavailable where namespaces are not allowed."""
        self.name = name
        self.addresses: dict[str, tuple[str, int]] = {}
        self._servers = servers
        self._space = f"outbox-{os.getpid()}-{name}"
        self._cables: dict[str, str] = {}
        self._forwarders: list[Freezer] = []

    @property
    def prefix(self) -> list[str]:
        """Before the words of a command that is to run here."""
        name_it = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self._space, *name_it]

    def pull(self, name: str) -> None:
        """Pull a cable."""
        _ip("link", "set", self._cables[name], "down")

    def plug(self, name: str) -> None:
        """Plug it in again."""
        _ip("link", "set", self._cables[name], "up")

    def __enter__(self) -> Self:
        if shutil.which("ip") is None or shutil.which("unshare") is None:
            raise ServerUnavailable("no `ip` or `unshare` on this machine (Debian's packages iproute2, util-linux)")
        _ip("netns", "add", self._space)
        try:
            self._inside("link", "set", "lo", "up")
            for name, port in self._servers.items():
                self._lay(name, port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for forwarder in self._forwarders:
            forwarder.__exit__()
        for cable in self._cables.values():
            subprocess.run(["ip", "link", "delete", cable], capture_output=True)
        _ip("netns", "delete", self._space)

    def _lay(self, name: str, port: int) -> None:
        number = next(_CABLES)
        here, there = f"ob{os.getpid()}-{number}a", f"ob{os.getpid()}-{number}b"
        # of 198.18.0.0/15, which is for tests (RFC 2544); a network of four addresses for each cable of each process
        low = os.getpid() % 2048 * 64 + number % 16 * 4
        near, far = (f"198.{18 + low // 65_536}.{low // 256 % 256}.{low % 256 + end}" for end in (1, 2))
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self._space)
        self._cables[name] = here
        _ip("address", "add", f"{near}/30", "dev", here)
        _ip("link", "set", here, "up")
        self._inside("address", "add", f"{far}/30", "dev", there)
        self._inside("link", "set", there, "up")
        forwarder = Freezer(("127.0.0.1", port), near)
        self._forwarders.append(forwarder.__enter__())
        self.addresses[name] = (near, forwarder.port)

    def _inside(self, *words: str) -> None:
        _ip("-netns", self._space, *words)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise ServerUnavailable(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}; it takes root's rights")
