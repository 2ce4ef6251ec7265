"""The accounting of processes, against what the processes say of themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent
from typing import IO

import pytest

from plugport_tools.bench.usage import cpu_usage, memory_of

MIB = 2**20


@contextmanager
def script(source: str) -> Iterator[tuple[int, IO[str]]]:
    """Run Python code; it goes on as long as its standard input is open."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", dedent(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield process.pid, process.stdout
        process.stdin.close()


def test_threads_children_that_ended_and_children_that_live_all_count() -> None:
    source = """
        import os, sys, threading, time

        def burn(clock, seconds):
            until = clock() + seconds
            while clock() < until:
                pass

        def fork(then):
            pid = os.fork()
            if not pid:
                then()
                os._exit(0)
            return pid

        thread = threading.Thread(target=burn, args=(time.thread_time, 0.2))
        thread.start()
        thread.join()
        os.waitpid(fork(lambda: burn(time.process_time, 0.3)), 0)

        ready, tell = os.pipe()
        def live():
            # A grandchild that has ended, and one's own time.
            os.waitpid(fork(lambda: burn(time.process_time, 0.1)), 0)
            burn(time.process_time, 0.2)
            os.write(tell, b"x")
            sys.stdin.read()
        fork(live)
        os.read(ready, 1)
        print(time.process_time(), flush=True)
        sys.stdin.read()
    """
    with script(source) as (pid, output):
        own = float(output.readline())
        usage = cpu_usage(pid)
    assert usage is not None
    assert own >= 0.2
    # What has been burnt, and the cost of five processes; ended children count in ticks of 10 ms.
    assert usage.cpu == pytest.approx(own + 0.3 + 0.1 + 0.2, abs=0.1)


def test_what_children_share_counts_once_and_what_is_their_own_counts() -> None:
    source = """
        import os, sys
        shared = bytearray(b"x" * (40 << 20))
        print("alone", flush=True)
        sys.stdin.readline()
        ready, tell = os.pipe()
        for _ in range(3):
            if not os.fork():
                own = bytearray(b"y" * (20 << 20))
                os.write(tell, b"x")
                sys.stdin.read()
                os._exit(0)
        for _ in range(3):
            os.read(ready, 1)
        print("together", flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", dedent(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"alone\n"
        alone = memory_of(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"together\n"
        together = memory_of(process.pid)
        process.stdin.close()
    assert alone is not None
    assert together is not None
    assert 40 * MIB < alone < 80 * MIB
    assert 60 * MIB < together - alone < 80 * MIB


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    with script("") as (pid, output):
        output.read()
    assert cpu_usage(pid) is None
    assert memory_of(pid) is None


def test_where_the_system_does_not_tell_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with script("import sys; sys.stdin.read()") as (pid, _):
        assert cpu_usage(pid) is None
        assert memory_of(pid) is None
