from __future__ import annotations

import inspect
import json
import sys

import pytest
from fakes import Run, SitePackages

from plugport.contracts.hooks import SERVER_HOOKS
from plugport.plugin import specs as hookspecs
from plugport.plugin.manager import load_plugins
from plugport.plugin.records import HookRecord, hook_records

LISTENER = """
@plugport.hookimpl{options}
def plugport_request_started(context):
    {body}
"""


def record_of(name: str) -> HookRecord:
    (record,) = [record for record in hook_records(load_plugins()) if record.answers_to(name)]
    return record


def test_every_hook_has_a_record() -> None:
    names = [record.name for record in hook_records(load_plugins())]
    assert names == list(hookspecs.HOOKS)
    assert len(set(names)) == len(names)
    assert {f"plugport_{name}" for name in names} == {
        name for name in vars(hookspecs) if name.startswith("plugport_")
    }
    assert set(SERVER_HOOKS) < set(names)


@pytest.mark.parametrize("name", ["child_exited", "plugport_child_exited"])
def test_what_a_record_tells_is_the_specification(name: str) -> None:
    record = record_of(name)
    assert record.name == "child_exited"
    assert record.signature == (
        "plugport_child_exited(server: BaseServer, pid: int, status: int | None) -> None"
    )
    assert record.documentation == inspect.getdoc(hookspecs.plugport_child_exited)
    assert record.summary == "Called in the parent when the child *pid* was reaped."
    assert record.firstresult is False


@pytest.mark.parametrize("name", hookspecs.HOOKS)
def test_the_first_line_of_its_documentation_says_when_it_is_called(name: str) -> None:
    record = record_of(name)
    assert record.summary.startswith("Called ")
    assert f"def plugport_{name}(" in record.documentation, "there is no example"


def test_the_implementers_stand_in_the_order_in_which_they_are_called(site: SitePackages) -> None:
    for name, options, body in (
        ("a-plain", "", "order.append('a-plain')"),
        ("b-first", "(tryfirst=True)", "order.append('b-first')"),
        ("c-plain", "", "order.append('c-plain')"),
        ("d-wrapper", "(wrapper=True)", "order.append('d-wrapper'); return (yield)"),
    ):
        site.add(name, "from order import order\n" + LISTENER.format(options=options, body=body))
    site.write("order.py", "order = []")
    plugins = load_plugins()
    started = plugins.server_hooks().request_started
    assert started is not None
    started(context=None)
    order = sys.modules["order"].order
    (record,) = [each for each in hook_records(plugins) if each.name == "request_started"]
    assert [each.partition(":")[0] for each in record.implementers] == order
    assert order[0] == "d-wrapper"


def test_plugins_register_in_the_order_of_their_listing(site: SitePackages) -> None:
    for name in ("b-dist", "a-dist"):
        site.add(name, "@plugport.hookimpl(tryfirst=True)\ndef plugport_register_handlers(): return []")
    ours = [each.partition(":")[0] for each in record_of("register_handlers").implementers]
    assert ours[0] == "plugport"
    assert [each for each in ours if each.endswith("-dist")] == ["a-dist", "b-dist"]


def test_a_plugin_that_is_off_or_has_failed_implements_nothing(site: SitePackages) -> None:
    listener = LISTENER.format(options="", body="pass")
    site.add("off", listener)
    site.add("broken", listener + "raise OSError")
    plugins = load_plugins(["off"])
    assert not [
        each
        for each in hook_records(plugins)
        if {"off:off_plugin", "broken:broken_plugin"} & {*each.implementers}
    ]


def test_list_hooks(run: Run, site: SitePackages) -> None:
    site.add("my-dist", LISTENER.format(options="", body="pass"), entry_point="mine")
    result = run("list", "hooks", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    listed = json.loads(result.stdout)
    assert [each["name"] for each in listed] == list(hookspecs.HOOKS)
    found = {each["name"]: each for each in listed}
    assert found["request_started"] == {
        "name": "request_started",
        "summary": "Called when a request begins.",
        "firstresult": False,
        "implementers": ["my-dist:mine"],
    }
    assert found["server_bound"]["implementers"] == []
    lines = run("list", "hooks").stdout.splitlines()
    assert lines[0].split() == ["name", "when", "implemented", "by"]
    (line,) = [line for line in lines if line.startswith("request_started ")]
    assert line.endswith(" my-dist:mine")


def test_components_are_listed_without_hooks_and_plugins(run: Run) -> None:
    result = run("list")
    assert "request_started" not in result.stdout
    assert "register_handlers" not in result.stdout
    help_text = " ".join(run("list", "--help").stdout.split())
    assert (
        "servers, concurrency strategies, handlers and framings, but neither plugins nor hooks" in help_text
    )
