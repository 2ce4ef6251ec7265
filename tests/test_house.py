"""The rules about names find what they are for, and nothing else."""

from __future__ import annotations

import pytest
from house_names import foreign_private_names, name_comparisons, replaced_methods
from sources import ROOT, Module


def module(source: str) -> list[Module]:
    """A module of the built-in servers that is not there."""
    path = ROOT / "plugins" / "plugport_builtins" / "servers" / "made_up.py"
    return [Module("plugport_builtins.servers.made_up", path, source)]


@pytest.mark.parametrize(
    "source",
    [
        "server._nobody_defines_it",
        "server._nobody_defines_it = 1",
        "self._nobody_defines_it",
        "server._BaseServer__shutdown_request",
        "getattr(server, '_nobody_defines_it')",
        "from plugport.serving.running import _nobody_defines_it",
    ],
)
def test_a_private_name_of_another_package_is_found(source: str) -> None:
    assert len(foreign_private_names(module(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "settings._prepare",  # which servers/certificates.py defines
        "os._exit(0)",
        "server.__class__",
        "point._replace(x=1)",
        "_ = 1",
    ],
)
def test_other_names_are_no_offence(source: str) -> None:
    assert foreign_private_names(module(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "type(x).__name__ == 'Server'",
        "cls.__module__ in ('a', 'b')",
        "cls.__qualname__.startswith('Base')",
        "cls.__module__.partition('.')[0] == 'plugport'",
        "getattr(function, '__qualname__', '') != 'x'",
    ],
)
def test_a_decision_by_a_name_is_found(source: str) -> None:
    assert name_comparisons(module(source)) != []


def test_names_may_be_printed() -> None:
    assert name_comparisons(module("print(type(x).__name__); y = f'{cls.__qualname__}'")) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(): pass\nserver.handle_error = f",
        "server.handle_error = lambda: None",
        "server.service_actions = self.handle_error",
        "vars(server)['handle_error'] = None",
        "server.__dict__['x'] = 1",
        "def f(): pass\nsetattr(server, name, f)",
        "sock.__class__ = Other",
    ],
)
def test_a_replaced_method_is_found(source: str) -> None:
    assert replaced_methods(module(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "server.scheme = url.scheme",
        "self.on_end = lambda: None",
        "server.on_the_end_of_it = lambda: None",
        "class A:\n    handle_error = other",
        "setattr(target, name, value)",
    ],
)
def test_composition_is_no_offence(source: str) -> None:
    assert replaced_methods(module(source)) == []
