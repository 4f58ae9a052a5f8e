"""The threads of a worker stay on one processor, and that one is not the one where somebody else's stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from outbox.worker.one_cpu import is_of_use

pytestmark = pytest.mark.skipif(not is_of_use(), reason="needs Linux and two processors")

_BUSY = """
import os, sys, threading
from outbox.worker.one_cpu import OneProcessor

def work():
    while True:
        sum(range(1000))

named = sys.argv[1:] == ["named"]
duty = OneProcessor(own=not named)
for number in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(number), {min(os.sched_getaffinity(0))})
for _ in range(3):
    threading.Thread(target=work, name="outbox-claimer" if named else None, daemon=True).start()
if named:
    os.sched_setaffinity(0, duty._allowed)
for line in sys.stdin:
    duty.run()
    print(duty.chosen, flush=True)
"""


@contextmanager
def busy(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process with threads that compute, all on the first processor till it is asked to choose. "named": it is a
    task queue's, and those threads alone are the worker's."""
    command = [sys.executable, "-c", _BUSY, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def choose(process: subprocess.Popen[str]) -> int:
    """Asked again where none of its threads ran in the 20 ms of its look, as on a machine that is busy."""
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(200):
        process.stdin.write("\n")
        process.stdin.flush()
        if (answer := process.stdout.readline().strip()) != "None":
            return int(answer)
    raise TimeoutError("none of its threads ever runs")


def test_all_threads_stay_on_the_processor_that_was_chosen() -> None:
    with busy() as process:
        chosen = choose(process)
        threads = [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
        assert len(threads) == 4
        assert [os.sched_getaffinity(number) for number in threads] == [{chosen}] * 4


def test_in_a_process_of_others_its_own_threads_alone_stay_there() -> None:
    with busy("named") as process:
        chosen = choose(process)
        kept = {number: os.sched_getaffinity(number) for number in map(int, os.listdir(f"/proc/{process.pid}/task"))}
        main = kept.pop(process.pid)
        assert list(kept.values()) == [{chosen}] * 3
        assert main == os.sched_getaffinity(0)


@pytest.mark.parametrize("words", [(), ("named",)], ids=["workers", "of a task queue"])
def test_workers_of_one_parent_keep_apart(words: tuple[str, ...]) -> None:
    """Though all begin on the same processor, and each chooses again and again."""
    with ExitStack() as stack:
        processes = [stack.enter_context(busy(*words)) for _ in range(2)]
        for _ in range(10):
            first, second = map(choose, processes)
            assert first != second
