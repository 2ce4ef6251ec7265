from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import Run, SitePackages

from plugport.contracts.findings import Finding
from plugport.plugin.manager import Plugins, load_plugins
from plugport.plugin.registry import Registry
from plugport_tools.doctor.checks import CHECKS, run_checks
from plugport_tools.doctor.deployment import Deployment
from plugport_tools.doctor.installed import plugins

HANDLER = "@plugport.hookimpl\ndef plugport_register_handlers():\n    yield plugport.Component({})\n"
UPPER = "import plugport\nclass Upper(plugport.BaseRequestHandler): pass\n"

#: What a process is told of its privileges must be so for root, too: root gives them up first.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def found(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What ``plugport doctor --json`` has found; its exit status must go with that."""
    assert result.stderr == ""
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    problem = any(each["status"] == "problem" for each in findings)
    assert result.returncode == (1 if problem else 0)
    for each in findings:
        assert each.keys() == {"check", "status", "message", "remedy"}
        assert "\n" not in each["message"]
        assert (each["remedy"] is None) == (each["status"] == "ok")
    return findings


@pytest.fixture
def doctor(run: Run) -> Callable[..., dict[str, list[tuple[str, str, str]]]]:
    """doctor(*arguments) is what each check found: status, message, remedy."""

    def see(*arguments: str, **env: str) -> dict[str, list[tuple[str, str, str]]]:
        by_check: dict[str, list[tuple[str, str, str]]] = {}
        for each in found(run("doctor", *arguments, "--json", **env)):
            told = (each["status"], each["message"], each["remedy"] or "")
            by_check.setdefault(each["check"], []).append(told)
        return by_check

    return see


Doctor = Callable[..., dict[str, list[tuple[str, str, str]]]]


def only(findings: list[tuple[str, str, str]], status: str) -> tuple[str, str]:
    """Message and remedy of the one finding of that status."""
    (one,) = [each[1:] for each in findings if each[0] == status]
    return one  # type: ignore[return-value]


def under(
    site: SitePackages, *prefix: str, arguments: tuple[str, ...] = (), **env: str
) -> list[dict[str, Any]]:
    """What the doctor finds, started by *prefix*."""
    command = [*prefix, sys.executable, "-m", "plugport", "doctor", "--json", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(site.path), **env}
    return found(subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60))


def of(findings: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    return [each for each in findings if each["check"] == check]


# What is well ---------------------------------------------------------------------------------


def test_every_check_says_something(doctor: Doctor) -> None:
    seen = doctor()
    assert list(seen) == [check.__name__ for check in CHECKS]
    for name in ("python", "plugins", "components", "requirements", "poller", "fork", "reuse_port"):
        assert [status for status, _, _ in seen[name]] == ["ok"], name
    ((_, versions, _),) = seen["requirements"]
    for dependency in ("pluggy", "greenlet", "msgspec", "packaging"):
        assert f"{dependency} " in versions


def test_for_people(run: Run, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    result = run("doctor")
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    at = lines.index(
        "problem  plugins: plugin 'broken_plugin' of broken 1.0 failed: "
        "OSError: out of order (broken_plugin.py, line 2)"
    )
    assert lines[at + 1] == (
        "         -> repair or upgrade it, or do without: plugport --disable-plugin broken:broken_plugin"
    )
    assert lines[-1].startswith("1 problem, ")
    well = run("--disable-plugin", "broken:broken_plugin", "doctor")
    assert well.returncode == 0
    assert re.search(r"plugins: \d+ loaded, 1 disabled\n", well.stdout)


def test_the_status_is_explained(run: Run) -> None:
    text = " ".join(run("doctor", "--help").stdout.split())
    assert "The exit status is 0 if there is no problem, 1 if there is one, 2 for bad input." in text
    assert "Warnings are no problems" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["9000"], "'9000' is not a URL"),
        (["tpc://127.0.0.1:0"], "no server named 'tpc'; did you mean 'tcp'?"),
        (["tcp://127.0.0.1:x"], "the port must be a number"),
        (["tcp://127.0.0.1:0", "unix://" + "x" * 200], "the path is longer than the"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_input(run: Run, arguments: list[str], message: str) -> None:
    result = run("doctor", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


# Plugins and components -----------------------------------------------------------------------


def test_names_that_are_taken(doctor: Doctor, site: SitePackages) -> None:
    site.add("shady", HANDLER.format("'echo', 'upper_mod:Upper'"), files={"upper_mod.py": UPPER})
    for name in ("one", "two"):
        site.add(name, HANDLER.format("'same', 'upper_mod:Upper'"))
    seen = doctor()["components"]
    assert [each for each in seen if each[0] != "ok"] == [
        ("warning", "handler 'same' of one: two has one of this name too", "use one:same"),
        ("warning", "handler 'echo' of shady: the name is a built-in's", "use shady:echo"),
        ("warning", "handler 'same' of two: one has one of this name too", "use two:same"),
    ]


def test_components_that_can_not_be_had(doctor: Doctor, site: SitePackages) -> None:
    site.add("lost", HANDLER.format("'lost', 'no_such_module:Upper'"))
    site.add("windy", HANDLER.format("'windy', 'a:b', unavailable='needs a sail'"))
    seen = doctor()["components"]
    message, remedy = only(seen, "problem")
    assert message == "handler 'lost' of lost: handler 'lost': no module named 'no_such_module'"
    assert remedy == "repair or upgrade lost"
    assert only(seen, "warning") == ("handler 'windy' of windy: needs a sail", "use another handler")


def test_without_an_installed_plugport_there_is_nothing_to_serve() -> None:
    (finding,) = plugins(Deployment(Registry(Plugins())))
    assert finding.status == "problem"
    assert "not installed" in finding.message


# Requirements ---------------------------------------------------------------------------------


def test_version_conflicts(doctor: Doctor, site: SitePackages) -> None:
    site.add("ahead", requires=["plugport>=99", "Pluggy<1", 'nothing>1; sys_platform == "nowhere"'])
    seen = doctor()["requirements"]
    assert [each for each in seen if each[0] == "problem"] == [
        (
            "problem",
            f"ahead 1.0 needs plugport>=99, and {version('plugport')} is installed",
            "pip install 'plugport>=99'",
        ),
        (
            "problem",
            f"ahead 1.0 needs Pluggy<1, and {version('pluggy')} is installed",
            "pip install 'Pluggy<1'",
        ),
    ]
    assert not [each for each in seen if each[0] == "ok" and each[1].startswith("ahead")]


def version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def test_requirements_of_requirements_and_of_extras(doctor: Doctor, site: SitePackages) -> None:
    site.add("top", requires=["middle[more]", "content>=1.0a1,!=2"])
    site.add(
        "middle",
        None,
        requires=["absent-1", "absent-2; extra == 'more'", "absent-3; extra == 'other'", "top"],
    )
    site.add("content", None, version="1.0a2")
    seen = doctor()["requirements"]
    assert [message for status, message, _ in seen if status == "problem"] == [
        "middle 1.0 needs absent-1, and it is not installed",
        "middle 1.0 needs absent-2, and it is not installed",
    ]
    assert ("ok", "top 1.0 has middle 1.0, content 1.0a2", "") in seen


def test_a_requirement_that_is_none(doctor: Doctor, site: SitePackages) -> None:
    site.add("odd", requires=["no such thing"])
    site.add("older", None, version="of-yore")
    site.add("newer", requires=["older>=1"])
    problems = [message for status, message, _ in doctor()["requirements"] if status == "problem"]
    assert problems == [
        "newer 1.0 needs older>=1, and of-yore is installed",
        "odd 1.0 needs 'no such thing', which is no requirement",
    ]


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("no-such-dist", "needs no-such-dist, and it is not installed"),
        ("pluggy>=1,<1.1", "needs pluggy<1.1,>=1, and"),
        ("helper[more]", "helper 1.0 needs no-such-dist, and it is not installed"),
    ],
)
def test_components_that_need_more(
    doctor: Doctor, site: SitePackages, requirement: str, message: str
) -> None:
    site.add("helper", None, requires=["no-such-dist; extra == 'more'"])
    site.add(
        "needy",
        HANDLER.format(f"'needy', 'upper_mod:Upper', requires=({requirement!r},)"),
        files={"upper_mod.py": UPPER},
    )
    seen = doctor()
    told, remedy = only(seen["requirements"], "warning")
    assert message in told
    assert remedy.startswith("pip install ")
    assert [status for status, _, _ in seen["components"]] == ["ok"]


# The machine ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "status", "remedy"),
    [
        ("-n 40", "problem", "have the hard limit raised: limits.conf(5), or LimitNOFILE=1024"),
        ("-n 256", "warning", "have the hard limit raised"),
        ("-Sn 40", "problem", "ulimit -n 1024 before the start"),
        ("-Sn 1023", "warning", "ulimit -n 1024 before the start"),
        ("-Sn 1024", "ok", None),
    ],
)
def test_the_limit_of_descriptors(site: SitePackages, limit: str, status: str, remedy: str | None) -> None:
    findings = under(site, "sh", "-c", f'ulimit {limit} && exec "$@"', "sh")
    (finding,) = of(findings, "descriptors")
    assert finding["status"] == status
    assert finding["message"].startswith(f"{limit.split()[1]} descriptors (")
    if remedy is None:
        assert finding["remedy"] is None
    else:
        assert finding["remedy"].startswith(remedy)


def test_threads_that_imports_have_started(doctor: Doctor, site: SitePackages) -> None:
    thread = "threading.Thread(target=threading.Event().wait, daemon=True, name='{}').start()"
    component = HANDLER.format("'busy', 'busy_mod:Busy'")
    busy = UPPER.replace("Upper", "Busy") + "import threading\n" + thread.format("of-the-component")
    site.add(
        "busy",
        "import threading\n" + thread.format("of-the-plugin") + "\n" + component,
        files={"busy_mod.py": busy},
    )
    message, remedy = only(doctor()["fork"], "warning")
    assert "(of-the-plugin, of-the-component)" in message
    assert "--disable-plugin" in remedy


def test_a_temporary_folder_with_a_long_path(doctor: Doctor, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    message, remedy = only(doctor(TMPDIR=str(folder))["temporary_folder"], "warning")
    assert message.startswith(f"{folder} leaves 0 of ")
    assert "shorter" in remedy


def test_a_temporary_folder_that_is_not_there(doctor: Doctor) -> None:
    seen = doctor(TMPDIR="/no/such/folder")["temporary_folder"]
    assert only(seen, "warning")[0].startswith("TMPDIR is /no/such/folder, where no file can be made: ")
    assert [each for each in seen if each[0] == "ok"]


# The network ----------------------------------------------------------------------------------


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
        f"unix://{tmp_path}/regular": ("problem", "a file that is no socket is there"),
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


# Checks of plugins ----------------------------------------------------------------------------


def test_a_plugin_looks_for_what_it_knows(doctor: Doctor, site: SitePackages) -> None:
    site.add(
        "my-dist",
        """
    @plugport.hookimpl
    def plugport_doctor(urls):
        yield plugport.Finding("ok", f"hears of {', '.join(map(str, urls))}")
        yield plugport.Finding("warning", "two\\nlines", "join  them")
    """,
        entry_point="mine",
    )
    site.add("other", "@plugport.hookimpl\ndef plugport_doctor(): return []")
    seen = doctor("tcp://127.0.0.1:0", "udp://127.0.0.1:0")
    assert seen["my-dist:mine"] == [
        ("ok", "hears of tcp://127.0.0.1:0, udp://127.0.0.1:0", ""),
        ("warning", "two lines", "join them"),
    ]
    assert list(seen)[-1] == "my-dist:mine"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise OSError('no')", "OSError: no (bad_plugin.py, line 4)"),
        ("raise SystemExit(3)", "SystemExit: 3 (bad_plugin.py, line 4)"),
        ("return None", "it returned None, which is no iterable of Finding"),
        ("return ['bad']", "'bad' is no Finding with a status of ok, warning or problem"),
        ("return [plugport.Finding('fatal', 'x')]", "no Finding with a status of ok"),
    ],
)
def test_a_check_of_a_plugin_that_fails_is_a_problem_of_its_own(
    doctor: Doctor, site: SitePackages, body: str, reason: str
) -> None:
    site.add("bad", f"@plugport.hookimpl\ndef plugport_doctor():\n    {body}")
    site.add("good", "@plugport.hookimpl\ndef plugport_doctor(): yield plugport.Finding('ok', 'fine')")
    seen = doctor()
    message, remedy = only(seen["bad:bad_plugin"], "problem")
    assert message.startswith("the check failed: ")
    assert reason in message
    assert remedy == "report it as a defect of bad"
    assert seen["good:good_plugin"] == [("ok", "fine", "")]


def test_what_a_check_has_found_before_it_fails_counts() -> None:
    def halting(deployment: Deployment) -> Iterator[Finding]:
        yield Finding("warning", "first", "do")
        raise KeyError("second")

    found = list(run_checks(Deployment(Registry(Plugins())), (halting,)))
    assert [(each.check, each.status) for each in found] == [("halting", "warning"), ("halting", "problem")]
    assert "KeyError: 'second' (test_doctor.py, line" in found[1].message
    assert found[1].remedy == "report it as a defect of plugport"


def test_the_checks_of_plugport_come_through_the_hook(run: Run) -> None:
    (hook,) = json.loads(run("show", "doctor", "--kind", "hook", "--json").stdout)
    assert hook["implementers"][0] == "plugport:tools"


def test_a_finding_may_name_its_check(doctor: Doctor, site: SitePackages) -> None:
    site.add(
        "mine",
        """
    @plugport.hookimpl
    def plugport_doctor(registry):
        yield plugport.Finding("ok", registry.get("server", "tcp").__name__, check="disks")
    """,
    )
    assert doctor()["disks"] == [("ok", "TCPServer", "")]


def test_a_plugin_speaks_for_itself_alone(site: SitePackages) -> None:
    site.add("around", "@plugport.hookimpl(wrapper=True)\ndef plugport_doctor(): return (yield)")
    (record,) = [each for each in load_plugins().records if each.distribution == "around"]
    assert record.status == "failed"
    assert "wrapper" in record.error


def test_a_trace_tells_of_it(run: Run, site: SitePackages) -> None:
    site.add("mine", "@plugport.hookimpl\ndef plugport_doctor(urls): yield plugport.Finding('ok', 'fine')")
    result = run("doctor", PLUGPORT_TRACE="doctor")
    assert "doctor of mine:mine_plugin(urls=()) -> [Finding(status='ok', message='fine'" in result.stderr
