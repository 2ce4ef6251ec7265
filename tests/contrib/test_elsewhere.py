"""The distributions that an error names for what is not installed are those that have it."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugport.combination.plugin_options import parse_plugin_options
from plugport.contracts.component import Kind
from plugport.contracts.elsewhere import ELSEWHERE, OPTIONS_ELSEWHERE
from plugport.errors import OptionError, UnknownNameError
from plugport.plugin.manager import PluginRecord, Plugins
from plugport.plugin.registry import Registry

CONTRIB = Path(__file__).parents[2] / "contrib"
#: A hook that registers, and the kind of what it does.
HOOKS: dict[str, Kind] = {
    "plugport_register_servers": "server",
    "plugport_register_concurrency": "concurrency",
    "plugport_register_handlers": "handler",
}


def registered() -> Iterator[tuple[tuple[Kind, str], str]]:
    """What the packages of contrib register; their plugins import nothing that is not here."""
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


def test_the_table_is_what_contrib_registers() -> None:
    found = {key: name for key, name in registered() if name != "plugport-example"}
    assert found == ELSEWHERE


@pytest.mark.parametrize("key", ELSEWHERE, ids=lambda key: key[1])
def test_the_error_names_the_distribution(key: tuple[Kind, str]) -> None:
    kind, name = key
    distribution = ELSEWHERE[key]
    with pytest.raises(UnknownNameError, match=f"; {distribution} has it: pip install {distribution} "):
        Registry(Plugins()).find(kind, name)
    installed = Plugins()
    installed.add(object(), PluginRecord("one", distribution, "1.0"))
    with pytest.raises(UnknownNameError) as caught:
        Registry(installed).find(kind, name)
    assert "pip install" not in str(caught.value)


def test_the_table_of_plugins_is_that_of_those_with_options() -> None:
    found = {}
    for path in CONTRIB.glob("*/pyproject.toml"):
        for name, module in tomllib.loads(path.read_text())["project"]["entry-points"]["plugport"].items():
            source = path.parent / "src" / (module.replace(".", "/") + ".py")
            if "def plugport_service_plugin(" in source.read_text():
                found[name] = path.parent.name
    assert found == OPTIONS_ELSEWHERE


@pytest.mark.parametrize("name", OPTIONS_ELSEWHERE)
def test_the_error_of_an_option_names_the_distribution(name: str) -> None:
    distribution = OPTIONS_ELSEWHERE[name]
    with pytest.raises(
        OptionError, match=f"no plugin '{name}'; {distribution} has it: pip install {distribution}$"
    ):
        parse_plugin_options(Plugins(), [f"{name}.any=1"])
