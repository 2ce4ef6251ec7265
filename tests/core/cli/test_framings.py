"""Framings on the command line: listed, shown, selected and refused."""

from __future__ import annotations

import json

import pytest
from announced import ask, serving
from command import only
from fakes import Run, SitePackages

FRAMINGS = """
@plugport.hookimpl
def plugport_register_framings():
    yield plugport.Component("slashes", "my_framings:SlashFraming", "Messages that end with a slash")
    yield plugport.Component("lines", "my_framings:SlashFraming", "Not the lines")
    yield plugport.Component("nothing", "my_framings:Nothing")
    yield plugport.Component("demanding", "my_framings:Demanding")

@plugport.hookimpl
def plugport_register_handlers():
    yield plugport.Component("shout", "my_framings:Shout", "Messages in capitals")
    yield plugport.Component("slashed", "my_framings:Slashed", "The same, between slashes")
"""
SLASHES = """
from typing import Annotated
import plugport
from plugport import Help
from plugport.handlers import DelimiterFraming

class SlashFraming(DelimiterFraming):
    "Messages that end with one slash or more."
    slashes: Annotated[int, Help("slashes that end a message", gt=0)] = 1
    def __init__(self, max_message_size, slashes=1):
        super().__init__(max_message_size, b"/" * slashes)

class Nothing: pass

class Demanding(SlashFraming):
    def __init__(self, max_message_size, *, secret): pass

class Shout(plugport.MessageHandler):
    def respond(self, message): return message.upper()

class Slashed(Shout):
    framing = "slashes"
    slashes = 2
"""


@pytest.fixture
def slashes(site: SitePackages) -> SitePackages:
    site.add("my-dist", FRAMINGS, entry_point="mine", files={"my_framings.py": SLASHES})
    return site


def test_framings_are_listed(run: Run, slashes: SitePackages) -> None:
    found = {each["qualified_name"]: each for each in json.loads(run("list", "framings", "--json").stdout)}
    assert list(found)[:5] == [
        f"plugport:{name}" for name in ("lines", "length-prefixed", "netstring", "delimiter", "fixed")
    ]
    assert found["my-dist:slashes"]["status"] == "available"
    assert found["my-dist:lines"]["status"] == "shadowed"
    assert "\nframings\n" in run("list").stdout


def test_a_framing_is_shown(run: Run, slashes: SitePackages) -> None:
    (shown,) = json.loads(run("show", "slashes", "--json").stdout)
    assert (shown["kind"], shown["target"]) == ("framing", "my_framings:SlashFraming")
    assert [option["name"] for option in shown["options"]] == ["max_message_size", "delimiter", "slashes"]
    assert [each["qualified_name"] for each in json.loads(run("show", "lines", "--json").stdout)] == [
        "plugport:lines",
        "my-dist:lines",
    ]
    (shown,) = json.loads(run("show", "my_framings:SlashFraming", "--json").stdout)
    assert (shown["kind"], shown["distribution"]) == ("framing", None)
    assert "no framing named 'echo'; there is a handler of that name" in only(
        run("show", "echo", "--kind", "framing").stderr
    )


@pytest.mark.parametrize(
    ("handler", "options", "question", "answer"),
    [
        ("shout", [], b"one\ntwo", b"ONE\nTWO\n"),
        ("shout", ["framing=slashes"], b"one/two", b"ONE/TWO/"),
        ("shout", ["handler.framing=my-dist:lines"], b"one/two", b"ONE/TWO/"),
        ("shout", ["framing=my_framings:SlashFraming"], b"one/two", b"ONE/TWO/"),
        ("shout", ["slashes=2", "framing=slashes"], b"one/1//two", b"ONE/1//TWO//"),
        ("slashed", [], b"one/1//two", b"ONE/1//TWO//"),
        ("slashed", ["handler.slashes=1"], b"one/two", b"ONE/TWO/"),
        ("slashed", ["framing=netstring"], b"3:one,", b"3:ONE,"),
        ("shout", ["framing=delimiter", "delimiter=;"], b"one;two", b"ONE;TWO;"),
        ("shout", ["framing=length-prefixed", "prefix_size=1"], b"\3one", b"\3ONE"),
    ],
)
def test_a_framing_is_selected(
    slashes: SitePackages, handler: str, options: list[str], question: bytes, answer: bytes
) -> None:
    arguments = [handler, "tcp://127.0.0.1:0", *(f"-o{option}" for option in options)]
    with serving(slashes, 1, *arguments) as (_, (url,)):
        assert ask(("127.0.0.1", int(url.rpartition(":")[2])), question) == answer


@pytest.mark.parametrize("command", [["serve", "shout"], ["check", "shout", "tcp", "select"]])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["framing=slahes"],
            "option handler.framing: no framing named 'slahes'; did you mean 'slashes'? "
            "(plugport list framings)",
        ),
        (["framing=echo"], "no framing named 'echo'; there is a handler of that name"),
        (["framing=nothing"], "is no framing: it has no method feed()"),
        (["framing=demanding"], "its parameter 'secret' is neither an option of message handlers nor"),
        (["slashes=2"], "no option 'slashes'"),
        (["framing=slashes", "slashes=0"], "expected int > 0, got '0'"),
        (["framing"], "option 'framing' is not KEY=VALUE"),
    ],
)
def test_a_framing_that_can_not_be_selected(
    run: Run, slashes: SitePackages, command: list[str], options: list[str], message: str
) -> None:
    result = run(*command, *(f"-o{option}" for option in options))
    assert (result.returncode, result.stdout) == (2, "")
    assert message in only(result.stderr)


def test_a_handler_without_messages_has_no_framing(run: Run, slashes: SitePackages) -> None:
    assert "no option 'framing'" in only(run("serve", "echo", "-o", "framing=slashes").stderr)


def test_a_framing_is_no_part_of_the_matrix(run: Run, slashes: SitePackages) -> None:
    rows = json.loads(run("matrix", "--json").stdout)
    assert "slashes" not in {name for row in rows for name in row.values()}
