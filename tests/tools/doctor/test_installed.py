"""Checks of plugins, components and their requirements."""

from __future__ import annotations

import pytest
from diagnosed import HANDLER, UPPER, Doctor, only
from fakes import SitePackages

from plugport.plugin.manager import Plugins
from plugport.plugin.registry import Registry
from plugport_tools.doctor.deployment import Deployment
from plugport_tools.doctor.installed import plugins


def test_names_that_are_taken(doctor: Doctor, site: SitePackages) -> None:
    site.add("shady", HANDLER.format("'echo', 'upper_mod:Upper'"), files={"upper_mod.py": UPPER})
    for name in ("one", "two"):
        site.add(name, HANDLER.format("'same', 'upper_mod:Upper'"))
    seen = doctor()["components"]
    assert [each for each in seen if each[0] != "ok"] == [
        ("warning", "handler 'same' of one: two has one of this name too", "use one:same"),
        ("warning", "handler 'echo' of shady: the name is a built-in's", "use shady:echo"),
        ("warning", "handler 'same' of two: one has one of this name too", "use two:same"),
    ]


def test_components_that_can_not_be_had(doctor: Doctor, site: SitePackages) -> None:
    site.add("lost", HANDLER.format("'lost', 'no_such_module:Upper'"))
    site.add("windy", HANDLER.format("'windy', 'a:b', unavailable='needs a sail'"))
    seen = doctor()["components"]
    message, remedy = only(seen, "problem")
    assert message == "handler 'lost' of lost: handler 'lost': no module named 'no_such_module'"
    assert remedy == "repair or upgrade lost"
    assert only(seen, "warning") == ("handler 'windy' of windy: needs a sail", "use another handler")


def test_without_an_installed_plugport_there_is_nothing_to_serve() -> None:
    (finding,) = plugins(Deployment(Registry(Plugins())))
    assert finding.status == "problem"
    assert "not installed" in finding.message


def test_version_conflicts(doctor: Doctor, site: SitePackages) -> None:
    site.add("ahead", requires=["plugport>=99", "Pluggy<1", 'nothing>1; sys_platform == "nowhere"'])
    seen = doctor()["requirements"]
    assert [each for each in seen if each[0] == "problem"] == [
        (
            "problem",
            f"ahead 1.0 needs plugport>=99, and {version('plugport')} is installed",
            "pip install 'plugport>=99'",
        ),
        (
            "problem",
            f"ahead 1.0 needs Pluggy<1, and {version('pluggy')} is installed",
            "pip install 'Pluggy<1'",
        ),
    ]
    assert not [each for each in seen if each[0] == "ok" and each[1].startswith("ahead")]


def version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def test_requirements_of_requirements_and_of_extras(doctor: Doctor, site: SitePackages) -> None:
    site.add("top", requires=["middle[more]", "content>=1.0a1,!=2"])
    site.add(
        "middle",
        None,
        requires=["absent-1", "absent-2; extra == 'more'", "absent-3; extra == 'other'", "top"],
    )
    site.add("content", None, version="1.0a2")
    seen = doctor()["requirements"]
    assert [message for status, message, _ in seen if status == "problem"] == [
        "middle 1.0 needs absent-1, and it is not installed",
        "middle 1.0 needs absent-2, and it is not installed",
    ]
    assert ("ok", "top 1.0 has middle 1.0, content 1.0a2", "") in seen


def test_a_requirement_that_is_none(doctor: Doctor, site: SitePackages) -> None:
    site.add("odd", requires=["no such thing"])
    site.add("older", None, version="of-yore")
    site.add("newer", requires=["older>=1"])
    problems = [message for status, message, _ in doctor()["requirements"] if status == "problem"]
    assert problems == [
        "newer 1.0 needs older>=1, and of-yore is installed",
        "odd 1.0 needs 'no such thing', which is no requirement",
    ]


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("no-such-dist", "needs no-such-dist, and it is not installed"),
        ("pluggy>=1,<1.1", "needs pluggy<1.1,>=1, and"),
        ("helper[more]", "helper 1.0 needs no-such-dist, and it is not installed"),
    ],
)
def test_components_that_need_more(
    doctor: Doctor, site: SitePackages, requirement: str, message: str
) -> None:
    site.add("helper", None, requires=["no-such-dist; extra == 'more'"])
    site.add(
        "needy",
        HANDLER.format(f"'needy', 'upper_mod:Upper', requires=({requirement!r},)"),
        files={"upper_mod.py": UPPER},
    )
    seen = doctor()
    told, remedy = only(seen["requirements"], "warning")
    assert message in told
    assert remedy.startswith("pip install ")
    assert [status for status, _, _ in seen["components"]] == ["ok"]
