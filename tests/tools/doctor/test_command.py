"""plugport doctor: its output, its exit status and its errors."""

from __future__ import annotations

import re

import pytest
from diagnosed import Doctor
from fakes import Run, SitePackages

from plugport_tools.doctor.checks import CHECKS


def test_every_check_says_something(doctor: Doctor) -> None:
    seen = doctor()
    assert list(seen) == [check.__name__ for check in CHECKS]
    for name in ("python", "plugins", "components", "requirements", "poller", "fork", "reuse_port"):
        assert [status for status, _, _ in seen[name]] == ["ok"], name
    ((_, versions, _),) = seen["requirements"]
    for dependency in ("pluggy", "greenlet", "msgspec", "packaging"):
        assert f"{dependency} " in versions


def test_for_people(run: Run, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    result = run("doctor")
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    at = lines.index(
        "problem  plugins: plugin 'broken_plugin' of broken 1.0 failed: "
        "OSError: out of order (broken_plugin.py, line 2)"
    )
    assert lines[at + 1] == (
        "         -> repair or upgrade it, or do without: plugport --disable-plugin broken:broken_plugin"
    )
    assert lines[-1].startswith("1 problem, ")
    well = run("--disable-plugin", "broken:broken_plugin", "doctor")
    assert well.returncode == 0
    assert re.search(r"plugins: \d+ loaded, 1 disabled\n", well.stdout)


def test_the_status_is_explained(run: Run) -> None:
    text = " ".join(run("doctor", "--help").stdout.split())
    assert "The exit status is 0 if there is no problem, 1 if there is one, 2 for bad input." in text
    assert "Warnings are no problems" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["9000"], "'9000' is not a URL"),
        (["tpc://127.0.0.1:0"], "no server named 'tpc'; did you mean 'tcp'?"),
        (["tcp://127.0.0.1:x"], "the port must be a number"),
        (["tcp://127.0.0.1:0", "unix://" + "x" * 200], "the path is longer than the"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_input(run: Run, arguments: list[str], message: str) -> None:
    result = run("doctor", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_trace_tells_of_it(run: Run, site: SitePackages) -> None:
    site.add("mine", "@plugport.hookimpl\ndef plugport_doctor(urls): yield plugport.Finding('ok', 'fine')")
    result = run("doctor", PLUGPORT_TRACE="doctor")
    assert "doctor of mine:mine_plugin(urls=()) -> [Finding(status='ok', message='fine'" in result.stderr
