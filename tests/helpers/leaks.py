"""What a server may leave behind: threads, descriptors, children, socket files. The test kit's own."""

from __future__ import annotations

from plugport_testing.leaks import LeakCheck, has_children, open_files, socket_files

__all__ = ["LeakCheck", "has_children", "open_files", "socket_files"]
