"""Checks of the network: backlog, ports and addresses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnosed import Doctor, of, only, under
from fakes import SitePackages
from unprivileged import UNPRIVILEGED


def sysctl(name: str) -> int:
    return int(Path("/proc/sys/net", name).read_text())


def test_a_backlog_that_is_not_granted(doctor: Doctor, site: SitePackages) -> None:
    limit = sysctl("core/somaxconn")
    server = f"""
    from plugport_builtins.servers.tcp import TCPServer
    from plugport_builtins.servers.udp import UDPServer
    class Modest(TCPServer): request_queue_size = {limit}
    class Greedy(TCPServer): request_queue_size = {limit + 1}
    class Datagrams(UDPServer): request_queue_size = {limit + 1}
    """
    components = "".join(
        f"    yield plugport.Component('{name}', 'servers_mod:{name.title()}')\n"
        for name in ("modest", "greedy", "datagrams")
    )
    plugin = f"@plugport.hookimpl\ndef plugport_register_servers():\n{components}"
    site.add("mine", plugin, files={"servers_mod.py": server})
    expected = f"greedy: asks for a backlog of {limit + 1} connections, the system grants {limit}"
    for arguments in ((), ("greedy://127.0.0.1:0", "modest://127.0.0.1:0", "datagrams://127.0.0.1:0")):
        told = [each for each in doctor(*arguments)["backlog"] if each[1].startswith("greedy")]
        assert told == [
            (
                "warning",
                expected,
                f"sysctl -w net.core.somaxconn={limit + 1}, or be content: -o request_queue_size={limit}",
            )
        ]
    assert only(doctor("modest://127.0.0.1:0")["backlog"], "ok")


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_a_port_that_takes_a_privilege(site: SitePackages, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:1"
    start = sysctl("ipv4/ip_unprivileged_port_start")
    (finding,) = of(under(site, *UNPRIVILEGED, arguments=(url,)), "addresses")
    if start <= 1:
        assert (finding["status"], finding["message"]) == ("ok", f"{url}: can be listened on")
        return
    assert finding["status"] == "problem"
    assert finding["message"].startswith(
        f"{url}: ports below {start} take a privilege that this process lacks"
    )
    assert finding["remedy"].startswith(f"use a port from {start} on; ")
    assert finding["remedy"].endswith("sysctl -w net.ipv4.ip_unprivileged_port_start=1")


def test_which_ports_there_are(site: SitePackages) -> None:
    start = sysctl("ipv4/ip_unprivileged_port_start")
    (finding,) = of(under(site, *UNPRIVILEGED), "addresses")
    some = f"this process may listen on ports from {start} on"
    assert finding["message"] == ("this process may listen on any port" if start <= 1 else some)
    if os.geteuid() == 0 and UNPRIVILEGED:
        (finding,) = of(under(site), "addresses")
        effective = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
        any_port = start <= 1 or bool(int(effective, 16) & 1 << 10)
        assert finding["message"] == ("this process may listen on any port" if any_port else some)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_addresses(doctor: Doctor, tmp_path: Path, taken: int) -> None:
    (tmp_path / "regular").touch()
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(tmp_path / "left-behind"))
    urls = {
        f"tcp://127.0.0.1:{taken}": ("problem", "the address is in use"),
        "tcp://127.0.0.1:0": ("ok", "can be listened on"),
        "tcp://:0": ("ok", "can be listened on"),
        "udp://127.0.0.1:0": ("ok", "can be listened on"),
        "tcp://192.0.2.1:9000": ("problem", "no interface of this machine has that address"),
        f"unix://{tmp_path}/socket": ("ok", "a socket file can be made"),
        f"unixgram://{tmp_path}/no/socket": ("problem", f"there is no folder {tmp_path}/no"),
        f"unix://{tmp_path}/regular": ("problem", "a file that is not a socket is there"),
        f"unix://{tmp_path}/left-behind": ("warning", "a socket file is there"),
        f"unix://@{tmp_path}": ("ok", "can be listened on"),
    }
    before = sorted(tmp_path.iterdir())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        name.bind(f"\0{tmp_path}.taken")
        ((status, message, _),) = doctor(f"unixgram://@{tmp_path}.taken")["addresses"]
    assert (status, message) == ("problem", f"unixgram://@{tmp_path}.taken: the address is in use")
    seen = doctor(*urls)["addresses"]
    assert [(status, message) for status, message, _ in seen] == [
        (status, f"{url}: {message}") for url, (status, message) in urls.items()
    ]
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_may_not_be_written(site: SitePackages, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    url = f"unix://{folder}/socket"
    (finding,) = of(under(site, *UNPRIVILEGED, arguments=(url,)), "addresses")
    assert (finding["status"], finding["message"]) == ("problem", f"{url}: no file can be made in {folder}")


def test_a_server_of_the_standard_library_s(doctor: Doctor, site: SitePackages, taken: int) -> None:
    component = "yield plugport.Component('web', 'http.server:HTTPServer')"
    site.add("web", f"@plugport.hookimpl\ndef plugport_register_servers(): {component}")
    seen = doctor(f"web://127.0.0.1:{taken}", "web://127.0.0.1:0")["addresses"]
    assert [status for status, _, _ in seen] == ["problem", "ok"]


def test_a_server_whose_addresses_are_its_own(doctor: Doctor, site: SitePackages) -> None:
    server = """
    import plugport
    class Own(plugport.BaseServer):
        @classmethod
        def resolve_url(cls, url):
            return {"anything": url.rest}, {}
    """
    component = "yield plugport.Component('own', 'own_mod:Own')"
    plugin = f"@plugport.hookimpl\ndef plugport_register_servers(): {component}"
    site.add("own", plugin, files={"own_mod.py": server})
    ((status, message, _),) = doctor("own://x")["addresses"]
    assert status == "ok"
    assert "not looked at" in message
