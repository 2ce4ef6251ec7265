"""plugport completion, and what it completes."""

from __future__ import annotations

import pytest
from fakes import Run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.returncode == 0
    assert "_PLUGPORT_COMPLETE" in result.stdout


@pytest.mark.usefixtures("my_dist")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plugport serve up", "plain,upper"),
        ("plugport check upper u", "plain,udp\nplain,unix\nplain,unixgram"),
        ("plugport serve upper -c threadi", "plain,threading"),
        ("plugport show my-d", "plain,my-dist:echo"),
        ("plugport --disable-plugin mi", "plain,mine"),
        ("plugport comp", "plain,completion"),
        ("plugport show nets", "plain,netstring"),
        ("plugport list fr", "plain,framings"),
    ],
)
def test_completion_of_names(run: Run, line: str, expected: str) -> None:
    words = line.split()
    result = run(_PLUGPORT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert result.stderr == ""
    assert result.stdout.strip() == expected
