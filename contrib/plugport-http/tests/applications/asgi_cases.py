"""An ASGI application that checks what it is given, and does what its path says."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import Any

#: What happened, in its order.
events: list[Any] = []
gates: dict[str, asyncio.Event] = {}
TEXT = [(b"content-type", b"text/plain")]


def check_scope(scope: dict[str, Any]) -> None:
    """Fail on a scope that is not what the specification says."""
    kinds: dict[str, Any] = {
        "type": str,
        "asgi": dict,
        "http_version": str,
        "scheme": str,
        "path": str,
        "raw_path": bytes,
        "query_string": bytes,
        "root_path": str,
        "headers": list,
        "client": (tuple, list, type(None)),
        "server": (tuple, list, type(None)),
        "state": dict,
        "extensions": dict,
    }
    kinds |= {"method": str} if scope["type"] == "http" else {"subprotocols": list}
    assert scope.keys() == kinds.keys(), scope.keys() ^ kinds.keys()
    for key, kind in kinds.items():
        assert isinstance(scope[key], kind), (key, scope[key])
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert scope["http_version"] in ("1.0", "1.1")
    assert scope["scheme"] in (("http", "https") if scope["type"] == "http" else ("ws", "wss"))
    for name, value in scope["headers"]:
        assert type(name) is bytes
        assert name == name.lower()
        assert type(value) is bytes
    for address in (scope["client"], scope["server"]):
        if address is not None:
            host, port = address
            assert isinstance(host, str)
            assert isinstance(port, (int, type(None)))


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    check_scope(scope)
    name = scope["path"].strip("/").split("/")[0] or "hello"
    await globals()[name](scope, receive, send)


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert await receive() == {"type": "lifespan.startup"}
    scope["state"]["started"] = "yes"
    gates.clear()
    gates["go"] = asyncio.Event()
    events.append("startup")
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == {"type": "lifespan.shutdown"}
    events.append("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, body: bytes, status: int = 200, headers: Any = TEXT) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"Hello, world!")


async def headless(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"")


async def describe(scope: Any, receive: Any, send: Any) -> None:
    plain = {
        key: value.decode("latin-1") if isinstance(value, bytes) else value
        for key, value in scope.items()
        if key not in ("headers", "extensions")
    }
    plain["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
    content = json.dumps(plain).encode()
    scope["state"]["changed"] = "by a request, for itself alone"
    await answer(send, content)


async def extensions(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, json.dumps(scope["extensions"]).encode())
    scope["extensions"].setdefault("tls", {})["client_cert_name"] = "of another request"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Echo the body in pieces."""
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        if not more:
            break


async def collect(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, then answer."""
    digest, size, pieces = sha256(), 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            events.append("disconnected")
            return
        digest.update(message["body"])
        size += len(message["body"])
        pieces += 1
        if not message["more_body"]:
            break
    await answer(send, f"{size} {digest.hexdigest()}".encode())


async def size(scope: Any, receive: Any, send: Any) -> None:
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message["body"])
        more = message["more_body"]
    await answer(send, b"%d" % count)


async def late(scope: Any, receive: Any, send: Any) -> None:
    """Do something else before the body is read."""
    events.append("late")
    await gates["go"].wait()
    await size(scope, receive, send)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": iter(TEXT)})
    for piece in (b"one ", b"", b"two ", b"three"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})
    await send({"type": "http.response.body", "body": b"ignored"})


async def big(scope: Any, receive: Any, send: Any) -> None:
    count = int(scope["query_string"] or b"64")
    headers = [*TEXT, [b"content-length", str(count * 65536).encode()]]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(count):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": number + 1 < count})


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """Send until the client disconnects."""
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    try:
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    except OSError as error:
        events.append(type(error).__name__)
        raise


async def poll(scope: Any, receive: Any, send: Any) -> None:
    """Wait for the client to go."""
    events.append("polling")
    assert (await receive())["type"] == "http.request"
    events.append((await receive())["type"])


async def after(scope: Any, receive: Any, send: Any) -> None:
    """Go on when the response is complete."""
    await answer(send, b"done")
    events.append((await receive())["type"])
    await gates["go"].wait()
    events.append("after")


async def wait(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    await send({"type": "http.response.body", "body": b"waiting ", "more_body": True})
    await gates["go"].wait()
    await send({"type": "http.response.body", "body": b"done"})


async def stubborn(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    await send({"type": "http.response.body", "body": b"for ever ", "more_body": True})
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        events.append("cancelled")
        raise


async def ignore(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"not interested", 413)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"", 204, [])


async def fail(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    raise ValueError("failed on purpose")


async def fail_late(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
    raise ValueError("failed on purpose")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return


async def unfinished(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    await send({"type": "http.response.body", "body": b"begun ", "more_body": True})


async def short(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"short", headers=[(b"content-length", b"10")])


async def long(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"long", headers=[(b"content-length", b"2")])


async def crlf(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"never sent", headers=[(b"x-evil", b"a\r\nset-cookie: b")])


async def disorder(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"never sent"})


async def unknown(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.what"})


# WebSockets -----------------------------------------------------------------------------------------


async def chat(scope: Any, receive: Any, send: Any) -> None:
    """Echo messages; "bye" closes with 3000, and "fail" raises."""
    assert scope["type"] == "websocket"
    assert await receive() == {"type": "websocket.connect"}
    offered = scope["subprotocols"]
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": offered[-1] if offered else None,
            "headers": [(b"x-greeting", b"hello")],
        }
    )
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            events.append((message["code"], message["reason"]))
            return
        text = message.get("text")
        if text == "bye":
            await send({"type": "websocket.close", "code": 3000, "reason": "so long"})
            events.append((await receive())["code"])
            return
        if text == "fail":
            raise ValueError("failed on purpose")
        if text == "end":
            return
        await send({"type": "websocket.send", **{key: message[key] for key in message if key != "type"}})


async def reject(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})
    events.append((await receive())["type"])


async def deny(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    assert "websocket.http.response" in scope["extensions"]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"so")]})
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you?"})


async def flood(scope: Any, receive: Any, send: Any) -> None:
    """Take nothing before it may."""
    await receive()
    await send({"type": "websocket.accept"})
    await gates["go"].wait()
    count = 0
    while (await receive())["type"] == "websocket.receive":
        count += 1
    events.append(count)
