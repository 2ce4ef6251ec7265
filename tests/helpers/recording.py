"""Hooks that keep a record of their calls."""

from __future__ import annotations

from typing import Any

from plugport.contracts.hooks import SERVER_HOOKS, ServerHooks


class Recorder:
    """Implements every hook of a server, by noting down that it was called.

    ``calls``: pairs (hook, its arguments), in their order. ``verdict``: what verify_request answers.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.verdict: bool | str = True
        self.hooks = ServerHooks(**{name: self._note(name) for name in SERVER_HOOKS})

    def _note(self, name: str) -> Any:
        def hook(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return self.verdict if name == "verify_request" else None

        return hook

    def of(self, *names: str) -> list[dict[str, Any]]:
        """The arguments of the calls of these hooks."""
        return [arguments for name, arguments in self.calls if name in names]

    @property
    def requests(self) -> list[str]:
        """The names of the request_* hooks that were called, less that prefix."""
        return [name.removeprefix("request_") for name, _ in self.calls if name.startswith("request_")]

    @property
    def outcomes(self) -> list[str | None]:
        """The outcomes of the requests that have finished."""
        return [call["context"].outcome for call in self.of("request_finished")]
