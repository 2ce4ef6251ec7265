"""plugport check and plugport matrix."""

from __future__ import annotations

import json

import pytest
from fakes import Run


@pytest.mark.usefixtures("my_dist")
def test_check(run: Run) -> None:
    legal = run("check", "upper", "tcp", "threading")
    assert (legal.returncode, legal.stdout, legal.stderr) == (0, "legal\n", "")
    warned = run("check", "upper", "tcp", "sync")
    assert warned.returncode == 0
    assert warned.stdout.startswith("legal\nwarning: one slow client makes the service deaf to all others; ")
    refused = run("check", "upper", "udp", "threading")
    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout == "refused: a stream handler can't serve a datagram server; use a stream server\n"


@pytest.mark.usefixtures("my_dist")
def test_matrix(run: Run) -> None:
    result = run("matrix", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert set(rows[0]) == {"handler", "server", "concurrency", "verdict", "bridge", "reason"}
    found = {(row["handler"], row["server"], row["concurrency"]): row for row in rows}
    assert found["upper", "tcp", "threading"]["verdict"] == "legal"
    assert found["upper", "tcp", "threading"]["reason"] is None
    assert found["upper", "udp", "threading"]["verdict"] == "refused"
    assert ("my-dist:echo", "tcp", "sync") in found
    assert "upper" in run("matrix").stdout
