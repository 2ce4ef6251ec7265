from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from fakes import Run, SitePackages

from plugport.plugin import specs as hookspecs

PLUGIN = """
@plugport.hookimpl
def plugport_register_handlers():
    yield plugport.Component("upper", "my_handlers:Upper", "Capitals")
    yield plugport.Component("echo", "my_handlers:Upper", "Not the echo")

@plugport.hookimpl
def plugport_register_servers():
    yield plugport.Component("bell", "my_servers:Bell", "Rings", requires=("no-such-dist>=2",))

@plugport.hookimpl
def plugport_verify_request(): return True

@plugport.hookimpl
def plugport_register_commands():
    import click
    yield click.Command("greet", callback=lambda: click.echo("hello"))
"""
HANDLERS = """
import plugport
class Upper(plugport.BaseRequestHandler):
    "Sends capitals."
"""


@pytest.fixture
def mine(site: SitePackages) -> SitePackages:
    site.add("my-dist", PLUGIN, version="2.0", entry_point="mine", files={"my_handlers.py": HANDLERS})
    return site


def shown(run: Run, *arguments: str) -> list[dict[str, Any]]:
    result = run("show", *arguments, "--json")
    assert (result.returncode, result.stderr) == (0, ""), result
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def error(run: Run, *arguments: str) -> str:
    result = run("show", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("plugport: ").rstrip()


# Plugins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine", "my-dist", "My_Dist", "my-dist:mine"])
@pytest.mark.usefixtures("mine")
def test_a_plugin(run: Run, name: str) -> None:
    (plugin,) = shown(run, name)
    components = plugin.pop("components")
    assert plugin == {
        "kind": "plugin",
        "name": "mine",
        "qualified_name": "my-dist:mine",
        "origin": "third-party",
        "module": "my_dist_plugin",
        "distribution": "my-dist",
        "version": "2.0",
        "status": "active",
        "error": None,
        "hooks": ["register_commands", "register_handlers", "register_servers", "verify_request"],
        "commands": ["greet"],
    }
    assert components == [
        {
            "kind": "server",
            "name": "bell",
            "summary": "Rings",
            "status": "unavailable",
            "reason": "needs no-such-dist>=2: pip install 'no-such-dist>=2'",
        },
        {"kind": "handler", "name": "upper", "summary": "Capitals", "status": "available", "reason": None},
        {
            "kind": "handler",
            "name": "echo",
            "summary": "Not the echo",
            "status": "shadowed",
            "reason": "the name is a built-in's; use my-dist:echo",
        },
    ]


@pytest.mark.usefixtures("mine")
def test_a_plugin_for_people(run: Run) -> None:
    text = run("show", "mine").stdout
    assert text.startswith("kind:            plugin\nname:            mine\n")
    assert "\nmodule:          my_dist_plugin\n" in text
    assert "\ncommands:        greet\n" in text
    assert "shadowed: the name is a built-in's; use my-dist:echo\n" in text
    assert "error:" not in text


def test_a_plugin_that_failed_and_what_is_lost_with_it(run: Run, site: SitePackages) -> None:
    site.add("late", PLUGIN + "    raise OSError('out of order')")
    (plugin,) = shown(run, "late")
    assert (plugin["status"], plugin["hooks"], plugin["commands"]) == ("failed", [], [])
    assert plugin["error"] == "OSError: out of order (late_plugin.py, line 19)"
    assert {(each["name"], each["status"], each["reason"]) for each in plugin["components"]} == {
        (name, "lost", "the plugin failed") for name in ("upper", "echo", "bell")
    }
    text = run("show", "late").stdout
    assert "\nerror:           OSError: out of order" in text
    assert "lost: the plugin failed" in text


@pytest.mark.usefixtures("mine")
def test_a_plugin_that_is_off(run: Run) -> None:
    result = run("--disable-plugin", "mine", "show", "mine", "--json")
    (plugin,) = json.loads(result.stdout)
    assert (plugin["status"], plugin["components"], plugin["hooks"]) == ("disabled", [], [])


def test_all_plugins_of_a_distribution(run: Run, site: SitePackages) -> None:
    site.add("pair", module="pair_a")
    (site.path / "pair-1.0.dist-info" / "entry_points.txt").write_text(
        "[plugport]\na = pair_a\nb = pair_b:it\n"
    )
    site.write("pair_b.py", "class it: pass")
    assert [(each["name"], each["module"]) for each in shown(run, "pair")] == [
        ("a", "pair_a"),
        ("b", "pair_b:it"),
    ]


# Hooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["verify_request", "plugport_verify_request"])
@pytest.mark.usefixtures("mine")
def test_a_hook(run: Run, name: str) -> None:
    documentation = inspect.getdoc(hookspecs.plugport_verify_request)
    assert documentation is not None
    arguments = "server: BaseServer, request: Request, client_address: ClientAddress"
    signature = f"plugport_verify_request({arguments}) -> bool | str | None"
    assert shown(run, name) == [
        {
            "kind": "hook",
            "name": "verify_request",
            "signature": signature,
            "firstresult": False,
            "implementers": ["my-dist:mine"],
            "summary": documentation.partition("\n")[0],
            "documentation": documentation,
        }
    ]
    text = run("show", name).stdout
    assert text.startswith("kind:            hook\nname:            verify_request\n")
    assert f"\nsignature:       {signature}\n" in text
    assert "\nimplementers:    my-dist:mine\n" in text
    assert text.endswith(f"\n\n{documentation}\n")


# Several things of one name -------------------------------------------------------------------


def test_all_that_have_the_name_are_shown_each_with_its_kind(run: Run, site: SitePackages) -> None:
    site.add("other", PLUGIN, entry_point="echo", files={"my_handlers.py": HANDLERS})
    kinds = [(each["kind"], each["qualified_name"]) for each in shown(run, "echo")]
    assert kinds == [("handler", "plugport:echo"), ("handler", "other:echo"), ("plugin", "other:echo")]
    assert run("show", "echo").stdout.count("kind:            ") == 3
    # The qualified name is the plugin's and the component's.
    assert [each["kind"] for each in shown(run, "other:echo")] == ["handler", "plugin"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("handler", ["plugport:echo", "other:echo"]), ("plugin", ["other:echo"])],
)
def test_a_kind_is_chosen(run: Run, site: SitePackages, kind: str, expected: list[str]) -> None:
    site.add("other", PLUGIN, entry_point="echo", files={"my_handlers.py": HANDLERS})
    assert [each["qualified_name"] for each in shown(run, "echo", "--kind", kind)] == expected


def test_a_plugin_and_a_hook_of_one_name(run: Run, site: SitePackages) -> None:
    site.add("other", entry_point="server_bound")
    assert [each["kind"] for each in shown(run, "server_bound")] == ["plugin", "hook"]
    assert [each["kind"] for each in shown(run, "server_bound", "--kind", "hook")] == ["hook"]


@pytest.mark.parametrize("kind", [(), ("--kind", "handler")])
def test_a_module_that_is_called_like_a_kind_is_found_as_ever(
    run: Run, site: SitePackages, kind: tuple[str, ...]
) -> None:
    for name in ("plugin", "hook", "handler"):
        site.write(f"{name}.py", HANDLERS)
        (found,) = shown(run, f"{name}:Upper", *kind)
        assert (found["kind"], found["distribution"]) == ("handler", None)


# Names that nothing has -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["verify_requst"],
            "no component, plugin or hook named 'verify_requst'; did you mean 'verify_request'?",
        ),
        (["plugport_verify_requst"], "did you mean 'verify_request'?"),
        (["my-dsit"], "did you mean 'my-dist'"),
        (["my-dist:mien"], "no component, plugin or hook named 'my-dist:mien'; did you mean 'my-dist:mine'"),
        (["zzzz"], "no component, plugin or hook named 'zzzz' (plugport list [plugins|hooks])"),
        (
            ["mien", "--kind", "plugin"],
            "no plugin named 'mien'; did you mean 'mine'? (plugport list plugins)",
        ),
        (["echo", "--kind", "plugin"], "no plugin named 'echo' (plugport list plugins)"),
        (["server_bond", "--kind", "hook"], "no hook named 'server_bond'; did you mean 'server_bound'"),
        (["mine", "--kind", "hook"], "no hook named 'mine' (plugport list hooks)"),
        (["echo", "--kind", "server"], "no server named 'echo'; there is a handler of that name"),
        (["my_handlers:Upper", "--kind", "server"], "<class 'my_handlers.Upper'> is no server: it does not"),
        (["echo", "--kind", "thing"], "'thing' is not one of"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_an_unknown_name_is_answered_with_the_nearest_of_any_kind(
    run: Run, arguments: list[str], message: str
) -> None:
    assert message in error(run, *arguments)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("word", "expected"),
    [("verify_re", "plain,verify_request"), ("min", "plain,mine"), ("upp", "plain,upper")],
)
def test_completion_knows_all_kinds(run: Run, word: str, expected: str) -> None:
    words = f"plugport show {word}"
    result = run(_PLUGPORT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2")
    assert (result.stdout.strip(), result.stderr) == (expected, "")


@pytest.mark.usefixtures("my_dist")
def test_show(run: Run) -> None:
    (shown,) = json.loads(run("show", "upper", "--json").stdout)
    assert shown["qualified_name"] == "my-dist:upper"
    assert shown["style"] == "blocking"
    assert shown["transports"] == ["stream"]
    assert {"name": "prefix", "type": "str", "default": "", "help": "put before each line"} in shown[
        "options"
    ]
    text = run("show", "upper").stdout
    assert "my-dist" in text
    assert "put before each line" in text


@pytest.mark.usefixtures("my_dist")
def test_show_every_component_of_the_name(run: Run) -> None:
    assert [each["qualified_name"] for each in json.loads(run("show", "echo", "--json").stdout)] == [
        "plugport:echo",
        "my-dist:echo",
    ]
    (shown,) = json.loads(run("show", "my_handlers:Upper", "--json").stdout)
    assert (shown["kind"], shown["distribution"]) == ("handler", None)
    (shown,) = json.loads(run("show", "unix", "--json").stdout)
    assert "socket_mode" in [option["name"] for option in shown["options"]]
