"""Real processes that hold a lifeline, and die."""

from __future__ import annotations

import mmap
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from conduitfw.runtime.lifeline import SIZE, Lifeline

MUCH = 200 << 20  # octets, page by page: the kernel takes a while to give them back


@pytest.fixture
def line() -> Lifeline:
    return Lifeline(memoryview(mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_SHARED))[496 : 496 + SIZE])


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Start a process that does something and waits; gives its number when it has."""
    started = []

    def start(what: Callable[[], object]) -> int:
        near, far = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                what()
                os.write(far, b"\0")
                signal.pause()
            finally:
                os._exit(1)
        os.close(far)
        started.append(pid)
        assert os.read(near, 1)
        os.close(near)
        return pid

    yield start
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


Start = Callable[[Callable[[], object]], int]


def _until_only(threads: set[threading.Thread]) -> None:
    """Until no other threads than these run."""
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - threads:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_breaks_before_the_dead_process_is_taken_apart(line: Lifeline, start: Start) -> None:
    def hold() -> None:
        memory = mmap.mmap(-1, MUCH)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for at in range(0, MUCH, mmap.PAGESIZE):
            memory[at] = 1
        line.hold()
        hold.memory = memory  # type: ignore[attr-defined]

    pid = start(hold)
    assert not line.broken
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not line.broken:
        assert time.monotonic() < deadline
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the parent is told first"
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)  # it still is
    os.waitpid(pid, 0)
    assert line.broken


def test_whoever_watches_is_told_of_every_death(line: Lifeline, start: Start) -> None:
    """Once, though there are two who watch: one on each of two processors."""
    before = set(threading.enumerate())
    near, far = os.pipe2(os.O_NONBLOCK)
    line.watch(lambda: os.write(far, b"\0") == 1)
    processors = sorted(os.sched_getaffinity(0))
    wanted = [{processors[0]}, {processors[-1]}] if len(processors) > 1 else [set(processors)]
    watching = [thread.native_id or 0 for thread in set(threading.enumerate()) - before]
    deadline = time.monotonic() + 10
    while sorted(map(sorted, map(os.sched_getaffinity, watching))) != sorted(map(sorted, wanted)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for _ in range(20):
        pid = start(line.hold)
        assert not line.broken and not select.select([near], [], [], 0)[0]
        os.kill(pid, signal.SIGKILL)
        assert select.select([near], [], [], 5)[0] and line.broken
        os.waitpid(pid, 0)
        time.sleep(0.02)
        assert os.read(near, 100) == b"\0"
        line.mend()
        assert not line.broken


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
@pytest.mark.parametrize("late", [0, 1])
def test_whichever_is_awake_first_tells(line: Lifeline, start: Start, late: int) -> None:
    """The other one waits for a word that nobody breaks, as one that has to wait for its processor."""
    other = Lifeline(memoryview(mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_SHARED))[:SIZE])
    words, line._words = line._words, line._words[:]
    line._words[late] = other._words[late]
    told: list[None] = []
    line.watch(lambda: not told.append(None))
    line._words = words
    for times in (1, 2, 3):
        pid = start(line.hold)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        deadline = time.monotonic() + 10
        while len(told) < times:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        line.mend()


def test_on_one_processor_one_watches(line: Lifeline, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    only = min(os.sched_getaffinity(0))
    monkeypatch.setattr("conduitfw.runtime.lifeline.os.sched_getaffinity", lambda pid: {only})
    told: list[None] = []
    line.watch(lambda: bool(told.append(None)))
    assert len(set(threading.enumerate()) - before) == 1
    pid = start(line.hold)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    _until_only(before)
    assert told == [None]


def test_where_the_kernel_does_not_let_us_wait_nobody_watches(line: Lifeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks once, and not again and again."""
    monkeypatch.setattr("conduitfw.runtime.lifeline._futex", 9999)  # ENOSYS
    before = set(threading.enumerate())
    told: list[None] = []
    line.watch(lambda: not told.append(None))
    _until_only(before)
    assert not told


def test_whoever_has_seen_enough_watches_no_more(line: Lifeline, start: Start) -> None:
    before = set(threading.enumerate())
    told: list[None] = []
    line.watch(lambda: bool(told.append(None)))
    for _ in range(2):
        pid = start(line.hold)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _until_only(before)
        line.mend()
    assert told == [None]


def test_who_has_let_go_of_it_means_nothing_by_dying(line: Lifeline, start: Start) -> None:
    def hold_and_release() -> None:
        line.hold()
        line.release()

    pid = start(hold_and_release)
    successor = start(line.hold)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not line.broken
    os.kill(successor, signal.SIGKILL)
    os.waitpid(successor, 0)
    assert line.broken


def test_a_child_of_who_holds_it_does_not(line: Lifeline, start: Start) -> None:
    """What is forked off later has the memory, and not the hold."""
    near, far = os.pipe()

    def hold_and_fork() -> None:
        line.hold()
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        os.write(far, bytes((line.broken,)))

    start(hold_and_fork)
    assert os.read(near, 1) == b"\0"
