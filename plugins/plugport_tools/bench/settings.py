"""Settings of a benchmark, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a benchmark.

    ``seconds``         duration of all rounds of one strategy together
    ``connections``     number of clients at once
    ``timeout``         seconds that an answer may take
    ``keep_alive``      whether to keep connections that the handler keeps
    ``global_options``  options of ``plugport`` before ``serve``, for the services
    """

    seconds: float = 2.0
    rounds: int = 3
    connections: int = 16
    timeout: float = 2.0
    keep_alive: bool = True
    global_options: tuple[str, ...] = ()
