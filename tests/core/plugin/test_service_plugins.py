"""What plugins put into services: made for each, configured by its own options, its hookimpls called."""

from __future__ import annotations

import json
import logging
import sys
from typing import Annotated, Any

import pytest
from fakes import Run, SitePackages

import plugport
from plugport import Help
from plugport.combination.plugin_options import assign_plugin_options, parse_plugin_options
from plugport.errors import ListenError, OptionError, PluginError
from plugport.plugin.manager import load_plugins
from plugport_testing.plugin import Serve

#: The plugin of a door that lets in whom it knows; its class is in a module of its own.
PLUGIN = """
@plugport.hookimpl
def plugport_service_plugin():
    from {module}.doorman import Doorman
    return Doorman
"""
DOORMAN = """
from typing import Annotated
import plugport
from plugport import Help
from plugport.errors import OptionError

class Doorman:
    banned: Annotated[list[str], Help("addresses that are turned away")] = []
    limit: Annotated[int, Help("of something", ge=0)] = 3
    made = []

    @classmethod
    def check_options(cls):
        if cls.limit == 13:
            raise OptionError("door.limit: 13 brings bad luck")

    def __init__(self):
        self.made.append(self)
        if self.limit == 99:
            raise OptionError("door.limit: there are no 99 doors")
        if self.limit == 98:
            raise LookupError("no doors at all")
        if not self.banned:
            self.plugport_verify_request = None

    @plugport.hookimpl
    def plugport_verify_request(self, client_address):
        return "banned" if client_address in self.banned else None
"""


@pytest.fixture
def door(site: SitePackages) -> SitePackages:
    """A distribution my-door with the plugin door."""
    files = {"my_door/__init__.py": "", "my_door/doorman.py": DOORMAN}
    site.add("my-door", PLUGIN.format(module="my_door"), entry_point="door", files=files)
    return site


def parse(*texts: str) -> tuple[list[str], dict[str, dict[str, Any]]]:
    return parse_plugin_options(load_plugins(), texts)


@pytest.mark.usefixtures("door")
def test_the_options_of_plugins_are_taken_out_and_converted() -> None:
    left, members = parse("timeout=5", "door.banned=a b", "server.timeout=3", "my-door:door.limit=7", "x=a.b")
    assert left == ["timeout=5", "server.timeout=3", "x=a.b"]
    assert members == {"my-door:door": {"banned": ["a", "b"], "limit": 7}}
    assert parse("limit=3") == (["limit=3"], {}), "without the prefix it is never a plugin's"


@pytest.mark.usefixtures("door")
def test_values_that_are_objects_are_checked_and_taken_as_they_are() -> None:
    plugins = load_plugins()
    assert assign_plugin_options(plugins, {"door.banned": ["a"]}) == {"my-door:door": {"banned": ["a"]}}
    with pytest.raises(OptionError, match=r"option door.limit: expected int >= 0, got '7'"):
        assign_plugin_options(plugins, {"door.limit": "7"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("door.banedd=a", "no option 'door.banedd'; did you mean 'door.banned'? (plugport show door)"),
        ("door.limit=-1", "option door.limit: expected int >= 0, got '-1'"),
        ("door.limit", "option 'door.limit' is not KEY=VALUE"),
        (
            "dor.limit=1",
            "option 'dor.limit': no plugin 'dor' has options; did you mean 'door'?; "
            "the prefix must be server., concurrency., handler.",
        ),
        ("sever.timeout=1", "did you mean 'server'?"),
        ("builtins.x=1", "no plugin 'builtins' has options"),
        ("door.limit=13", "door.limit: 13 brings bad luck"),
        ("door.limit=99", "door.limit: there are no 99 doors"),
        ("door.limit=98", "plugin 'door' of my-door failed: LookupError: no doors at all"),
    ],
)
@pytest.mark.usefixtures("door")
def test_a_wrong_option_is_one_line_and_exit_2(run: Run, text: str, message: str) -> None:
    result = run("serve", "echo", "tcp://127.0.0.1:0", "-o", text)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.startswith("plugport: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("door")
def test_an_option_of_a_disabled_plugin_says_so(run: Run) -> None:
    result = run("--disable-plugin", "door", "serve", "echo", "-o", "door.limit=1")
    assert (result.returncode, result.stderr) == (
        2,
        "plugport: option 'door.limit': plugin 'door' of my-door is disabled\n",
    )


def test_two_plugins_of_one_name_take_the_distributions(door: SitePackages) -> None:
    door.add(
        "your-door",
        PLUGIN.format(module="your_door"),
        entry_point="door",
        files={"your_door/__init__.py": "", "your_door/doorman.py": DOORMAN},
    )
    with pytest.raises(OptionError, match=r"ambiguous; the prefix must be my-door:door. or your-door:door."):
        parse("door.limit=1")
    assert parse("your-door:door.limit=1")[1] == {"your-door:door": {"limit": 1}}


@pytest.mark.parametrize("name", ["server", "concurrency", "handler"])
def test_a_name_that_is_a_part_of_combinations_is_quarantined(site: SitePackages, name: str) -> None:
    site.add("mine", PLUGIN.format(module="nowhere"), entry_point=name)
    site.add("plain", "@plugport.hookimpl\ndef plugport_server_bound(): pass", entry_point=name)
    records = {record.distribution: record for record in load_plugins().records}
    mine, plain = records["mine"], records["plain"]
    assert (mine.status, plain.status) == ("failed", "active")
    assert mine.error.startswith(f"its options would begin with '{name}.'")


# How it is made ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("door")
def test_it_is_imported_for_a_service_and_made_for_each() -> None:
    plugins = load_plugins()
    assert "my_door.doorman" not in sys.modules
    strict = plugins.server_hooks(parse_plugin_options(plugins, ["door.banned=a"])[1])
    loose = plugins.server_hooks(parse_plugin_options(plugins, ["door.banned=b"])[1])
    open_to_all = plugins.server_hooks()
    made = sys.modules["my_door.doorman"].Doorman.made
    assert [each.banned for each in made] == [["a"], ["b"], []]
    assert strict.verify_request is not None
    assert loose.verify_request is not None
    ask = {"server": 1, "request": 2}
    assert [strict.verify_request(client_address=who, **ask) for who in "ab"] == ["banned", True]
    assert [loose.verify_request(client_address=who, **ask) for who in "ab"] == [True, "banned"]
    assert open_to_all.verify_request is None, "what it has set to None costs nothing"


def test_two_plugins_without_hookimpls_in_one_service(door: SitePackages) -> None:
    files = {"your_door/__init__.py": "", "your_door/doorman.py": DOORMAN}
    door.add("your-door", PLUGIN.format(module="your_door"), entry_point="gate", files=files)
    assert load_plugins().server_hooks().verify_request is None


def test_its_hookimpls_are_called_with_those_of_modules(door: SitePackages) -> None:
    door.add("watch", "seen = []\n@plugport.hookimpl\ndef plugport_verify_request(): seen.append(1)")
    plugins = load_plugins()
    hooks = plugins.server_hooks({"my-door:door": {"banned": ["a"]}})
    assert hooks.verify_request is not None
    assert hooks.verify_request(server=1, request=2, client_address="a") == "banned"
    assert sys.modules["watch_plugin"].seen == [1]


@pytest.mark.usefixtures("door")
def test_its_calls_are_traced(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PLUGPORT_TRACE", "verify_request")
    hooks = load_plugins().server_hooks({"my-door:door": {"banned": ["a"]}})
    assert hooks.verify_request is not None
    assert hooks.verify_request(server=1, request=2, client_address="a") == "banned"
    told = capfd.readouterr().err
    assert "verify_request of my-door:door.Doorman -> 'banned' in " in told
    assert "verify_request -> ['banned'] in " in told


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 3", "plugport_service_plugin returned 3, which is no class"),
        ("import no_such_module_at_all", "no_such_module_at_all"),
        (
            "return type('P', (), {'plugport_of_no_kind': plugport.hookimpl(lambda self: 1)})",
            "which is no hook",
        ),
        (
            "return type('P', (), {'plugport_register_servers': plugport.hookimpl(lambda self: [])})",
            "implements plugport_register_servers in the class of its service plugin",
        ),
        (
            "return type('P', (), {'plugport_server_bound': plugport.hookimpl(lambda self, sever: [])})",
            "sever",
        ),
    ],
)
def test_no_service_runs_without_what_was_to_be_in_it(site: SitePackages, body: str, reason: str) -> None:
    site.add("mine", f"@plugport.hookimpl\ndef plugport_service_plugin():\n    {body}", entry_point="door")
    plugins = load_plugins()
    assert plugins.failed() == []
    with pytest.raises(PluginError, match="plugin 'door' of mine failed: ") as caught:
        plugins.server_hooks()
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; --disable-plugin door does without it")


# How it is listed and shown ---------------------------------------------------------------------


@pytest.mark.usefixtures("door")
def test_show_has_its_options_and_hooks(run: Run) -> None:
    (shown,) = json.loads(run("show", "door", "--json").stdout)
    assert shown["service_plugin"] == "my_door.doorman:Doorman"
    assert shown["service_hooks"] == ["verify_request"]
    assert shown["options"] == [
        {"name": "door.banned", "type": "list[str]", "default": [], "help": "addresses that are turned away"},
        {"name": "door.limit", "type": "int >= 0", "default": 3, "help": "of something"},
    ]
    text = run("show", "door").stdout
    assert "\noptions\n  name         type       default  help\n" in text
    assert "\n  door.limit   int >= 0   3        of something\n" in text


def test_show_tells_what_keeps_it_from_being_made(site: SitePackages, run: Run) -> None:
    site.add("mine", PLUGIN.format(module="nowhere_at_all"), entry_point="door")
    (shown,) = json.loads(run("show", "door", "--json").stdout)
    assert shown["options"] is None
    assert "No module named 'nowhere_at_all'" in shown["error"]


@pytest.mark.usefixtures("door")
def test_listing_imports_none_of_it() -> None:
    from plugport.cli import main

    for what in ([], ["plugins"], ["hooks"]):
        assert main(["list", *what]) == 0
    assert "my_door.doorman" not in sys.modules


@pytest.mark.usefixtures("door")
def test_bench_hands_its_options_on() -> None:
    from plugport.plugin.registry import Registry
    from plugport_tools.bench.plan import make_plan

    texts = ["door.limit=4", "max_workers=2"]
    plan = make_plan(Registry(load_plugins()), "echo", "tcp://127.0.0.1:0", ["asyncio", "sync"], texts)
    assert [candidate.options for candidate in plan.candidates] == [tuple(texts), ("door.limit=4",)]
    with pytest.raises(OptionError, match=r"no option 'door\.lmit'"):
        make_plan(Registry(load_plugins()), "echo", "tcp://127.0.0.1:0", ["sync"], ["door.lmit=4"])


# In a service -----------------------------------------------------------------------------------


class Greeter:
    """Puts a class into services, as a module would."""

    class Service:
        refuses: Annotated[bool, Help("wants no service")] = False

        @plugport.hookimpl
        def plugport_server_bound(self, server: Any) -> None:
            if self.refuses:
                raise ListenError("no place for a second socket")

        @plugport.hookimpl
        def plugport_server_stopped(self, server: Any) -> None:
            logging.getLogger("greeter").warning("stopped %d", server.fileno())

    @plugport.hookimpl
    def plugport_service_plugin(self) -> type:
        return self.Service


def test_who_is_told_of_the_binding_may_refuse(
    plugport_serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert plugport_serve("echo", plugins=[Greeter()]).exchange(b"hello") == b"hello"
    caplog.clear()
    with pytest.raises(ListenError, match="no place for a second socket"):
        plugport_serve("echo", plugins=[Greeter()], **{"Greeter.refuses": True})
    assert [record.getMessage() for record in caplog.records if record.name == "greeter"] == ["stopped -1"]


def test_the_strategy_of_a_server_has_its_name(plugport_serve: Serve) -> None:
    assert plugport_serve("echo", "tcp", "thread-pool").server.concurrency_name == "thread-pool"
    assert plugport.compose("tcp", "select").concurrency_name == "select"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("door")
def test_an_installed_plugin_is_served_with_by_its_name(plugport_serve: Serve) -> None:
    served = plugport_serve("echo", plugins=["door"], **{"door.limit": 5})
    assert served.exchange(b"hello") == b"hello"
    assert sys.modules["my_door.doorman"].Doorman.made[-1].limit == 5
