"""Combinations of server, strategy and handler: verdicts, composition, options."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.combination.framings import assign_framing, choose_framing, parse_framing
    from plugport.combination.options import (
        Option,
        Part,
        UnknownOptionError,
        assign_options,
        collect,
        parse_options,
        parse_own,
    )
    from plugport.combination.plugin_options import assign_plugin_options, is_plugin_key, parse_plugin_options
    from plugport.combination.verdicts import MatrixRow, Verdict, check, compose, is_strategy, matrix
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.combination.framings": (
                "assign_framing",
                "choose_framing",
                "parse_framing",
            ),
            "plugport.combination.options": (
                "Option",
                "Part",
                "UnknownOptionError",
                "assign_options",
                "collect",
                "parse_options",
                "parse_own",
            ),
            "plugport.combination.plugin_options": (
                "assign_plugin_options",
                "is_plugin_key",
                "parse_plugin_options",
            ),
            "plugport.combination.verdicts": (
                "MatrixRow",
                "Verdict",
                "check",
                "compose",
                "is_strategy",
                "matrix",
            ),
        },
    )

__all__ = [
    "MatrixRow",
    "Option",
    "Part",
    "UnknownOptionError",
    "Verdict",
    "assign_framing",
    "assign_options",
    "assign_plugin_options",
    "check",
    "choose_framing",
    "collect",
    "compose",
    "is_plugin_key",
    "is_strategy",
    "matrix",
    "parse_framing",
    "parse_options",
    "parse_own",
    "parse_plugin_options",
]
