"""Checks that plugins add."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from diagnosed import Doctor, only
from fakes import Run, SitePackages

from plugport.contracts.findings import Finding
from plugport.plugin.manager import Plugins, load_plugins
from plugport.plugin.registry import Registry
from plugport_tools.doctor.checks import run_checks
from plugport_tools.doctor.deployment import Deployment


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
    assert "KeyError: 'second' (test_diagnosis.py, line" in found[1].message
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
