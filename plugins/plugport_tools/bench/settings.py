"""Settings: how to measure, and how it is done where nothing else is said."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure. ``seconds`` are those of one strategy in all its rounds together.

    ``timeout``: seconds that an answer may take. ``keep_alive``: whether connections are kept if the
    handler does. ``global_options``: those before ``serve``, for the services.
    """

    seconds: float = 2.0
    rounds: int = 3
    connections: int = 16
    timeout: float = 2.0
    keep_alive: bool = True
    global_options: tuple[str, ...] = ()
