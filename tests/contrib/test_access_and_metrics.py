"""Access control and metrics in one service, as a user installs and sets them up; scraped by curl."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
from environments import Environment
from patience import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.tools("curl")]

ROOT = Path(__file__).parents[2]
STRATEGIES = ["sync", "threading", "thread-pool", "forking", "select", "asyncio"]
PLUGINS = {"access": "plugport-access", "prometheus": "plugport-prometheus"}


@pytest.fixture(scope="module")
def environment(with_plugport: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """plugport and both packages in a virtual environment of their own."""
    environment = with_plugport.copy(tmp_path_factory.mktemp("both") / "environment")
    environment.pip("install", *(ROOT / "contrib" / name for name in PLUGINS.values()))
    return environment


def test_they_are_listed_and_shown(environment: Environment) -> None:
    listed = json.loads(environment.run("plugport", "list", "plugins", "--json").stdout)
    found = {entry["name"]: entry for entry in listed}
    for name, distribution in PLUGINS.items():
        entry = found[name]
        assert (entry["distribution"], entry["version"]) == (distribution, "0.1.0")
        assert (entry["status"], entry["hooks"]) == ("active", ["service_plugin"])
        (shown,) = json.loads(environment.run("plugport", "show", name, "--json").stdout)
        assert all(option["name"].startswith(f"{name}.") and option["help"] for option in shown["options"])


def test_listing_imports_none_of_them(environment: Environment) -> None:
    script = "import sys; from plugport.cli import main; main(['list']); sys.exit(' '.join(sys.modules))"
    imported = environment.run("python", "-c", script).stderr.split()
    ours = ("plugport_access.", "plugport_prometheus.", "prometheus_client")
    assert {name for name in imported if name.startswith(ours)} == {
        "plugport_access.plugin",
        "plugport_prometheus.plugin",
    }


def come(port: int, source: str) -> bool:
    """Whether who comes from *source* is served."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(100), b"")) == b"hello"
    except OSError:  # broken off at one point or another
        return False


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_is_turned_away_is_counted(environment: Environment, strategy: str) -> None:
    options = (
        "access.deny=127.0.0.2",
        "access.rate=0.001",
        "access.burst=3",
        "prometheus.listen=127.0.0.1:0",
    )
    command = ["plugport", "serve", "echo", "tcp://127.0.0.1:0", "-c", strategy]
    with environment.running(*command, *(f"-o{option}" for option in options)) as service:
        metrics = service.wait_for(r"metrics on (\S+)\n")[1]
        port = int(service.wait_for(r"listening on tcp://127\.0\.0\.1:(\d+)\n")[1])
        served = [come(port, source) for source in ["127.0.0.2"] * 2 + ["127.0.0.1"] * 5]
        assert served == [False, False, True, True, True, False, False]

        def figures() -> dict[str, float]:
            told = subprocess.run(["curl", "-sS", metrics], capture_output=True, text=True, check=True).stdout
            found = re.findall(r'(?:outcome|reason)="([^"]+)",url="\S+"} ([\d.]+)\n', told)
            return {name: float(value) for name, value in found}

        expected = {"the address is denied": 2, "the peer comes too often": 2, "completed": 3}
        wait_until(lambda: expected.items() <= figures().items(), what=f"{expected}, not {figures()}")
    assert "rejected: 4 (" in service.output
    assert "Traceback" not in service.output
