"""An ASGI application without a lifespan, which tells its scope."""

from __future__ import annotations

import json
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    plain = {key: scope[key] for key in ("root_path", "path")} | {"raw_path": scope["raw_path"].decode()}
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": json.dumps(plain).encode()})
