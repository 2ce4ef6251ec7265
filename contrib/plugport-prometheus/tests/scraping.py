"""Scrapes and their figures, and the handler of the services that are scraped."""

from __future__ import annotations

import re
import socket
import subprocess
import urllib.error
import urllib.request
from typing import Any

from plugport import StreamRequestHandler
from plugport_testing.clients import ClientSocket
from plugport_testing.waiting import wait_until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

__all__ = [
    "ANNOUNCED",
    "Obedient",
    "curl",
    "fetch",
    "figures",
    "in_openmetrics",
    "scrape",
    "talk",
    "wait_for_figure",
]

ANNOUNCED = re.compile(r"^metrics on (http://\S+)$", re.MULTILINE)

Figures = dict[tuple[str, frozenset[str]], float]


class Obedient(StreamRequestHandler):
    """Sends a line back; "fail" and "hang" are done."""

    def handle(self) -> None:
        line = self.rfile.readline()
        if line.startswith(b"fail "):
            raise type(line.split()[1].decode(), (Exception,), {})("by order")
        if line == b"hang\n":
            self.rfile.readline()
        self.wfile.write(line)


def talk(address: Any, line: bytes, source: str = "127.0.0.1") -> bytes:
    """Send *line* on a connection of its own, and return what comes until its end."""
    with ClientSocket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.bind((source, 0))
        client.connect(("127.0.0.1", address[1]))
        try:
            client.sendall(line)
            return b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionError:
            return b""


def fetch(url: str) -> tuple[int, str]:
    """Return the status and the body of *url*."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def curl(*arguments: str) -> str:
    """Return what curl prints."""
    command = ["curl", "--silent", "--show-error", "--max-time", "10", *arguments]
    result = subprocess.run(command, capture_output=True, check=True)
    return result.stdout.decode()


def figures(text: str, parse: Any = text_string_to_metric_families) -> Figures:
    """Return the samples of *text* by name, and the values of their labels."""
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def in_openmetrics(text: str) -> Figures:
    """Return the same of a text in the format of OpenMetrics."""
    return figures(text, parse_openmetrics)


def scrape(url: str) -> Figures:
    """Return the samples at *url*, but for the labels that a server has, which the tests know."""
    return {
        (name, frozenset(value for value in labels if "://" not in value)): figure
        for (name, labels), figure in figures(fetch(url)[1]).items()
    }


def wait_for_figure(url: str, name: str, labels: set[str], expected: float) -> Figures:
    """Wait until a sample has the value; return all."""
    found: list[Figures] = []

    def is_there() -> bool:
        found.append(scrape(url))
        return found[-1].get((name, frozenset(labels))) == expected

    try:
        wait_until(is_there, 10, f"{name} of {labels} to be {expected}")
    except AssertionError as error:
        told = {key: value for key, value in found[-1].items() if key[0] == name}
        raise AssertionError(f"{error}; there is {told}") from None
    return found[-1]
