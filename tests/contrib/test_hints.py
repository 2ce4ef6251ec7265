"""The hints of the built-ins name the distributions that provide a component or a plugin with options."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugport.combination.plugin_options import parse_plugin_options
from plugport.contracts.component import Kind
from plugport.errors import OptionError, UnknownNameError
from plugport.plugin.manager import PluginRecord, Plugins
from plugport.plugin.registry import Registry
from plugport_builtins import plugin as builtins
from plugport_builtins.hints import HINTS

CONTRIB = Path(__file__).parents[2] / "contrib"
#: A hook that registers, and the kind of what it does.
HOOKS: dict[str, Kind] = {
    "plugport_register_servers": "server",
    "plugport_register_concurrency": "concurrency",
    "plugport_register_handlers": "handler",
}


def registered() -> Iterator[tuple[tuple[Kind, str], str]]:
    """Yield what the packages of contrib register; their plugin modules import nothing of the package."""
    for path in CONTRIB.glob("*/src/*/plugin.py"):
        distribution = path.relative_to(CONTRIB).parts[0]
        spec = importlib.util.spec_from_file_location(f"plugin_of_{path.parent.name}", path)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for hook, kind in HOOKS.items():
            for component in getattr(module, hook, list)():
                yield (kind, component.name), distribution


def with_builtins() -> Plugins:
    plugins = Plugins()
    plugins.add(builtins, PluginRecord("builtins", "plugport", "1.0"))
    return plugins


def test_hints_name_the_components_of_contrib() -> None:
    found = {key: name for key, name in registered() if name != "plugport-example"}
    assert found == HINTS.components


@pytest.mark.parametrize("key", HINTS.components, ids=lambda key: key[1])
def test_an_unknown_component_names_its_distribution(key: tuple[Kind, str]) -> None:
    kind, name = key
    distribution = HINTS.components[key]
    with pytest.raises(UnknownNameError, match=rf"; {distribution} has it: pip install {distribution} "):
        Registry(with_builtins()).find(kind, name)
    installed = with_builtins()
    installed.add(object(), PluginRecord("one", distribution, "1.0"))
    with pytest.raises(UnknownNameError) as caught:
        Registry(installed).find(kind, name)
    assert "pip install" not in str(caught.value)


def test_hints_name_the_plugins_of_contrib_with_options() -> None:
    found = {}
    for path in CONTRIB.glob("*/pyproject.toml"):
        for name, module in tomllib.loads(path.read_text())["project"]["entry-points"]["plugport"].items():
            source = path.parent / "src" / (module.replace(".", "/") + ".py")
            if "def plugport_service_plugin(" in source.read_text():
                found[name] = path.parent.name
    assert found == HINTS.service_plugins


@pytest.mark.parametrize("name", HINTS.service_plugins)
def test_an_unknown_option_names_the_distribution_of_its_plugin(name: str) -> None:
    distribution = HINTS.service_plugins[name]
    with pytest.raises(
        OptionError, match=rf"no plugin '{name}'; {distribution} has it: pip install {distribution}$"
    ):
        parse_plugin_options(with_builtins(), [f"{name}.any=1"])
