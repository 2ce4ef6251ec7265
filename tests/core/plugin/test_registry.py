from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fakes import SitePackages

from plugport.contracts.component import Kind
from plugport.errors import (
    AmbiguousNameError,
    PluginError,
    PlugportError,
    TargetError,
    UnavailableError,
    UnknownNameError,
)
from plugport.plugin.manager import load_plugins
from plugport.plugin.registry import Entry, Registry

UPPER = """
import plugport
class Upper(plugport.BaseRequestHandler):
    "Sends capitals."
"""


def handlers(*components: str) -> str:
    lines = "".join(f"    yield plugport.Component({component})\n" for component in components)
    return f"@plugport.hookimpl\ndef plugport_register_handlers():\n{lines}"


def load(**kwargs: object) -> Registry:
    return Registry(load_plugins(**kwargs))  # type: ignore[arg-type]


def entry_of(registry: Registry, qualified_name: str) -> Entry:
    return next(entry for entry in registry.entries() if entry.qualified_name == qualified_name)


def test_the_built_ins_are_there() -> None:
    registry = load()
    tcp = registry.find("server", "tcp")
    assert (tcp.origin, tcp.status, tcp.qualified_name) == ("built-in", "available", "plugport:tcp")
    assert registry.get("server", "tcp").__name__ == "TCPServer"


def test_a_third_party_is_found_by_its_bare_and_its_qualified_name(site: SitePackages) -> None:
    site.add("my-dist", handlers("'upper', 'upper_mod:Upper', 'Capitals'"), files={"upper_mod.py": UPPER})
    registry = load()
    entry = registry.find("handler", "upper")
    assert entry == Entry("handler", "upper", "upper_mod:Upper", "Capitals", "my-dist", "1.0")
    assert registry.find("handler", "my-dist:upper") == registry.find("handler", "My_Dist:upper") == entry
    assert registry.load(entry) is sys.modules["upper_mod"].Upper


def test_listing_imports_no_target(site: SitePackages) -> None:
    site.add("lazy", handlers("'upper', 'upper_mod:Upper'"), files={"upper_mod.py": UPPER})
    registry = load()
    assert [entry.name for entry in registry.entries("handler") if entry.distribution == "lazy"] == ["upper"]
    registry.find("handler", "upper")
    assert "upper_mod" not in sys.modules


def test_a_built_in_name_is_reserved(site: SitePackages) -> None:
    site.add("aaa", handlers("'echo', 'upper_mod:Upper'"), files={"upper_mod.py": UPPER})
    registry = load()
    entry = entry_of(registry, "aaa:echo")
    assert entry.status == "shadowed"
    assert "aaa:echo" in entry.reason
    assert entry.selector == "aaa:echo"
    assert registry.find("handler", "echo").origin == "built-in"
    assert registry.get("handler", "aaa:echo").__name__ == "Upper"


def test_two_third_parties_with_one_name_are_in_conflict(site: SitePackages) -> None:
    for name in ("one", "two"):
        site.add(name, handlers("'same', 'upper_mod:Upper'"))
    site.write("upper_mod.py", UPPER)
    registry = load()
    assert {entry_of(registry, f"{name}:same").status for name in ("one", "two")} == {"conflict"}
    with pytest.raises(AmbiguousNameError, match="'one:same' or 'two:same'"):
        registry.find("handler", "same")
    assert registry.get("handler", "two:same").__name__ == "Upper"


def test_one_name_in_several_kinds_is_no_conflict(site: SitePackages) -> None:
    site.add("one", handlers("'tcp', 'a:b'"))
    assert entry_of(load(), "one:tcp").status == "available"


@pytest.mark.parametrize(
    "requirement", ["no-such-dist", "no-such-dist>=2", "pluggy>=999", "pluggy[extra]>=999.1"]
)
def test_a_missing_requirement_makes_it_unavailable(site: SitePackages, requirement: str) -> None:
    site.add("needy", handlers(f"'needy', 'upper_mod:Upper', requires=({requirement!r},)"))
    registry = load()
    entry = registry.find("handler", "needy")
    assert entry.status == "unavailable"
    with pytest.raises(UnavailableError, match=r"pip install .*" + requirement.partition("[")[0]):
        registry.load(entry)


@pytest.mark.parametrize(
    "requirement", ["pluggy", "Pluggy >= 1.0", "pluggy>=1", "pluggy!=9", "pluggy[x]", "pluggy>=1,<99"]
)
def test_a_requirement_that_is_there_is_no_obstacle(site: SitePackages, requirement: str) -> None:
    site.add("content", handlers(f"'content', 'a:b', requires=({requirement!r},)"))
    assert load().find("handler", "content").status == "available"


def test_what_the_platform_lacks_is_unavailable(site: SitePackages) -> None:
    site.add("windy", handlers("'windy', 'a:b', unavailable='needs a sail'"))
    registry = load()
    entry = registry.find("handler", "windy")
    assert (entry.status, entry.reason) == ("unavailable", "needs a sail")
    with pytest.raises(UnavailableError, match="needs a sail"):
        registry.load(entry)


def test_import_strings_and_files(
    site: SitePackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("upper_mod.py", UPPER)
    site.write("sub/upper_file.py", UPPER)
    registry = load()
    entry = registry.find("handler", "upper_mod:Upper")
    assert (entry.name, entry.distribution, entry.summary) == ("upper_mod:Upper", "", "Sends capitals.")
    assert registry.load(entry) is sys.modules["upper_mod"].Upper
    monkeypatch.chdir(site.path)
    assert registry.get("handler", "sub/upper_file.py:Upper").__name__ == "Upper"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("handler", "ehco", "no handler named 'ehco'; did you mean 'echo'? (plugport list handlers)"),
        ("server", "tpc", "no server named 'tpc'; did you mean 'tcp'? (plugport list servers)"),
        ("concurrency", "zzz", "no concurrency strategy named 'zzz' (plugport list concurrency)"),
        ("server", "echo", "no server named 'echo'; there is a handler of that name (plugport list servers)"),
        (
            "server",
            "https",
            "no server named 'https'; it is handlers that speak https, on tls:// (plugport list servers)",
        ),
        ("handler", "plugport:ehco", "no handler named 'plugport:ehco'; did you mean 'plugport:echo'"),
        ("handler", "plugport:ehco", "as an import string: module 'plugport' has no attribute 'ehco'"),
        ("handler", "up.py", "up.py:NAME"),
    ],
)
def test_an_unknown_name(kind: Kind, text: str, message: str) -> None:
    registry = load()
    with pytest.raises(PlugportError) as raised:
        registry.find(kind, text)
    assert message in str(raised.value)


def test_what_a_failed_plugin_registered_is_said_to_be_lost(site: SitePackages) -> None:
    site.add("broken", handlers("'lost', 'a:b'") + "    raise OSError('out of order')")
    registry = load()
    for text in ("lost", "broken:lost"):
        with pytest.raises(PluginError, match=r"'broken_plugin' of broken failed: OSError: out of order"):
            registry.find("handler", text)


def test_an_unknown_name_while_a_plugin_failed_says_so(site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    registry = load()
    with pytest.raises(
        UnknownNameError, match=r"no handler named 'nope'.*'broken_plugin' of broken failed: OSError"
    ):
        registry.find("handler", "nope")
    with pytest.raises(PluginError, match=r"no handler named 'broken:nope'.*failed: OSError"):
        registry.find("handler", "broken:nope")


def test_an_unknown_name_while_a_plugin_is_disabled_says_so(site: SitePackages) -> None:
    site.add("sleepy", handlers("'upper', 'a:b'"))
    registry = load(disable=["sleepy"])
    for text in ("upper", "sleepy:upper"):
        with pytest.raises(UnknownNameError, match=r"plugin 'sleepy_plugin' of sleepy is disabled"):
            registry.find("handler", text)


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("handler", "upper_mod:number", "is no handler"),
        ("handler", "plugport_builtins.servers.tcp:TCPServer", "is no handler"),
        ("handler", "json:JSONDecoder", "is no handler"),
        ("server", "upper_mod:Upper", "is no server"),
        ("concurrency", "plugport_builtins.servers.tcp:TCPServer", "is no concurrency strategy"),
        ("concurrency", "upper_mod:number", "is no concurrency strategy"),
    ],
)
def test_a_target_must_be_of_its_kind(site: SitePackages, kind: Kind, target: str, message: str) -> None:
    site.write("upper_mod.py", UPPER + "number = 3\n")
    with pytest.raises(TargetError, match=message):
        load().get(kind, target)


APPLICATIONS = """
class Application:
    def __call__(self, environ, start_response): pass

class PerRequest:
    def __init__(self, environ, start_response): pass

class Endpoint:
    def __init__(self, scope, receive, send): pass

class Unbound:
    @property
    def __signature__(self): raise RuntimeError("outside of a request")

def function(env, start_response): pass
async def coroutine(scope, receive, send): pass
instance, proxy = Application(), Unbound()
"""


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("instance", "wsgi"),
        ("PerRequest", "wsgi"),
        ("function", "wsgi"),
        ("coroutine", "asgi"),
        ("Endpoint", "asgi"),
        ("proxy", ""),
    ],
)
def test_who_gives_an_application_is_told_what_serves_it(site: SitePackages, name: str, handler: str) -> None:
    site.write("an_application.py", APPLICATIONS)
    with pytest.raises(TargetError, match=r"is no handler") as caught:
        load().get("handler", f"an_application:{name}")
    hint = f"; an application is served by the handler {handler}, with -o app=MODULE:NAME"
    assert str(caught.value).endswith(hint if handler else "is no handler: neither a class nor a function")


def test_find_all_finds_every_kind_and_the_shadowed(site: SitePackages) -> None:
    site.add("other", handlers("'echo', 'a:b'", "'tcp', 'a:b'"))
    registry = load()
    assert [entry.qualified_name for entry in registry.find_all("echo")] == ["plugport:echo", "other:echo"]
    assert [entry.kind for entry in registry.find_all("tcp")] == ["server", "handler"]
    assert [entry.kind for entry in registry.find_all("other:tcp")] == ["handler"]
    assert [entry.kind for entry in registry.find_all("socketserver:ThreadingMixIn")] == ["concurrency"]
    assert [entry.kind for entry in registry.find_all("http.server:HTTPServer")] == ["server"]
    assert [entry.kind for entry in registry.find_all("http.server:SimpleHTTPRequestHandler")] == ["handler"]
    with pytest.raises(
        UnknownNameError, match=r"no component, plugin or hook named 'ehco'; did you mean 'echo'"
    ):
        registry.find_all("ehco")
    with pytest.raises(
        TargetError, match="is neither a server, a handler, a framing nor a concurrency strategy"
    ):
        registry.find_all("sys:path")
    with pytest.raises(TargetError, match=r"is no handler: a function takes one message and returns"):
        registry.find_all("shutil:copyfileobj")
    with pytest.raises(TargetError, match=r"is no server: it does not derive from BaseServer"):
        registry.find_all("sys:path", "server")
