"""Checks of the machine: descriptors, threads, temporary folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from diagnosed import HANDLER, UPPER, Doctor, of, only, under
from fakes import SitePackages


@pytest.mark.parametrize(
    ("limit", "status", "remedy"),
    [
        ("-n 40", "problem", "have the hard limit raised: limits.conf(5), or LimitNOFILE=1024"),
        ("-n 256", "warning", "have the hard limit raised"),
        ("-Sn 40", "problem", "ulimit -n 1024 before the start"),
        ("-Sn 1023", "warning", "ulimit -n 1024 before the start"),
        ("-Sn 1024", "ok", None),
    ],
)
def test_the_limit_of_descriptors(site: SitePackages, limit: str, status: str, remedy: str | None) -> None:
    findings = under(site, "/bin/sh", "-c", f'ulimit {limit} && exec "$@"', "sh")
    (finding,) = of(findings, "descriptors")
    assert finding["status"] == status
    assert finding["message"].startswith(f"{limit.split()[1]} descriptors (")
    if remedy is None:
        assert finding["remedy"] is None
    else:
        assert finding["remedy"].startswith(remedy)


def test_threads_that_imports_have_started(doctor: Doctor, site: SitePackages) -> None:
    thread = "threading.Thread(target=threading.Event().wait, daemon=True, name='{}').start()"
    component = HANDLER.format("'busy', 'busy_mod:Busy'")
    busy = UPPER.replace("Upper", "Busy") + "import threading\n" + thread.format("of-the-component")
    site.add(
        "busy",
        "import threading\n" + thread.format("of-the-plugin") + "\n" + component,
        files={"busy_mod.py": busy},
    )
    message, remedy = only(doctor()["fork"], "warning")
    assert "(of-the-plugin, of-the-component)" in message
    assert "--disable-plugin" in remedy


def test_a_temporary_folder_with_a_long_path(doctor: Doctor, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    message, remedy = only(doctor(TMPDIR=str(folder))["temporary_folder"], "warning")
    assert message.startswith(f"{folder} leaves 0 of ")
    assert "shorter" in remedy


def test_a_temporary_folder_that_is_not_there(doctor: Doctor) -> None:
    seen = doctor(TMPDIR="/no/such/folder")["temporary_folder"]
    assert only(seen, "warning")[0].startswith("TMPDIR is /no/such/folder, where no file can be made: ")
    assert [each for each in seen if each[0] == "ok"]
