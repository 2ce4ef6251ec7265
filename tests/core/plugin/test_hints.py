"""Hints: the hook register_hints, and what error messages say by it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from plugport import hookimpl
from plugport.combination import parse_plugin_options
from plugport.contracts import Hints
from plugport.errors import OptionError, PluginError, TargetError, UnknownNameError
from plugport.plugin import Entry, PluginRecord, Plugins, Registry


def hinting(*answers: Callable[[], object], strict: bool = False) -> Plugins:
    """Return plugins one, two, ..., whose hooks give these answers."""
    plugins = Plugins(strict=strict)
    for number, answer in enumerate(answers, 1):

        def plugport_register_hints(answer: Callable[[], object] = answer) -> object:
            return answer()

        plugin = SimpleNamespace(plugport_register_hints=hookimpl(plugport_register_hints))
        plugins.add(plugin, PluginRecord(f"p{number}", f"dist{number}", "1.0"))
    return plugins


def fail() -> Hints:
    raise RuntimeError("no hints today")


def test_there_are_none_without_plugins() -> None:
    assert Plugins().hints() == Hints()
    with pytest.raises(UnknownNameError) as caught:
        Registry(Plugins()).find("handler", "mqtt")
    assert str(caught.value) == "no handler named 'mqtt' (plugport list handlers)"


def test_the_hint_of_the_earlier_plugin_is_used() -> None:
    first = Hints(components={("handler", "mqtt"): "plugport-mqtt"}, schemes={"mqtt": "tcp"})
    second = Hints(
        components={("handler", "mqtt"): "other", ("server", "mqtt"): "more"}, schemes={"mqtts": "tls"}
    )
    hints = hinting(lambda: first, lambda: second).hints()
    assert hints.components == {("handler", "mqtt"): "plugport-mqtt", ("server", "mqtt"): "more"}
    assert hints.schemes == {"mqtt": "tcp", "mqtts": "tls"}


def test_an_unknown_component_names_the_distribution_that_provides_it() -> None:
    plugins = hinting(lambda: Hints(components={("handler", "mqtt"): "plugport-mqtt"}))
    with pytest.raises(UnknownNameError, match=r"; plugport-mqtt has it: pip install plugport-mqtt "):
        Registry(plugins).find("handler", "mqtt")
    with pytest.raises(UnknownNameError) as caught:
        Registry(plugins).find("server", "mqtt")
    assert "pip install" not in str(caught.value)


def test_an_unknown_scheme_names_the_server_that_its_handlers_need() -> None:
    plugins = hinting(lambda: Hints(schemes={"mqtt": "tcp"}))
    with pytest.raises(UnknownNameError, match="; it is handlers that speak MQTT, on tcp://"):
        Registry(plugins).find("server", "MQTT")


def test_an_unknown_option_names_the_distribution_of_its_plugin() -> None:
    plugins = hinting(lambda: Hints(service_plugins={"quota": "plugport-quota"}))
    with pytest.raises(
        OptionError, match=r"no plugin 'quota'; plugport-quota has it: pip install plugport-quota$"
    ):
        parse_plugin_options(plugins, ["quota.any=1"])


class Application:
    def __init__(self, scope: object, request: object, answer: object) -> None: ...


def test_an_application_names_the_handler_that_serves_it() -> None:
    entry = Entry("handler", "app", Application)
    plugins = hinting(lambda: Hints(applications={("request", "answer"): "rpc, with -o app=X"}))
    with pytest.raises(TargetError, match=r"; an application is served by the handler rpc, with -o app=X$"):
        Registry(plugins).load(entry)
    assert Registry(Plugins()).load(entry) is Application


def test_hints_are_not_asked_for_a_handler_of_socketserver() -> None:
    class Handler:
        def __init__(self, request: object, client_address: object, server: object) -> None: ...

    plugins = hinting(fail)
    assert Registry(plugins).load(Entry("handler", "plain", Handler)) is Handler
    assert plugins.failed() == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (fail, "RuntimeError: no hints today"),
        (lambda: {"mqtt": "tcp"}, "plugport_register_hints returned {'mqtt': 'tcp'}, which is no Hints"),
    ],
)
def test_a_plugin_that_fails_is_quarantined(answer: Callable[[], object], error: str) -> None:
    plugins = hinting(answer, lambda: Hints(schemes={"mqtt": "tcp"}))
    with pytest.raises(UnknownNameError, match="; it is handlers that speak mqtt, on tcp://") as caught:
        Registry(plugins).find("server", "mqtt")
    [failed] = plugins.failed()
    assert failed.name == "p1"
    assert failed.error.startswith(error)
    assert f"plugin 'p1' of dist1 failed: {error}" in str(caught.value)
    with pytest.raises(PluginError):
        hinting(answer, strict=True).hints()
