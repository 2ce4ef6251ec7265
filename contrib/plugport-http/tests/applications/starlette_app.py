"""A Starlette application: pages, a form, a stream, a file, a WebSocket, and a lifespan with state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

#: The image delays the end of the page: a browser's virtual time waits for images, not for WebSockets.
PAGE = """<!doctype html><title>Starlette</title><p id=answer>waiting</p><img src=/ended alt=""><script>
const talk = new WebSocket(`ws://${location.host}/talk`, ["shout"])
const said = []
talk.onopen = () => { talk.send("hello"); talk.send(new Uint8Array([1, 2, 3])) }
talk.onmessage = async event => {
  const bytes = typeof event.data == "string" ? null : await event.data.arrayBuffer()
  said.push(bytes ? `bytes ${bytes.byteLength}` : event.data)
  if (said.length == 2) talk.close(3001, "enough")
}
talk.onclose = event => {
  document.getElementById("answer").textContent = `${talk.protocol}: ${said.join(", ")}; closed ${event.code}`
}
</script>"""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    print("started", flush=True)
    yield {"greeting": "hello from the lifespan", "talked": asyncio.Event()}
    print("stopped", flush=True)


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def answer(request: Request) -> Response:
    return JSONResponse({"greeting": request.state.greeting})


async def form(request: Request) -> Response:
    async with request.form() as data:
        upload = data["file"]
        assert not isinstance(upload, str)
        content = await upload.read()
        return PlainTextResponse(f"{data['field']} {len(content)} {request.base_url}")


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def background(request: Request) -> Response:
    async def work() -> None:
        print("worked", flush=True)

    return PlainTextResponse("accepted", 202, background=BackgroundTask(work))


async def file(request: Request) -> Response:
    return FileResponse(Path(__file__).resolve())


async def fail(request: Request) -> Response:
    raise ValueError("failed on purpose")


async def ended(request: Request) -> Response:
    """Wait until a talk has ended, and a little longer for its end to arrive."""
    await request.state.talked.wait()
    await asyncio.sleep(0.5)
    return Response(status_code=204)


async def talk(socket: WebSocket) -> None:
    await socket.accept("shout" if "shout" in socket.scope["subprotocols"] else None)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            print("closed", message["code"], flush=True)
            socket.state.talked.set()
            break
        if message.get("text") is not None:
            await socket.send_text(message["text"].upper())
        else:
            await socket.send_bytes(message["bytes"])


app = Starlette(
    routes=[
        Route("/", page),
        Route("/json", answer, methods=["GET", "POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/stream", stream),
        Route("/background", background),
        Route("/file", file),
        Route("/fail", fail),
        Route("/ended", ended),
        WebSocketRoute("/talk", talk),
    ],
    lifespan=lifespan,
)
