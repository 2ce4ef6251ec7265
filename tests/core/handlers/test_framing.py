"""Framings, by property: whatever the pieces in which the bytes come, the messages are the same."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugport.combination.framings import choose_framing
from plugport.combination.options import collect
from plugport.contracts.members import Help, configure
from plugport.errors import OptionError, TargetError
from plugport.handlers.framing import (
    FRAMINGS,
    DelimiterFraming,
    FixedFraming,
    Framing,
    FramingError,
    LengthPrefixedFraming,
    LinesFraming,
    NetstringFraming,
    check_framing,
)
from plugport.handlers.messages import MessageHandler, framing_maker, responder

MAX = 20


class Kind(NamedTuple):
    """A framing with its parameters, and the messages that it can carry."""

    make: Any
    messages: st.SearchStrategy[bytes]


def without(delimiter: bytes, *ends: bytes) -> st.SearchStrategy[bytes]:
    """Messages in which no delimiter stands, nor comes about with the one after them."""
    alphabet = [b"a", b"b", b"\r", b"\0", bytes([delimiter[0]]), bytes([delimiter[-1]])]
    joined = st.lists(st.sampled_from(alphabet), max_size=MAX).map(b"".join)
    return joined.filter(
        lambda each: (each + delimiter).find(delimiter) == len(each) and not each.endswith(ends)
    )


KINDS = {
    "lines": Kind(lambda: LinesFraming(MAX), without(b"\n", b"\r")),
    "delimiter": Kind(lambda: DelimiterFraming(MAX, b"\0"), without(b"\0")),
    "delimiter of two": Kind(lambda: DelimiterFraming(MAX, b"ab"), without(b"ab")),
    "delimiter that repeats": Kind(lambda: DelimiterFraming(MAX, b"aab"), without(b"aab")),
    "length of one": Kind(lambda: LengthPrefixedFraming(MAX, 1), st.binary(max_size=MAX)),
    "length of four": Kind(lambda: LengthPrefixedFraming(MAX), st.binary(max_size=MAX)),
    "netstring": Kind(lambda: NetstringFraming(MAX), st.binary(max_size=MAX)),
    "fixed": Kind(lambda: FixedFraming(3), st.binary(min_size=3, max_size=3)),
}
patient = settings(deadline=None)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def pieces(data: bytes, draw: st.DataObject) -> list[bytes]:
    """*data*, cut anywhere."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def single(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def read(framing: Framing, chunks: Iterable[bytes], *, finish: bool = True) -> tuple[list[bytes], bool]:
    """The messages, up to an error or the end of the stream; and whether there was an error."""
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += framing.feed(chunk)
        if finish:
            messages += framing.finish()
    except FramingError:
        return messages, True
    return messages, False


# For all of them ------------------------------------------------------------------------------


@every_kind
@patient
@given(st.data())
def test_round_trip_in_any_pieces(kind: Kind, data: st.DataObject) -> None:
    messages = data.draw(st.lists(kind.messages, max_size=8))
    framing = kind.make()
    stream = b"".join(map(framing.frame, messages))
    assert read(kind.make(), pieces(stream, data)) == (messages, False)


@every_kind
@patient
@given(st.data())
def test_a_message_is_there_with_its_last_byte(kind: Kind, data: st.DataObject) -> None:
    messages = data.draw(st.lists(kind.messages, min_size=1, max_size=4))
    framing = kind.make()
    sent: list[bytes] = []
    for message in messages:
        framed = framing.frame(message)
        assert framing.feed(framed[:-1]) == []
        sent += framing.feed(framed[-1:])
    assert sent == messages


@every_kind
@patient
@given(st.data())
def test_any_bytes_mean_the_same_in_any_pieces(kind: Kind, data: st.DataObject) -> None:
    alphabet = st.sampled_from(
        [b"a", b"b", b"\r", b"\n", b"\0", b"\3", b"1", b"0", b"3", b":", b",", b"3:abc,"]
    )
    stream = data.draw(st.lists(alphabet, max_size=40).map(b"".join))
    messages, failed = read(kind.make(), single(stream))
    some, also_failed = read(kind.make(), pieces(stream, data))
    assert also_failed is failed
    assert some == messages if not failed else some == messages[: len(some)]


@every_kind
def test_an_empty_stream_has_no_messages(kind: Kind) -> None:
    assert read(kind.make(), [b"", b""]) == ([], False)


@pytest.mark.parametrize("name", FRAMINGS)
def test_every_framing_is_an_option_of_a_message_handler(name: str) -> None:
    handler = type("Handler", (MessageHandler,), {"framing": name, "max_message_size": 5})
    framing = handler.make_framing()
    assert framing.feed(framing.frame(b"hello")) == [b"hello"]
    assert handler.make_framing() is not framing


def test_a_framing_may_be_a_class() -> None:
    class Dots(DelimiterFraming):
        def __init__(self, max_message_size: int, dots: int = 1) -> None:
            super().__init__(max_message_size, b"." * dots)

    class Handler(MessageHandler):
        framing = Dots

    class Two(Handler):
        dots = 2

    class Lines(Two):
        framing = "lines"

    assert framing_maker(Handler)().frame(b"hello") == b"hello."
    assert framing_maker(Two)().frame(b"hello") == Two.make_framing().frame(b"hello") == b"hello.."
    assert framing_maker(partial(Two))().frame(b"hello") == b"hello.."
    assert framing_maker(Lines)().frame(b"hello") == b"hello\n"
    assert framing_maker(lambda message: message)().frame(b"hello") == b"hello\n"


def test_make_framing_may_be_overridden() -> None:
    class Handler(MessageHandler):
        @classmethod
        def make_framing(cls) -> Framing:
            return NetstringFraming(MAX)

    class Below(Handler):
        framing = "lines"

    assert framing_maker(Handler)().frame(b"hello") == b"5:hello,"
    assert framing_maker(Below)().frame(b"hello") == b"5:hello,"


def test_the_options_of_a_framing_are_looked_up_once() -> None:
    handler = type("Handler", (MessageHandler,), {"framing": "delimiter", "delimiter": b";"})
    make_framing = framing_maker(handler)
    handler.delimiter = b","  # type: ignore[attr-defined]
    assert make_framing().frame(b"hello") == b"hello;"


def test_a_name_that_only_plugins_know_needs_the_registry() -> None:
    class Handler(MessageHandler):
        framing = "morse"

    for make in (Handler.make_framing, lambda: framing_maker(Handler)):
        with pytest.raises(OptionError, match="framing 'morse' of Handler is not built in"):
            make()
    assert responder(Handler)(None, None)  # on datagrams there is no framing


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("lines", "'lines' is no framing: a framing is a class"),
        (NetstringFraming(MAX), "a framing is a class"),
        (type("No", (), {}), r"it has no method feed\(\)"),
        (type("No", (), {"feed": print, "finish": print, "frame": 1}), r"it has no method frame\(\)"),
    ],
)
def test_what_is_no_framing(target: object, reason: str) -> None:
    with pytest.raises(TargetError, match=reason):
        check_framing(target, MessageHandler)


def test_a_framing_is_chosen_in_code() -> None:
    class Dots(DelimiterFraming):
        dots: Annotated[int, Help("how many")] = 2

        def __init__(self, max_message_size: int, dots: int) -> None:
            super().__init__(max_message_size, b"." * dots)

    class Handler(MessageHandler):
        max_message_size = 5

    chosen = choose_framing(Handler, Dots)
    assert issubclass(chosen, Handler)
    assert "dots" not in collect(Handler)
    assert collect(chosen)["dots"].help == "how many"
    assert framing_maker(chosen)().frame(b"hello") == b"hello.."
    assert framing_maker(configure(chosen, {"dots": 3}))().frame(b"hello") == b"hello..."
    with pytest.raises(FramingError, match="longer than 5"):
        framing_maker(chosen)().feed(b"hello!..")
    assert choose_framing(Handler) is Handler
    assert framing_maker(choose_framing(Handler, "plugport:netstring"))().frame(b"") == b"0:,"
    assert choose_framing(print, "lines") is print


# Sizes ----------------------------------------------------------------------------------------

LONG = b"x" * MAX

TOO_LONG = [
    ("lines", LONG + b"x\n"),
    ("lines", LONG + b"xx"),
    ("lines", LONG + b"\r\r\n"),
    ("delimiter", LONG + b"x\0"),
    ("delimiter", LONG + b"x"),
    ("delimiter of two", LONG + b"xa"),
    ("length of one", bytes([MAX + 1])),
    ("length of four", (MAX + 1).to_bytes(4, "big")),
    ("netstring", b"%d:" % (MAX + 1)),
    ("netstring", b"100"),
]


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("lines", LONG + b"\n"),
        ("lines", LONG + b"\r\n"),
        ("lines", LONG),
        ("delimiter", LONG + b"\0"),
        ("delimiter of two", LONG + b"ab"),
        ("delimiter of two", LONG),
        ("length of one", bytes([MAX]) + LONG),
        ("length of four", MAX.to_bytes(4, "big") + LONG),
        ("netstring", b"%d:%b," % (MAX, LONG)),
    ],
)
def test_the_longest_message(name: str, stream: bytes) -> None:
    for chunks in ([stream], single(stream)):
        assert read(KINDS[name].make(), chunks) == ([LONG], False)


@pytest.mark.parametrize(("name", "stream"), TOO_LONG)
def test_a_message_that_is_too_long_is_refused_as_soon_as_that_is_known(name: str, stream: bytes) -> None:
    for chunks in ([stream], single(stream)):
        assert read(KINDS[name].make(), chunks, finish=False) == ([], True)


@pytest.mark.parametrize("name", ["lines", "delimiter", "delimiter of two"])
def test_what_never_ends_is_not_kept(name: str) -> None:
    framing = KINDS[name].make()
    with pytest.raises(FramingError, match=f"longer than {MAX}"):
        list(map(framing.feed, [b"x"] * (MAX + 3)))


# Each -----------------------------------------------------------------------------------------


def test_lines_end_with_lf_or_crlf() -> None:
    framing = LinesFraming(MAX)
    assert framing.feed(b"one\r\ntwo\n\r\n\n\rthree\rfour\r") == [b"one", b"two", b"", b""]
    assert framing.feed(b"\n") == [b"\rthree\rfour"]
    assert framing.feed(b"five\r") == []
    assert framing.finish() == [b"five"]
    assert framing.frame(b"six\r") == b"six\r\n"


def test_a_last_message_may_lack_its_delimiter() -> None:
    framing = DelimiterFraming(MAX, b"ab")
    assert framing.feed(b"oneabtwoa") == [b"one"]
    assert framing.finish() == [b"twoa"]
    assert framing.finish() == []


@pytest.mark.parametrize(
    ("framing", "message", "reason"),
    [
        (LinesFraming(MAX), b"one\ntwo", "can't hold LF"),
        (DelimiterFraming(MAX, b"ab"), b"xaby", "can't hold the delimiter b'ab'"),
        (LengthPrefixedFraming(MAX, 1), bytes(256), "256 bytes does not fit a length of 1 bytes"),
        (FixedFraming(3), b"four", "has 4 bytes, and the framing wants 3"),
    ],
)
def test_what_a_framing_can_not_carry(framing: Framing, message: bytes, reason: str) -> None:
    with pytest.raises(FramingError, match=reason):
        framing.frame(message)


def test_a_reply_may_be_longer_than_a_message() -> None:
    for kind in ("lines", "delimiter", "length of four", "netstring"):
        assert LONG * 2 in KINDS[kind].make().frame(LONG * 2)


@pytest.mark.parametrize(
    "stream",
    [b"x", b":", b",", b"1x", b"-1:", b"+1:a,", b" 1:a,", b"1 :a,", b"01:a,", b"00:,", b"1:ab", b"1:a\n"],
)
def test_what_is_no_netstring(stream: bytes) -> None:
    for chunks in ([stream], single(stream)):
        assert read(NetstringFraming(MAX), chunks, finish=False) == ([], True)


def test_the_empty_netstring() -> None:
    assert NetstringFraming(MAX).feed(b"0:,0:,") == [b"", b""]


@pytest.mark.parametrize(
    ("framing", "stream"),
    [
        (LengthPrefixedFraming(MAX, 2), b"\0"),
        (LengthPrefixedFraming(MAX, 2), b"\0\2x"),
        (NetstringFraming(MAX), b"1"),
        (NetstringFraming(MAX), b"1:x"),
        (FixedFraming(3), b"ab"),
    ],
)
def test_a_stream_that_ends_inside_a_message(framing: Framing, stream: bytes) -> None:
    assert framing.feed(stream) == []
    with pytest.raises(FramingError, match=f"ended inside a message, after {len(stream)} bytes"):
        framing.finish()


def test_an_empty_delimiter() -> None:
    with pytest.raises(ValueError, match="delimiter is empty"):
        DelimiterFraming(MAX, b"")
