"""`python -m tests.servers.without_posix python -m MODULE …`: the module as a program, without what only POSIX has.

They are those that Python has on Linux and not on Windows. What can't be taken away here: how paths, signals and open
files behave there.
"""

from __future__ import annotations

import functools
import logging.handlers  # noqa: F401 - the standard library looks at the system as it is imported
import multiprocessing.connection
import multiprocessing.popen_fork  # noqa: F401
import os
import random  # noqa: F401
import runpy
import select
import selectors
import signal
import socket
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401

OS = """
    chown fchmod fchown fork forkpty geteuid getegid getgid getgroups getpgid getpriority getuid initgroups killpg
    mkfifo nice O_CLOEXEC O_NOFOLLOW O_NONBLOCK posix_spawn register_at_fork sched_getaffinity sched_setaffinity
    set_blocking setpgid setsid statvfs sysconf uname wait wait3 wait4 WNOHANG
"""
SIGNALS = """
    SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 pthread_kill pthread_sigmask sigwait
"""
MODULES = ("fcntl", "grp", "pwd", "resource", "syslog", "termios")


def take_away() -> None:
    """What is asked for from here on is not there."""
    # where there are no Unix sockets a pair is made in another way
    socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # type: ignore[assignment]
    for module, names in ((os, OS), (signal, SIGNALS), (select, "poll epoll"), (socket, "AF_UNIX")):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in ("PollSelector", "EpollSelector"):
        delattr(selectors, name)
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc]
    sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]


if __name__ == "__main__":
    take_away()
    sys.argv = sys.argv[sys.argv.index("-m") + 1 :]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
