"""Commands as processes forked from one that has everything imported: each has 50 ms to start instead of a second.

A real process in every other way: its own memory, files, environment, signals and end. What only a new interpreter
reads as it starts (PYTHON…, LC_…, LD_PRELOAD) does not reach a fork, and such a command gets a new interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from multiprocessing import reduction
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any, Self

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.servers.preloaded"])
FOR_A_NEW_INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "FAKETIME")

Pipe = int | IO[Any] | None


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    new_session: bool = False,
    fork: bool = True,
    prefix: Sequence[str] = (),
    **pipes: Pipe,
) -> Process | subprocess.Popen[str]:
    """`python -m …` (the words after `-m`) that runs on. `pipes`: as those of Popen; the output is text.

    `prefix`: a program that starts it, which takes a new interpreter.
    """
    if fork and not prefix and not _needs_a_new_interpreter(env):
        return Process(command, cwd, env, new_session, **pipes)
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", *command],
        **{"cwd": cwd, "env": env, "text": True, "start_new_session": new_session, **pipes},  # type: ignore[call-overload]
    )


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """`python -m …` to its end, with nothing to read. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


class Process:
    """What of subprocess.Popen the tests use."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        new_session: bool,
        *,
        stdin: Pipe = None,
        stdout: Pipe = None,
        stderr: Pipe = None,
    ) -> None:
        self.args = list(command)
        self.stdout: IO[str] | None = None
        ends: list[int] = []

        def number(pipe: Pipe, default: int) -> int:
            if pipe is None:
                return default
            if pipe == subprocess.DEVNULL:
                ends.append(os.open(os.devnull, os.O_RDWR))
            elif pipe == subprocess.PIPE:
                reading, writing = os.pipe()
                self.stdout = os.fdopen(reading, encoding="utf-8")
                ends.append(writing)
            else:
                return pipe if isinstance(pipe, int) else pipe.fileno()
            return ends[-1]

        out = number(stdout, 1)
        files = (number(stdin, 0), out, out if stderr == subprocess.STDOUT else number(stderr, 2))
        arguments = (tuple(command), str(cwd), dict(env), new_session, *map(_Inherited, files))
        self._process: BaseProcess = FORKSERVER.Process(target=_be_it, args=arguments)
        try:
            self._process.start()
        finally:
            for end in ends:
                os.close(end)
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str | None, None]:
        """What it still writes to its pipe, until it has ended."""
        said = self.stdout.read() if self.stdout is not None and not self.stdout.closed else None
        if self.stdout is not None:
            self.stdout.close()
        self.wait(timeout)
        return said, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.communicate()


class _Inherited:
    """An open file on its way to the fork, where it becomes the number that it has there."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self._number),)


def _received(duplicate: Any) -> int:
    number: int = duplicate.detach()
    return number


def _needs_a_new_interpreter(env: Mapping[str, str]) -> bool:
    """Whether the environment has what this process, and so its forks, were not started with."""
    ours = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONPATH": env.get("PYTHONPATH", "")}
    return any(name.startswith(FOR_A_NEW_INTERPRETER) and ours.get(name) != value for name, value in env.items())


def _be_it(
    command: tuple[str, ...], cwd: str, env: dict[str, str], new_session: bool, stdin: int, stdout: int, stderr: int
) -> None:
    if new_session:
        os.setsid()
    # a shell starts what runs in its background with Ctrl-C ignored, and that is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate((stdin, stdout, stderr)):
        os.dup2(file, number)
    for file in {stdin, stdout, stderr}:
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (_text(number, "r" if number == 0 else "w") for number in range(3))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    module, *words = command
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:  # as an interpreter does, and a fork does not
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        logging.shutdown()  # which Python 3.13 leaves out in a fork


def _text(number: int, mode: str) -> IO[str]:
    """As the interpreter opens it: a terminal's output line by line, and errors whatever they hold."""
    errors = "backslashreplace" if number == 2 else "surrogateescape"
    buffering = 1 if number == 2 or os.isatty(number) else -1
    return open(number, mode, buffering, encoding="utf-8", errors=errors, closefd=False)


def imported_beforehand() -> None:
    """What every command imports, called in the process that is forked."""
    for command in entry_points(group="flask.commands"):
        with contextlib.suppress(ImportError):
            command.load()
