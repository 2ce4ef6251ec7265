"""Bad input of every kind gets one clear line and exit 2, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from clients import correspondent, dial
from command import error_of, plugport, serving
from fakes import SitePackages
from leaks import socket_files
from patience import PATIENCE, Call, wait_until
from unprivileged import UNPRIVILEGED

TCP = "tcp://127.0.0.1:0"


def refusal(folder: Path, *arguments: Any, prefix: tuple[str, ...] = (), **env: str) -> str:
    """The error of ``plugport`` with *arguments*, which must leave the folder as it is."""
    before = sorted(folder.rglob("*"))
    message = error_of(plugport(folder, *arguments, prefix=prefix, env=env))
    assert sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts) == before
    return message


def refused_to_serve(folder: Path, *arguments: Any, **env: str) -> str:
    return refusal(folder, "serve", *arguments, **env)


# Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "ehco"], "no handler named 'ehco'; did you mean 'echo'? (plugport list handlers)"),
        (["serve", "echo", "tpc://:0"], "no server named 'tpc'; did you mean 'tcp'? (plugport list servers)"),
        (["serve", "echo", TCP, "-c", "treading"], "strategy named 'treading'; did you mean 'threading'?"),
        (["serve", "plugport:ehco"], "no handler named 'plugport:ehco'; did you mean 'plugport:echo'"),
        (
            ["serve", "threading"],
            "'threading'; there is a concurrency strategy of that name",
        ),
        (["serve", "no-such-thing"], "no handler named 'no-such-thing' (plugport list handlers)"),
        (["serve", ""], "no handler named ''"),
        (["serve"], "Missing argument 'HANDLER' (plugport serve --help)"),
        (["serve", "echo", "--grase", "1"], "No such option"),
        (["serve", "echo", "--grace", "soon"], "Invalid value for '--grace'"),
        (["serve", "echo", "--grace", "-1"], "Invalid value for '--grace'"),
        (["serve", "echo", "--grace", "nan"], "Invalid value for '--grace': nan is no number of seconds"),
        (["serve", "echo", "--grace", "inf"], "Invalid value for '--grace'"),
        (["serv", "echo"], "no command named 'serv'; did you mean 'serve'?"),
        (["check", "echo", "tcp", "synch"], "no concurrency strategy named 'synch'; did you mean 'sync'"),
        (["show", "ehco"], "no component, plugin or hook named 'ehco'; did you mean 'echo'?"),
        (["list", "handler"], "'handler' is not one of"),
        (["--disable-plugin", "nobody", "list"], "nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unknown_names(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refusal(tmp_path, *arguments)


# URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "'' is not a URL; write SERVER://ADDRESS"),
        ("9000", "'9000' is not a URL"),
        ("127.0.0.1:9000", "is not a URL"),
        ("tcp:/127.0.0.1:9000", "is not a URL"),
        ("://127.0.0.1:9000", "is not a URL"),
        ("tcp://", "has no port"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://127.0.0.1:", "the port must be a number from 0 to 65535"),
        ("tcp://127.0.0.1:http", "the port must be a number"),
        ("tcp://127.0.0.1:65536", "the port must be a number"),
        ("tcp://127.0.0.1:-1", "the port must be a number"),
        ("tcp://127.0.0.1:٣", "the port must be a number"),
        ("tcp://127.0.0.1:9000/", "a path or a query has no place in it"),
        ("tcp://::1:9000", "an IPv6 address goes in brackets"),
        ("tcp://[::1]", "has no port"),
        ("tcp://[::1:9000", "an IPv6 address goes in brackets"),
        ("tcp://user@127.0.0.1:9000", "is not tcp://HOST:PORT"),
        ("tcp://host.invalid:9000", "no address for host 'host.invalid'"),
        ("tcp://256.0.0.1:9000", "no address for host '256.0.0.1'"),
        ("tcp://" + "a" * 64 + ":9000", "no address for host"),
        ("udp://127.0.0.1:x", "as in udp://127.0.0.1:9000"),
        ("tcp://192.0.2.1:9000", "no interface of this machine has that address"),  # TEST-NET-1, RFC 5737
        ("unix://", "has no path"),
        ("unix://@", "has no name after '@'"),
        ("unix:///tmp/", "has no path"),
        ("unix://" + "x" * 200, "the path is longer than the"),
        ("unixgram://", "write unixgram:///run/NAME.sock"),
    ],
)
def test_urls_that_make_no_sense(tmp_path: Path, url: str, message: str) -> None:
    assert message in refused_to_serve(tmp_path, "echo", url)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_port_in_use(tmp_path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        scheme = "tcp" if kind == socket.SOCK_STREAM else "udp"
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        message = refused_to_serve(tmp_path, "echo", url)
    assert message == (
        f"can't listen on {url}: the address is in use; stop what listens there, or choose another"
    )


@pytest.mark.parametrize("scheme", ["unix", "unixgram"])
def test_a_socket_file_in_use_and_other_files_are_left_alone(tmp_path: Path, scheme: str) -> None:
    kind = socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_DGRAM
    live, regular = tmp_path / "live", tmp_path / "regular"
    regular.write_text("mine")
    with socket.socket(socket.AF_UNIX, kind) as taken:
        taken.bind(str(live))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        for path, reason in (
            (live, "the address is in use"),
            (regular, "a file that is not a socket is there"),
            (tmp_path, "a file that is not a socket is there"),
        ):
            message = refused_to_serve(tmp_path, "echo", f"{scheme}://{path}")
            assert message.startswith(f"can't listen on {scheme}://{path}: ")
            assert reason in message
    assert regular.read_text() == "mine"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    message = refused_to_serve(tmp_path, "echo", f"unix://{tmp_path}/no/socket")
    assert message.endswith("the folder of the socket file does not exist")


#: Who may do anything must give that up first; the others may not anyway.
FORBIDDEN = ["unix://{folder}/socket", "unixgram://{folder}/socket"]
if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 1:
    FORBIDDEN += ["tcp://127.0.0.1:1", "udp://127.0.0.1:1"]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_no_permission(tmp_path: Path, url: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    url = url.format(folder=folder)
    message = refusal(tmp_path, "serve", "echo", url, prefix=UNPRIVILEGED)
    assert message.startswith(f"can't listen on {url}: permission denied")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    for name in ("quotes", "mine.py"):
        (tmp_path / name).touch(mode=0)
    message = refusal(tmp_path, "serve", "qotd", TCP, "-o", "quotes_file=quotes", prefix=UNPRIVILEGED)
    assert message == "quotes_file: can't read 'quotes': Permission denied"
    message = refusal(tmp_path, "serve", "mine.py:Mine", TCP, prefix=UNPRIVILEGED)
    assert "Permission denied" in message


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("nonsense", "'nonsense' is not a URL"),
        ("tpc://127.0.0.1:0", "did you mean 'tcp'?"),
        ("tcp://127.0.0.1:x", "the port must be a number"),
        ("unix://{folder}/no/socket", "the folder of the socket file does not exist"),
        ("unix://{folder}/first", "the address is in use"),
        ("tcp://127.0.0.1:{port}", "the address is in use"),
    ],
)
def test_of_several_urls_the_last_is_bad(tmp_path: Path, last: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        last = last.format(folder=tmp_path, port=taken.getsockname()[1])
        address = free.getsockname()
        free.close()
        urls = (f"unix://{tmp_path}/first", f"unixgram://{tmp_path}/second", f"tcp://127.0.0.1:{address[1]}")
        assert message in refused_to_serve(tmp_path, "echo", *urls, last)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


# Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "strategy", "option", "message"),
    [
        ("echo", "threading", "max_chidlren=3", "no option 'max_chidlren'"),
        ("echo", "forking", "max_chidlren=3", "no option 'max_chidlren'; did you mean 'max_children'?"),
        ("echo", "threading", "handler.daemon_threads=1", "no option 'handler.daemon_threads'"),
        ("echo", "threading", "serve.timeout=1", "prefix must be"),
        ("echo", "threading", "timeout", "option 'timeout' is not KEY=VALUE"),
        ("echo", "threading", "=1", "option '=1' is not KEY=VALUE"),
        ("echo", "threading", "request_queue_size=many", "expected int >= 0, got 'many'"),
        ("echo", "threading", "request_queue_size=-1", "expected int >= 0, got '-1'"),
        ("echo", "threading", "request_queue_size=1.5", "expected int >= 0, got '1.5'"),
        ("echo", "forking", "max_children=0", "expected int > 0, got '0'"),
        ("echo", "threading", "daemon_threads=perhaps", "expected bool, got 'perhaps'"),
        ("echo", "threading", "request_queue_size=", "expected int >= 0, got ''"),
        ("echo", "threading", "socket=1", "no option 'socket'"),
        (
            "http.server:SimpleHTTPRequestHandler",
            "threading",
            "timeout=1",
            "ambiguous; write server.timeout",
        ),
        ("exec", "threading", "argv=", "exec: no program to run"),
        ("exec", "threading", "argv=no-such-program", "exec: no program 'no-such-program'"),
        ("exec", "threading", "argv='unbalanced", "option handler.argv: expected list[str]"),
        ("exec", "threading", "argv=[1", "option handler.argv: expected list[str]"),
        ("qotd", "threading", "quotes_file=missing", "can't read 'missing': No such file or directory"),
    ],
)
def test_options(tmp_path: Path, handler: str, strategy: str, option: str, message: str) -> None:
    assert message in refused_to_serve(tmp_path, handler, TCP, "-c", strategy, "-o", option)


def test_an_option_that_must_be_given(tmp_path: Path) -> None:
    assert "name it with -o argv=" in refused_to_serve(tmp_path, "exec", TCP)


# Combinations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["counter", TCP, "-c", "forking"],
            "the handler keeps state in memory, and forking",
        ),
        (["exec", "udp://127.0.0.1:0", "-o", "argv=cat"], "a stream handler can't serve a datagram server"),
        (["exec", TCP, "unixgram://socket", "-o", "argv=cat"], "exec can't be served by unixgram"),
        (["http.server:SimpleHTTPRequestHandler", "udp://127.0.0.1:0"], "a stream handler can't serve"),
        (["socketserver:DatagramRequestHandler", TCP], "a datagram handler can't serve a stream server"),
    ],
)
def test_illegal_combinations(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused_to_serve(tmp_path, *arguments)


# Import strings and files ---------------------------------------------------------------------


MODULES = {
    "raising": ("1 / 0", "fails to import: ZeroDivisionError"),
    "exiting": ("import sys; sys.exit('no')", "fails to import: SystemExit"),
    "broken": ("def (", "fails to import: SyntaxError"),
    "missing": (
        "import no_such_module",
        "ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "garbled": ("x = '\0'", "fails to import: SyntaxError"),
    "empty": ("", "has no attribute 'Handler'"),
    "near": ("class Handle: pass", "has no attribute 'Handler'; did you mean 'Handle'?"),
    "number": ("Handler = 3", "number"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_or_file_that_gives_no_handler(tmp_path: Path, name: str) -> None:
    source, message = MODULES[name]
    (tmp_path / f"{name}.py").write_text(source)
    for target in (f"{name}:Handler", f"{name}.py:Handler", f"{tmp_path}/{name}.py:Handler"):
        assert message in refused_to_serve(tmp_path, target, TCP, PYTHONDONTWRITEBYTECODE="1")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no/such.py:Handler", "no file '{folder}/no/such.py'"),
        ("no_such_module:Handler", "no module named 'no_such_module'"),
        ("json.no_such:Handler", "no module named 'json.no_such'"),
        (":Handler", "neither package.module:attribute nor path/to/file.py:attribute"),
        ("json:", "neither package.module:attribute"),
        ("a b:c", "'a b' is not the name of a module"),
        ("such.py", "no handler named 'such.py'; a file needs an attribute too, such.py:NAME"),
        ("./:Handler", "no file"),
    ],
)
def test_targets_that_are_not_there(tmp_path: Path, target: str, message: str) -> None:
    assert message.format(folder=tmp_path) in refused_to_serve(tmp_path, target, TCP)


# Plugins --------------------------------------------------------------------------------------


def leading_to(site: SitePackages) -> dict[str, str]:
    return {"PYTHONPATH": site.python_path}


def test_a_plugin_that_fails_to_import(tmp_path: Path, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    env = leading_to(site)
    told = "plugin 'broken_plugin' of broken failed: OSError: out of order"
    # The rest works, and says nothing of it,
    with serving(tmp_path, "echo", TCP, env=env) as service:
        assert service.ask(b"hello") == b"hello"
    # until something is asked for that may have been the plugin's;
    assert told in refused_to_serve(tmp_path, "its-handler", TCP, **env)
    assert told in refused_to_serve(tmp_path, "broken:its-handler", TCP, **env)
    # or the word is that all must be well.
    for arguments in (["serve", "echo", TCP], ["list"], ["matrix"]):
        assert told in refusal(tmp_path, "--strict-plugins", *arguments, **env)
    # What is disabled is not imported.
    with_it_off = plugport(tmp_path, "--strict-plugins", "--disable-plugin", "broken", "list", env=env)
    assert with_it_off.returncode == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("yield 3", "register_handlers"),
        ("yield plugport.Component('UPPER case', 'a:b', '')", "UPPER case"),
        ("raise RuntimeError('not today')", "RuntimeError: not today"),
        ("return 3", "register_handlers"),
    ],
)
def test_a_plugin_that_registers_nonsense(
    tmp_path: Path, site: SitePackages, source: str, message: str
) -> None:
    site.add("odd", f"@plugport.hookimpl\ndef plugport_register_handlers():\n    {source}\n")
    env = leading_to(site)
    told = refusal(tmp_path, "--strict-plugins", "serve", "echo", TCP, **env)
    assert "plugin 'odd_plugin' of odd failed" in told
    assert message in told
    assert plugport(tmp_path, "list", env=env).returncode == 0


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ("'later', 'no_such_module:Handler', ''", "handler 'later': no module named 'no_such_module'"),
        ("'later', 'json:Handler', ''", "handler 'later': module 'json' has no attribute 'Handler'"),
        ("'later', 'json:decoder', ''", "handler 'later'"),
        ("'later', 'a:b', '', requires=('no-such-dist>=1',)", "needs no-such-dist>=1: pip install"),
        ("'later', 'a:b', '', unavailable='the moon is not full'", "the moon is not full"),
    ],
)
def test_a_component_that_can_not_be_had(
    tmp_path: Path, site: SitePackages, component: str, message: str
) -> None:
    site.add(
        "odd",
        f"@plugport.hookimpl\ndef plugport_register_handlers():\n    yield plugport.Component({component})\n",
    )
    env = leading_to(site)
    assert message in refused_to_serve(tmp_path, "later", TCP, **env)


# Handlers that raise --------------------------------------------------------------------------

RAISING = dedent("""
    from plugport import BaseRequestHandler, StreamRequestHandler

    class OnDemand(BaseRequestHandler):
        def handle(self):
            stream = not isinstance(self.request, tuple)
            data = self.request.recv(100) if stream else self.request[0]
            if data == b"raise":
                raise LookupError("on demand")
            if stream:
                self.request.sendall(data)
            else:
                self.request[1].sendto(data, self.client_address)

    class InSetup(StreamRequestHandler):
        def setup(self):
            raise LookupError("on demand")

    class InFinish(StreamRequestHandler):
        def finish(self):
            raise LookupError("on demand")

    class InConstructor(StreamRequestHandler):
        def __init__(self, *arguments):
            raise LookupError("on demand")
""")
FAILED = r" ERROR request (\d+) from \S.* failed\n(?s:.*?)\nLookupError: on demand\n"


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking"])
def test_a_stream_handler_that_raises_harms_its_own_request(tmp_path: Path, strategy: str) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    url = f"unix://{tmp_path}/socket"
    arguments = ("raising.py:OnDemand", url, "-c", strategy, "--access-log")
    with serving(tmp_path, *arguments, raises=True) as service:
        assert service.ask(b"first") == b"first"
        with service.connect() as unlucky, service.connect() as other:
            unlucky.sendall(b"raise")
            assert unlucky.recv(100) == b""
            other.sendall(b"meanwhile")
            assert other.recv(100) == b"meanwhile"
        assert service.ask(b"afterwards") == b"afterwards"
        assert service.stop() == 0
        assert sorted(service.outcomes()) == ["completed"] * 3 + ["failed"]
        (request,) = re.findall(FAILED, service.output)
        assert re.search(rf" INFO {request} unix raising.py:OnDemand \S+ failed in ", service.output)


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking"])
def test_a_datagram_handler_that_raises_harms_its_own_request(tmp_path: Path, strategy: str) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    arguments = ("raising.py:OnDemand", "udp://127.0.0.1:0", "-c", strategy, "--access-log")
    with serving(tmp_path, *arguments, raises=True) as service:
        family, _, address = service.address
        with correspondent(family, address, tmp_path / "client") as client:
            for word in (b"first", b"raise", b"afterwards"):
                client.send(word)
            # In no certain order where each has a thread or a child of its own.
            assert {client.recv(100) for _ in range(2)} == {b"first", b"afterwards"}
        assert service.stop() == 0
        assert sorted(service.outcomes()) == ["completed", "completed", "failed"]
        assert len(re.findall(FAILED, service.output)) == 1


@pytest.mark.parametrize("handler", ["InSetup", "InFinish", "InConstructor"])
@pytest.mark.parametrize("strategy", ["sync", "threading", "forking"])
def test_wherever_a_handler_raises(tmp_path: Path, strategy: str, handler: str) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    arguments = (f"raising.py:{handler}", TCP, "-c", strategy, "--access-log")
    with serving(tmp_path, *arguments, raises=True) as service:
        for _ in range(3):
            with service.connect() as client:
                assert client.recv(100) == b""
        assert service.stop() == 0
        assert service.outcomes() == ["failed"] * 3
        assert len(set(re.findall(FAILED, service.output))) == 3


# Standard streams -----------------------------------------------------------------------------


@pytest.mark.tools("bash")
@pytest.mark.parametrize("command", ["list", "list --json", "matrix", "matrix --json", "show echo", "--help"])
def test_a_reader_that_has_gone(tmp_path: Path, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = shell(f"plugport {command} >&{writer}", tmp_path, pass_fds=(writer,))
    finally:
        os.close(writer)
    assert (result.returncode, result.stdout, result.stderr) == (141, "", "")


@pytest.mark.tools("bash")
def test_a_reader_that_goes_at_once(tmp_path: Path) -> None:
    result = shell("plugport list | head -0; exit ${PIPESTATUS[0]}", tmp_path)
    assert (result.stdout, result.stderr) == ("", "")
    assert result.returncode in (0, 141)  # the former if it was quicker than head


@pytest.mark.tools("bash")
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_standard_streams_that_are_closed(tmp_path: Path, closing: str) -> None:
    for command, status in (("list --json", 0), ("matrix", 0), ("serve ehco", 2)):
        result = shell(f"plugport {command} {closing}", tmp_path)
        assert result.returncode == status
        assert "Traceback" not in result.stderr


@pytest.mark.tools("bash")
def test_a_log_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    path = tmp_path / "socket"
    command = f"plugport serve raising.py:OnDemand unix://{path} --access-log"
    # The process that serves tells its number by a file, and its log ends after the first line.
    script = f"( echo $BASHPID >pid; exec {command} ) 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
    running = Call(shell, script, tmp_path)

    def connected() -> Any:
        try:
            return dial(socket.AF_UNIX, socket.SOCK_STREAM, str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # it does not listen yet

    wait_until(lambda: (tmp_path / "pid").exists() and socket_files(tmp_path))
    try:
        for word in (b"raise", b"hello", b"raise", b"hello"):
            with wait_until(connected) as client:
                client.sendall(word)
                assert client.recv(100) == (word if word == b"hello" else b"")
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        result = running.result()
    assert result.returncode == 0
    assert result.stdout == f"listening on unix://{path}\n"
    assert not socket_files(tmp_path)


def shell(line: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``plugport`` is the command."""
    line = line.replace("plugport ", f"{shlex.quote(sys.executable)} -m plugport ", 1)
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=3 * PATIENCE, **options
    )
