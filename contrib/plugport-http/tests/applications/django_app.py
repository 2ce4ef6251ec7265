"""A Django project in a module, with a WSGI and an ASGI application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for the tests",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    )
    django.setup()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        "<!doctype html><title>Django</title><p id=answer>waiting</p><script>"
        "fetch('/json').then(r => r.json())"
        ".then(data => { document.getElementById('answer').textContent = data.greeting })</script>"
    )


def answer(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"greeting": "hello, browser"})


@csrf_exempt
def form(request: HttpRequest) -> HttpResponse:
    count = request.session["count"] = request.session.get("count", 0) + 1
    upload = request.FILES["file"]
    return HttpResponse(f"{request.POST['field']} {upload.size} {count} {request.build_absolute_uri('/')}")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines():  # type: ignore[no-untyped-def]
        for number in range(3):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("failed on purpose")


urlpatterns = [
    path("", page),
    path("json", answer),
    path("form", form),
    path("stream", stream),
    path("astream", astream),
    path("file", file),
    path("fail", fail),
]

app = get_wsgi_application()
asgi = get_asgi_application()
