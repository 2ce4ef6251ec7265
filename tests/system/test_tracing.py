"""A service whose hooks are traced: what it tells, in its threads and in its children, and what it serves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import Service, serving
from patience import wait_until

LINE = re.compile(r"^plugport: trace: (\d+) ([^:\n]+): ( *)(\w+)(.*)$", re.MULTILINE)


def told(service: Service) -> list[tuple[str, str, str]]:
    """The process, the hook and the rest of each line of the trace."""
    return [(pid, name, rest) for pid, _, _, name, rest in LINE.findall(service.output)]


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking", "thread-pool", "select", "asyncio"])
def test_the_life_of_a_service_is_told(tmp_path: Path, strategy: str) -> None:
    command = ("echo", "tcp://127.0.0.1:0", "-c", strategy)
    with serving(tmp_path, *command, env={"PLUGPORT_TRACE": "1"}) as service:
        assert service.ask(b"hello") == b"hello"
        wait_until(lambda: "request_finished" in service.output)
    lines = [
        line for line in told(service) if not line[1].startswith(("register", "service_actions", "child"))
    ]
    assert [name for _, name, _ in lines] == [
        "server_bound",
        "server_started",
        "verify_request",
        "request_started",
        "request_finished",
        "server_draining",
        "server_stopped",
    ]
    assert {pid for pid, _, _ in lines} == {str(service.pid)}
    assert all(f"(server={service.urls[0]}" in rest for _, name, rest in lines if name.startswith("server_"))
    assert " completed>): nobody implements it" in lines[4][2]


def test_a_child_tells_as_itself(tmp_path: Path) -> None:
    command = ("echo", "tcp://127.0.0.1:0", "-c", "forking")
    traced = "child_started,child_exited"
    with serving(tmp_path, *command, env={"PLUGPORT_TRACE": traced}) as service:
        for _ in range(3):
            assert service.ask(b"hello") == b"hello"
        wait_until(lambda: service.output.count("child_exited") == 3)
    started = [pid for pid, name, _ in told(service) if name == "child_started"]
    exited = [
        (pid, re.findall(r"pid=(\d+), status=0", rest))
        for pid, name, rest in told(service)
        if name == "child_exited"
    ]
    assert len(set(started)) == 3
    assert str(service.pid) not in started
    assert sorted(exited) == sorted((str(service.pid), [pid]) for pid in started)
