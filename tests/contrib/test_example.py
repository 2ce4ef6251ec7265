"""The example as a stranger's package: built, installed, listed, served with, and uninstalled."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from clients import Client, dial, is_closed
from environments import Environment, Process

pytestmark = pytest.mark.slow

COMPONENTS = {
    ("handler", "upper"),
    ("server", "fair"),
    ("concurrency", "bounded"),
    ("handler", "reverse"),
    ("framing", "slip"),
}


@pytest.fixture(scope="module")
def environment(
    with_plugport: Environment, example_wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """plugport and the example in a virtual environment of their own."""
    environment = with_plugport.copy(tmp_path_factory.mktemp("example") / "environment")
    environment.pip("install", example_wheel)
    return environment


def listed(environment: Environment, *arguments: str) -> list[dict[str, Any]]:
    result = environment.run("plugport", *arguments, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def connect(service: Process) -> Client:
    address = service.wait_for(r"listening on (\w+)://127\.0\.0\.1:(\d+)\n")
    kind = socket.SOCK_DGRAM if address[1] == "udp" else socket.SOCK_STREAM
    return dial(socket.AF_INET, kind, ("127.0.0.1", int(address[2])))


def test_the_wheel_holds_the_package_and_nothing_else(environment: Environment) -> None:
    result = environment.run(
        "python",
        "-c",
        "import importlib.metadata; print(*importlib.metadata.files('plugport-example'), sep='\\n')",
    )
    names = {name for name in result.stdout.split() if ".dist-info" not in name and "__pycache__" not in name}
    modules = (
        *("__init__.py", "bounded.py", "fair.py", "outcomes.py", "plugin.py", "py.typed", "upper.py"),
        *("ask.py", "messages.py", "reverse.py", "slip.py"),
    )
    assert names == {f"plugport_example/{module}" for module in modules}


def test_its_components_are_listed(environment: Environment) -> None:
    found = {(entry["kind"], entry["name"]): entry for entry in listed(environment, "list")}
    assert found.keys() > COMPONENTS
    for kind, name in COMPONENTS:
        entry = found[kind, name]
        assert entry["qualified_name"] == f"plugport-example:{name}"
        assert entry["distribution"] == "plugport-example"
        assert entry["version"] == "0.1.0"
        assert entry["origin"] == "third-party"
        assert entry["status"] == "available"
        assert entry["summary"]


def test_its_plugins_are_listed(environment: Environment) -> None:
    found = [entry for entry in listed(environment, "list", "plugins") if entry["distribution"] != "plugport"]
    assert [(entry["name"], entry["status"], entry["error"]) for entry in found] == [
        ("example", "active", None),
        ("messages", "active", None),
        ("outcomes", "active", None),
    ]
    assert found[0]["hooks"] == ["register_concurrency", "register_handlers", "register_servers"]
    assert found[1]["hooks"] == ["register_commands", "register_framings", "register_handlers"]
    assert found[2]["hooks"] == ["request_finished", "request_rejected", "server_stopped"]


def test_listing_imports_none_of_it(environment: Environment) -> None:
    script = "import sys; from plugport.cli import main; main(['list']); sys.exit(' '.join(sys.modules))"
    imported = environment.run("python", "-c", script).stderr.split()
    assert {name for name in imported if name.startswith("plugport_example.")} == {
        "plugport_example.plugin",
        "plugport_example.messages",
        "plugport_example.outcomes",
    }


def test_its_options_are_shown(environment: Environment) -> None:
    (shown,) = listed(environment, "show", "fair")
    (option,) = [option for option in shown["options"] if option["name"] == "max_per_client"]
    assert option["type"] == "int > 0"
    assert option["default"] == 8
    assert option["help"] == "connections that one address may have at once"


@pytest.mark.parametrize(
    ("handler", "server", "strategy", "answer"),
    [
        ("upper", "tcp", "threading", b"HELLO\n"),
        ("upper", "udp", "forking", b"HELLO\n"),
        ("echo", "fair", "sync", b"hello\n"),
        ("echo", "udp", "bounded", b"hello\n"),
        ("upper", "fair", "bounded", b"HELLO\n"),
    ],
)
def test_serves_with_its_components_and_with_the_built_in(
    environment: Environment, handler: str, server: str, strategy: str, answer: bytes
) -> None:
    command = ("plugport", "serve", handler, f"{server}://127.0.0.1:0", "-c", strategy)
    with environment.running(*command) as service, connect(service) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == answer
    assert re.search(rf"INFO {server}://127\.0\.0\.1:\d+: 1 completed\n", service.output)


def test_its_framing_and_its_command(environment: Environment) -> None:
    command = ("plugport", "serve", "reverse", "tcp://127.0.0.1:0", "-o", "framing=slip", "-o", "flush=true")
    with environment.running(*command) as service:
        url = service.wait_for(r"listening on (\S+)\n")[1]
        result = environment.run("plugport", "ask", url, "hello", "--framing", "slip")
        assert (result.returncode, result.stdout, result.stderr) == (0, "olleh\n", "")
    (shown,) = listed(environment, "show", "slip")
    assert [option["name"] for option in shown["options"]] == ["max_message_size", "flush"]


def test_its_server_turns_away_and_its_hooks_count_it(environment: Environment) -> None:
    command = ("plugport", "serve", "upper", "fair://127.0.0.1:0", "-c", "bounded", "-o", "max_per_client=1")
    with environment.running(*command) as service, connect(service) as first:
        first.sendall(b"first")
        assert first.recv(100) == b"FIRST"
        with connect(service) as second:
            assert is_closed(second)
    assert "1 rejected, 1 completed\n" in service.output


def test_a_plugin_of_it_can_be_switched_off_alone(environment: Environment) -> None:
    command = ("plugport", "--disable-plugin", "outcomes", "serve", "upper", "tcp://127.0.0.1:0")
    with environment.running(*command) as service, connect(service) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"
    assert "completed" not in service.output


def test_an_illegal_combination_is_refused_and_the_cure_named(environment: Environment) -> None:
    result = environment.run("plugport", "check", "counter", "fair", "forking")
    assert result.returncode == 1
    assert result.stdout.startswith("refused: the handler keeps state in memory")
    assert "bounded" in result.stdout
    result = environment.run("plugport", "serve", "counter", "fair://127.0.0.1:0", "-c", "forking")
    assert result.returncode == 2
    assert result.stderr.startswith("plugport: counter can't be served by fair under forking: ")
    assert result.stderr.count("\n") == 1


def test_uninstalled_it_is_gone(with_plugport: Environment, example_wheel: Path, tmp_path: Path) -> None:
    environment = with_plugport.copy(tmp_path / "environment")
    environment.pip("install", example_wheel)
    assert listed(environment, "show", "upper")
    environment.pip("uninstall", "--yes", "plugport-example")
    assert {entry["distribution"] for entry in listed(environment, "list")} == {"plugport"}
    assert {entry["name"] for entry in listed(environment, "list", "plugins")} == {"builtins", "tools"}
    result = environment.run("plugport", "serve", "upper")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "plugport: no handler named 'upper' (plugport list handlers)\n"
