from __future__ import annotations

import enum
import functools
import http.server
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest

import plugport
from plugport import Help
from plugport.combination.options import UnknownOptionError, assign_options, collect, parse_options
from plugport.contracts.members import configure
from plugport.errors import OptionError

if TYPE_CHECKING:
    from nowhere import Unresolvable


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Handler(plugport.BaseRequestHandler):
    number: Annotated[int, Help("a number", ge=1, le=100)] = 3
    mode: Annotated[int | None, Help("a mode", octal=True)] = None
    ratio: Annotated[float, Help("a ratio", gt=0)] = 0.5
    maybe: float | None = None
    flag: bool = False
    text: str = "x"
    words: list[str] = []
    numbers: tuple[int, ...] = ()
    level: Literal["low", "high"] = "low"
    colour: Colour = Colour.RED
    raw: bytes = b""
    timeout: Annotated[float | None, Help("of the handler")] = None

    unset: int
    _private: int = 1
    constant: ClassVar[int] = 1
    plain = 1
    anything: Any = None
    unresolvable: Unresolvable = None

    def method(self) -> None: ...


class Server(plugport.BaseServer):
    size: Annotated[int, Help("of the server")] = 1
    both: Annotated[int, Help("the server's")] = 1


class MixIn:
    width: Annotated[int, Help("of the strategy")] = 1
    both: Annotated[int, Help("the strategy's")] = 2


def parse(*texts: str) -> dict[Any, dict[str, Any]]:
    return parse_options(
        texts,
        {"server": Server, "concurrency": MixIn, "handler": Handler},
        {"server": "srv", "concurrency": "mix", "handler": "hnd"},
    )


def test_options_are_the_public_annotated_attributes_with_a_value() -> None:
    assert list(collect(Handler)) == [
        "number", "mode", "ratio", "maybe", "flag", "text", "words", "numbers", "level",
        "colour", "raw", "timeout",
    ]  # fmt: skip
    number = collect(Handler)["number"]
    assert (number.type, number.default, number.help, number.note.le) == (int, 3, "a number", 100)


def test_a_subclass_changes_default_and_type_and_keeps_the_note() -> None:
    class Sub(Handler):
        number = 7
        mode: int = 0o600
        text: ClassVar[str] = "fixed"

    options = collect(Sub)
    assert (options["number"].default, options["number"].owner) == (7, Handler)
    assert (options["mode"].type, options["mode"].help, options["mode"].note.octal) == (int, "a mode", True)
    assert "text" not in options


def test_the_state_of_core_classes_is_no_option() -> None:
    assert {"hooks", "handler_name", "scheme", "state", "lock"}.isdisjoint(collect(Server))
    assert "max_active_requests" in collect(Server)


class Narrow(Server):
    hidden_options: ClassVar[frozenset[str]] = frozenset({"size", "max_active_requests"})
    depth: Annotated[int, Help("of the narrow server")] = 1


def test_a_class_hides_options_that_it_inherits() -> None:
    assert {"size", "max_active_requests", "hidden_options"}.isdisjoint(collect(Narrow))
    assert {"both", "depth"} <= collect(Narrow).keys()
    assert {"size", "max_active_requests"} <= collect(Server).keys()


def test_subclasses_hide_what_their_base_classes_hide() -> None:
    class Narrower(Narrow):
        hidden_options: ClassVar[frozenset[str]] = frozenset({"depth"})
        size: int = 3

    assert {"size", "depth", "max_active_requests"}.isdisjoint(collect(Narrower))
    assert "depth" in collect(Narrow)


def test_a_subclass_shows_a_hidden_option_by_a_note() -> None:
    class Wide(Narrow):
        size: Annotated[int, Help("of the wide server")] = 2

    option = collect(Wide)["size"]
    assert (option.default, option.help, option.owner) == (2, "of the wide server", Wide)
    assert "max_active_requests" not in collect(Wide)


def test_a_hidden_option_is_unknown() -> None:
    with pytest.raises(UnknownOptionError, match="no option 'size'"):
        parse_options(["size=1"], {"server": Narrow}, {"server": "narrow"})


def test_handlers_and_servers_of_the_standard_library_get_notes() -> None:
    assert list(collect(http.server.SimpleHTTPRequestHandler)) == [
        "rbufsize", "wbufsize", "timeout", "disable_nagle_algorithm",
    ]  # fmt: skip
    assert collect(functools.partial(http.server.SimpleHTTPRequestHandler, directory="/"))["timeout"].help
    assert collect(http.server.HTTPServer)["request_queue_size"].default == 5


def test_slots_and_methods_are_no_options() -> None:
    class Slotted:
        __slots__ = ("size",)
        size: int
        name: str

        @property
        def name(self) -> str: ...

    assert collect(Slotted) == {}


def test_functions_have_no_options() -> None:
    assert collect(len) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("number=42", 42), ("number=0x2A", 42), ("number=0o52", 42), ("number= 42 ", 42),
        ("mode=660", 0o660), ("mode=0660", 0o660), ("mode=0o660", 0o660), ("mode=null", None),
        ("mode=None", None),
        ("ratio=2", 2.0), ("ratio=1e-3", 0.001), ("maybe=null", None), ("maybe=-1.5", -1.5),
        ("flag=true", True), ("flag=1", True), ("flag=Yes", True), ("flag=on", True),
        ("flag=false", False), ("flag=0", False), ("flag=NO", False), ("flag=off", False),
        ("text=a=b", "a=b"), ("text=", ""), ("text=null", "null"), ("text=[1]", "[1]"),
        ("words=a 'b c'", ["a", "b c"]), ('words=["a", "b c"]', ["a", "b c"]), ("words=", []),
        ("numbers=1 2", (1, 2)), ("numbers=[1, 2]", (1, 2)),
        ("level=high", "high"), ("colour=blue", Colour.BLUE), (r"raw=a\r\n", b"a\r\n"),
        ("raw=é", "é".encode()),
        ("handler.number=5", 5),
    ],
)  # fmt: skip
def test_conversion(text: str, expected: object) -> None:
    (value,) = parse(text)["handler"].values()
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number=abc", "option handler.number: expected int >= 1 and <= 100, got 'abc'"),
        ("number=0", "expected int >= 1 and <= 100, got '0'"),
        ("number=101", "got '101'"),
        ("number=1.5", "got '1.5'"),
        ("number=", "got ''"),
        ("number=null", "got 'null'"),
        ("mode=999", "expected octal int or null, got '999'"),
        ("ratio=nan", "expected float > 0, got 'nan'"),
        ("ratio=0", "got '0'"),
        ("flag=maybe", "expected bool, got 'maybe'"),
        ("flag=2", "expected bool, got '2'"),
        ("level=medium", "expected low or high, got 'medium'"),
        ("colour=green", "expected red or blue, got 'green'"),
        ("words=a 'b", 'expected list[str], got "a \'b"'),
        ("words=[1, ", "expected list[str]"),
        ("words=[1]", "expected list[str], got '[1]' (1 is not str)"),
        ("numbers=1 b", "expected tuple[int, ...], got '1 b' ('b' is not int)"),
        ("number", "option 'number' is not KEY=VALUE"),
        ("=3", "option '=3' is not KEY=VALUE"),
        (
            "widht=3",
            "no option 'widht'; did you mean 'width'? (plugport show srv or plugport show mix or ",
        ),
        ("server.number=3", "no option 'server.number' (plugport show srv)"),
        (
            "handler.numbr=3",
            "no option 'handler.numbr'; did you mean 'handler.number' or 'handler.numbers'? (",
        ),
        ("nope.number=3", "the prefix must be server., concurrency. or handler."),
        ("timeout=3", "option 'timeout' is ambiguous; write server.timeout or handler.timeout"),
        ("both=3", "option 'both' is ambiguous; write server.both or concurrency.both"),
    ],
)
def test_errors_are_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(OptionError) as raised:
        parse(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 42), ("mode", None), ("ratio", 2.0), ("maybe", -1.5), ("flag", True), ("text", "null"),
        ("words", ["a", "b c"]), ("numbers", (1, 2)), ("level", "high"), ("colour", Colour.BLUE),
        ("raw", b"a\r\n"), ("handler.number", 5),
    ],
)  # fmt: skip
def test_an_object_is_taken_as_it_is(name: str, value: object) -> None:
    (taken,) = assign_options({name: value}, {"handler": Handler}, {"handler": "h"})["handler"].values()
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("number", "42", "option handler.number: expected int >= 1 and <= 100, got '42'"),
        ("number", 101, "got 101"),
        ("number", 1.5, "got 1.5"),
        ("number", None, "got None"),
        ("flag", 1, "expected bool, got 1"),
        ("level", "medium", "expected low or high, got 'medium'"),
        ("words", [1], "expected list[str], got [1]"),
        ("raw", "text", "expected bytes, got 'text'"),
        ("numbr", 1, "did you mean 'number'"),
    ],
)
def test_an_object_of_the_wrong_kind_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(OptionError) as raised:
        assign_options({name: value}, {"handler": Handler}, {"handler": "h"})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_unknown_has_an_error_of_its_own() -> None:
    with pytest.raises(UnknownOptionError):
        parse("nothing=1")


def test_each_part_gets_its_own() -> None:
    assert parse("size=2", "width=3", "number=4", "server.timeout=5", "concurrency.both=6") == {
        "server": {"size": 2, "timeout": 5.0},
        "concurrency": {"width": 3, "both": 6},
        "handler": {"number": 4},
    }


def test_the_last_of_a_key_counts() -> None:
    assert parse("size=2", "size=3")["server"] == {"size": 3}


def test_what_server_and_strategy_inherit_from_one_class_is_one_option() -> None:
    members = parse_options(["size=9"], {"server": Server, "concurrency": Server}, {})
    assert members["server"] == {"size": 9}


def test_configure_makes_a_subclass_only_for_members() -> None:
    assert configure(Handler, {}) is Handler
    configured = configure(Handler, {"number": 9})
    assert (configured.__name__, configured.__bases__, configured.number) == ("Handler", (Handler,), 9)
    assert Handler.number == 3
    partial = configure(functools.partial(Handler, 1), {"number": 9})
    assert (partial.func.number, partial.args) == (9, (1,))
