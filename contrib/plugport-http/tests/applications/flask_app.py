"""A Flask application: a page, a form, an upload, a stream, a file and a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, send_file, session

app = Flask(__name__)
app.secret_key = "for the tests"


@app.get("/")
def page() -> str:
    return (
        "<!doctype html><title>Flask</title><p id=answer>waiting</p><script>"
        "fetch('/json', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({name: 'browser'})}).then(r => r.json())"
        ".then(data => { document.getElementById('answer').textContent = data.greeting })</script>"
    )


@app.post("/json")
def answer() -> dict[str, Any]:
    return {"greeting": f"hello, {request.get_json()['name']}"}


@app.post("/form")
def form() -> str:
    session["count"] = session.get("count", 0) + 1
    upload = request.files["file"].read()
    return f"{request.form['field']} {len(upload)} {session['count']} {request.host_url}"


@app.get("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/file")
def file() -> Response:
    return send_file(Path(__file__).resolve(), conditional=True)


@app.get("/fail")
def fail() -> str:
    raise ValueError("failed on purpose")
