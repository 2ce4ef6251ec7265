from __future__ import annotations

import logging
import sys

import pytest
from fakes import SitePackages

from plugport.errors import PluginError, UnknownNameError
from plugport.plugin.manager import PluginRecord, Plugins, load_plugins

HANDLER = """
@plugport.hookimpl
def plugport_register_handlers():
    yield plugport.Component({name!r}, "nowhere:Nothing", "a handler")
"""

BROKEN = {
    "import-error": ("import no_such_module_at_all", "no_such_module_at_all"),
    "syntax-error": ("def", "SyntaxError"),
    "raises": ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "unknown-hook": (
        "@plugport.hookimpl\ndef plugport_register_handler():\n    return []",
        "did you mean 'plugport_register_handlers'",
    ),
    "unknown-argument": ("@plugport.hookimpl\ndef plugport_server_bound(sever): pass", "sever"),
    "register-raises": (
        "@plugport.hookimpl\ndef plugport_register_servers():\n    raise KeyError('x')",
        "KeyError",
    ),
    "register-raises-late": (HANDLER.format(name="early") + "    raise OSError('late')", "OSError: late"),
    "no-component": ("@plugport.hookimpl\ndef plugport_register_servers():\n    return ['tcp']", "'tcp'"),
    "no-iterable": ("@plugport.hookimpl\ndef plugport_register_servers(): pass", "None"),
    "bad-name": (HANDLER.format(name="Upper Case"), "Upper Case"),
    "twice": (HANDLER.format(name="same") * 1 + "    yield plugport.Component('same', 'a:b')", "'same'"),
    "async-hook": ("@plugport.hookimpl\nasync def plugport_verify_request(): pass", "coroutine"),
    "register-wrapper": (
        "@plugport.hookimpl(wrapper=True)\ndef plugport_register_handlers():\n    return (yield)",
        "wrapper",
    ),
}


def record_of(plugins: Plugins, distribution: str) -> PluginRecord:
    return next(record for record in plugins.records if record.distribution == distribution)


def handlers_of(plugins: Plugins, distribution: str) -> list[str]:
    return [one.component.name for one in plugins.registrations if one.plugin.distribution == distribution]


def test_builtins_come_first_then_the_normalised_names_in_order(site: SitePackages) -> None:
    for name in ("zeta", "B_second", "a-first", "c.third"):
        site.add(name)
    plugins = load_plugins()
    ours = [
        r.distribution
        for r in plugins.records
        if r.distribution in ("zeta", "B_second", "a-first", "c.third")
    ]
    assert plugins.records[0].distribution == "plugport"
    assert ours == ["a-first", "B_second", "c.third", "zeta"]


def test_entry_points_of_a_distribution_come_by_name(site: SitePackages) -> None:
    site.add("two", None)
    (site.path / "two-1.0.dist-info" / "entry_points.txt").write_text("[plugport]\nb = mod_b\na = mod_a\n")
    site.write("mod_a.py", "")
    site.write("mod_b.py", "")
    assert [r.name for r in load_plugins().records if r.distribution == "two"] == ["a", "b"]


def test_a_record_tells_what_the_plugin_is(site: SitePackages) -> None:
    site.add("good", HANDLER.format(name="good"), version="2.5", entry_point="nice")
    record = record_of(load_plugins(), "good")
    hooks = ("register_handlers",)
    assert record == PluginRecord("nice", "good", "2.5", "active", "", hooks, module="good_plugin")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_quarantined_and_the_rest_works(site: SitePackages, kind: str) -> None:
    source, expected = BROKEN[kind]
    site.add("broken", source)
    site.add("whole", HANDLER.format(name="whole"))
    plugins = load_plugins()
    record = record_of(plugins, "broken")
    assert record.status == "failed"
    assert expected in record.error
    assert "\n" not in record.error
    assert record.hooks == ()
    assert handlers_of(plugins, "broken") == []
    assert not plugins.manager.has_plugin(record.qualified_name)
    assert handlers_of(plugins, "whole") == ["whole"]


@pytest.mark.parametrize("kind", BROKEN)
def test_strict_makes_it_an_error(site: SitePackages, kind: str) -> None:
    site.add("broken", BROKEN[kind][0])
    with pytest.raises(PluginError, match="plugin 'broken_plugin' of broken failed: "):
        load_plugins(strict=True)


def test_the_hooks_of_a_failed_plugin_are_not_called(site: SitePackages) -> None:
    hook = "@plugport.hookimpl\ndef plugport_verify_request(): return False\n"
    site.add("broken", hook + BROKEN["no-component"][0])
    assert load_plugins().server_hooks().verify_request is None


def test_an_optional_hook_that_nobody_specifies_is_no_failure(site: SitePackages) -> None:
    site.add("ahead", "@plugport.hookimpl(optionalhook=True)\ndef plugport_of_the_future(): pass")
    assert record_of(load_plugins(), "ahead").status == "active"


def test_the_first_on_the_path_counts_of_two_of_one_name(site: SitePackages, tmp_path, monkeypatch) -> None:
    site.add("twofold", HANDLER.format(name="behind"))
    front = tmp_path / "front"
    front.mkdir()
    monkeypatch.syspath_prepend(front)
    SitePackages(front).add("Twofold", None, version="3.0")
    assert "twofold" not in [record.distribution.lower() for record in load_plugins().records]


def test_two_plugins_of_a_distribution_may_not_register_the_same(site: SitePackages) -> None:
    site.add("pair", HANDLER.format(name="same"), module="pair_a")
    (site.path / "pair-1.0.dist-info" / "entry_points.txt").write_text("[plugport]\na = pair_a\nb = pair_b\n")
    site.write("pair_b.py", "import plugport\n" + HANDLER.format(name="same"))
    plugins = load_plugins()
    assert [(r.name, r.status) for r in plugins.records if r.distribution == "pair"] == [
        ("a", "active"),
        ("b", "failed"),
    ]
    assert handlers_of(plugins, "pair") == ["same"]


@pytest.mark.parametrize("name", ["nice", "My-Dist", "my.dist", "my-dist:nice"])
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_disabled_plugin_is_listed_but_not_imported(
    site: SitePackages, monkeypatch: pytest.MonkeyPatch, name: str, by_environment: bool
) -> None:
    module = site.add("my-dist", HANDLER.format(name="off"), entry_point="nice")
    if by_environment:
        monkeypatch.setenv("PLUGPORT_DISABLE", f" {name} ,")
    plugins = load_plugins(() if by_environment else (name,))
    assert record_of(plugins, "my-dist").status == "disabled"
    assert handlers_of(plugins, "my-dist") == []
    assert module not in sys.modules


def test_disabling_the_unknown_is_an_error(site: SitePackages) -> None:
    site.add("my-dist", entry_point="nice")
    with pytest.raises(UnknownNameError, match="no plugin named 'nicer' to disable; did you mean 'nice'"):
        load_plugins(["nicer"])


# Run-time hooks -------------------------------------------------------------------------------


def test_a_hook_that_nobody_implements_is_none() -> None:
    hooks = Plugins().server_hooks()
    assert hooks.request_started is None
    assert hooks.verify_request is None


def test_a_hookimpl_that_raises_is_logged_and_harms_nobody(
    site: SitePackages, caplog: pytest.LogCaptureFixture
) -> None:
    calls = """
    seen = []
    @plugport.hookimpl
    def plugport_request_started(context):
        seen.append(context)
    """
    site.add("a-good", calls)
    site.add("b-bad", "@plugport.hookimpl\ndef plugport_request_started(): raise SystemExit(4)")
    site.add("c-good", calls)
    started = load_plugins().server_hooks().request_started
    assert started is not None
    with caplog.at_level(logging.ERROR, "plugport.hooks"):
        started(context="the context")
    assert sys.modules["a_good_plugin"].seen == sys.modules["c_good_plugin"].seen == ["the context"]
    (logged,) = caplog.records
    assert logged.name == "plugport.hooks"
    assert "plugport_request_started" in logged.getMessage()
    assert "b-bad:b_bad_plugin" in logged.getMessage()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["None"], True),
        (["True"], True),
        (["True", "None"], True),
        (["True", "False"], False),
        (["False", "True"], False),
        (["1 / 0", "True"], False),
        (["True", "1 / 0"], False),
        (["'banned'"], "banned"),
        (["True", "'banned'", "None"], "banned"),
        (["'the one that is asked later'", "'busy'"], "busy"),
        (["''"], False),
        (["0"], False),
        (["1"], True),
    ],
)
@pytest.mark.usefixtures("caplog")
def test_any_no_turns_a_request_away(site: SitePackages, answers: list[str], expected: object) -> None:
    for number, answer in enumerate(answers):
        site.add(f"verify-{number}", f"@plugport.hookimpl\ndef plugport_verify_request(): return {answer}")
    verify = load_plugins().server_hooks().verify_request
    assert verify is not None
    assert (verdict := verify(server=1, request=2, client_address=3)) == expected
    assert type(verdict) is type(expected)


@pytest.mark.parametrize("marker", ["wrapper=True", "hookwrapper=True"])
@pytest.mark.parametrize(
    "body", ["raise OSError", "return; yield", "yield; raise OSError", "yield; yield", "return (yield)"]
)
def test_wrappers_are_guarded_too(
    site: SitePackages, caplog: pytest.LogCaptureFixture, marker: str, body: str
) -> None:
    site.add(
        "inner",
        "seen = []\n@plugport.hookimpl\ndef plugport_request_started(context): seen.append(context)\n"
        "@plugport.hookimpl\ndef plugport_verify_request(): return True",
    )
    outer = "".join(
        f"@plugport.hookimpl({marker})\ndef {hook}():\n    if 0: yield\n    {body}\n"
        for hook in ("plugport_request_started", "plugport_verify_request")
    )
    site.add("outer", outer)
    hooks = load_plugins().server_hooks()
    assert hooks.request_started is not None
    assert hooks.verify_request is not None
    hooks.request_started(context=7)
    assert sys.modules["inner_plugin"].seen == [7]
    works = body == "return (yield)"
    assert hooks.verify_request(server=1, request=2, client_address=3) is works
    assert len(caplog.records) == (0 if works else 2)


def test_a_hookimpl_with_defaults_is_called_as_pluggy_does(site: SitePackages) -> None:
    site.add(
        "defaults",
        """
    seen = []
    @plugport.hookimpl
    def plugport_request_finished(context=None):
        seen.append(context)
    """,
    )
    finished = load_plugins().server_hooks().request_finished
    assert finished is not None
    finished(context=1)
    assert len(sys.modules["defaults_plugin"].seen) == 1


# Commands -------------------------------------------------------------------------------------


COMMANDS = """
@plugport.hookimpl
def plugport_register_commands():
    import click
    for name in {names!r}:
        yield click.Command(name)
"""


def test_a_plugin_that_wants_a_command_that_is_taken_is_quarantined(site: SitePackages) -> None:
    site.add("one", COMMANDS.format(names=["hello"]))
    site.add("two", COMMANDS.format(names=["early", "list"]))
    site.add("three", COMMANDS.format(names=["other", "hello"]))
    plugins = load_plugins()
    assert [name for name in plugins.commands({"list"}) if name in ("hello", "early", "list", "other")] == [
        "hello"
    ]
    assert record_of(plugins, "one").status == "active"
    assert record_of(plugins, "one").commands == ("hello",)
    assert record_of(plugins, "two").error == (
        "adds the command 'list', a name that is taken: it is plugport's own"
    )
    assert record_of(plugins, "three").error == (
        "adds the command 'hello', a name that is taken: it is of plugin one:one_plugin"
    )
    assert record_of(plugins, "three").commands == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("pass", "plugport_register_commands returned None, which is no iterable of click.Command"),
        ("return ['hello']", "plugport_register_commands returned 'hello', which is no click.Command"),
        ("import click; return [click.Command(None)]", "returned a command of the name None"),
        ("import click; return [click.Command('--x')]", "returned a command of the name '--x'"),
        ("import click; return 2 * [click.Command('x')]", "adds the command 'x' twice"),
        ("raise OSError('no')", "OSError: no"),
    ],
)
def test_a_plugin_whose_commands_are_none_is_quarantined(site: SitePackages, body: str, reason: str) -> None:
    site.add("broken", f"@plugport.hookimpl\ndef plugport_register_commands(): {body}")
    site.add("sound", COMMANDS.format(names=["hello"]))
    plugins = load_plugins()
    assert "hello" in plugins.commands()
    assert record_of(plugins, "broken").status == "failed"
    assert reason in record_of(plugins, "broken").error
