"""Fixtures for tests of the command line."""

from __future__ import annotations

import pytest
from fakes import SitePackages

HANDLERS = """
import plugport
from plugport import Help
from typing import Annotated

class Upper(plugport.StreamRequestHandler):
    "Send lines back in capitals."
    prefix: Annotated[str, Help("put before each line")] = ""
    def handle(self):
        for line in self.rfile:
            self.wfile.write(self.prefix.encode() + line.upper())

class Tally(plugport.BaseRequestHandler):
    shared_state = True
"""

PLUGIN = """
@plugport.hookimpl
def plugport_register_handlers():
    yield plugport.Component("upper", "my_handlers:Upper", "Send lines back in capitals")
    yield plugport.Component("echo", "my_handlers:Upper", "Not the echo")
"""


@pytest.fixture
def my_dist(site: SitePackages) -> SitePackages:
    site.add("my-dist", PLUGIN, version="2.0", entry_point="mine", files={"my_handlers.py": HANDLERS})
    return site
