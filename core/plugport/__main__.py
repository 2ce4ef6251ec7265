"""``python -m plugport``: the command line."""

from plugport.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())
