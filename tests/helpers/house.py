"""The rules of the source tree, counted by reading it: ``python tests/helpers/house.py`` prints the figures.

Each function that is a rule returns its offenders, each as ``path:line: what``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from house_names import foreign_private_names, name_comparisons, replaced_methods
from sources import ALL, CONTRIB, CORE, PLUGINS, ROOT, Module, imports_of, methods_of

__all__ = [
    "ANY_LIMITS",
    "MOST_ENTRIES",
    "RULES",
    "any_shares",
    "circles",
    "contrib_in_core",
    "disagreeing_faces",
    "imports_past_faces",
    "imports_upwards",
    "top_entries",
]

#: Entries that core/plugport may have at its top.
MOST_ENTRIES = 14

#: The floors of the core, from the ground up; a room imports from its own floor and from those below.
FLOORS = (
    ("errors", "contracts", "_lazy"),
    ("loop", "transports", "handlers"),
    ("bridges",),
    ("serving",),
    ("plugin",),
    ("combination",),
    ("cli",),
    ("__main__", ""),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

#: What authors of components and plugins import.
FACES = {
    "plugport",
    "plugport.cli",
    "plugport.contracts",
    "plugport.errors",
    "plugport.handlers",
    "plugport.serving",
    "plugport.transports",
}
#: What these packages import besides.
MORE_FACES = {"plugport.plugin", "plugport.combination"}
INSIDERS = {"plugport_run", "plugport_testing", "plugport_tools"}

#: The share of parameters that may be annotated with Any, by the folder of the source.
ANY_LIMITS = {"core": 0.05, "plugins": 0.08, "contrib/plugport-http/src": 0.10}


# Imports --------------------------------------------------------------------------------------


def _imported_modules(name: str) -> Iterator[tuple[ast.stmt, str]]:
    """The modules that a module imports; a package only where no module of it is meant."""
    for node, module, attribute in imports_of(name):
        submodule = f"{module}.{attribute}"
        yield node, submodule if attribute is not None and submodule in ALL else module


def _room_of(name: str) -> str:
    return name.partition(".")[2].partition(".")[0]


def top_entries() -> list[str]:
    """What lies at the top of core/plugport."""
    entries = {path.name for path in (ROOT / "core" / "plugport").iterdir()}
    return sorted(entries - {"__pycache__"})


def imports_upwards() -> list[str]:
    """Imports of the core from a floor above, or from what is not the core's."""
    found = []
    for name, module in CORE.items():
        for node, imported in _imported_modules(name):
            if imported.partition(".")[0] == "plugport":
                if FLOOR_OF[_room_of(imported)] > FLOOR_OF[_room_of(name)]:
                    found.append(module.at(node, f"{name} imports {imported} from a floor above"))
            elif imported.startswith("plugport"):
                found.append(module.at(node, f"{name} imports {imported}, a plugin's package"))
    return found


def circles() -> list[str]:
    """Circles of imports, each as a chain of names."""
    graph = {name: {to for _, to in _imported_modules(name) if to in ALL} - {name} for name in ALL}
    found = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            chain = error.args[1]
            found.append(" -> ".join(chain))
            # Each next one is another: this one is cut where it closes. The graph is of predecessors.
            graph[chain[1]].discard(chain[0])
        else:
            return found


def imports_past_faces() -> list[str]:
    """Imports of plugins and contrib from what is below the faces, or from each other's insides."""
    found = []
    for name, module in (PLUGINS | CONTRIB).items():
        faces = FACES | (MORE_FACES if module.top in INSIDERS else set())
        for node, imported in _imported_modules(name):
            top = imported.partition(".")[0]
            if top == "plugport":
                if imported not in faces:
                    found.append(module.at(node, f"imports {imported}, which is no face"))
            elif top.startswith("plugport_") and top not in (module.top, "plugport_builtins"):
                found.append(module.at(node, f"imports {imported}"))
        for node, imported, attribute in imports_of(name):
            if imported in faces and (attribute or "").startswith("_"):
                found.append(module.at(node, f"imports {imported}.{attribute}"))
    return found


# Faces ----------------------------------------------------------------------------------------


def disagreeing_faces() -> list[str]:
    """Packages whose lazy names, imports for type checkers and ``__all__`` are not the same."""
    found = []
    for module in ALL.values():
        calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
        for call in calls:
            if not (isinstance(call.func, ast.Name) and call.func.id == "lazy" and len(call.args) == 2):
                continue
            lazy = {
                (place, name) for place, names in ast.literal_eval(call.args[1]).items() for name in names
            }
            typed = {
                (node.module, alias.asname or alias.name)
                for block in module.tree.body
                if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
                for node in block.body
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plugport")
                for alias in node.names
            }
            found += [module.at(call, f"{place}.{name} is only lazy") for place, name in lazy - typed]
            found += [module.at(call, f"{place}.{name} is only typed") for place, name in typed - lazy]
            public = _public_names(module)
            names = {name for _, name in lazy}
            own = _names_defined_at_the_top(module)
            found += [module.at(call, f"{name} is not in __all__") for name in names - public]
            found += [module.at(call, f"{name} is in __all__ alone") for name in public - names - own]
    return sorted(found)


def _public_names(module: Module) -> set[str]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _names_defined_at_the_top(module: Module) -> set[str]:
    found = set()
    for node in module.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


# Contrib by name ------------------------------------------------------------------------------


def contrib_in_core() -> list[str]:
    """Places where the core names a distribution, package or component of contrib."""
    distributions = {path.name for path in ROOT.glob("contrib/plugport-*")}
    components = {
        node.args[0].value
        for module in CONTRIB.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "Component"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    names = distributions | {name.replace("-", "_") for name in distributions}
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(names))})\b")
    found = []
    for module in CORE.values():
        for number, line in enumerate(module.path.read_text().splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{module.path.relative_to(ROOT)}:{number}: names {match[0]}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and node.value in components:
                found.append(module.at(node, f"names the component {node.value!r}"))
    return found


# Any ------------------------------------------------------------------------------------------


def _parameters(tree: ast.AST) -> Iterator[ast.arg]:
    methods = methods_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args
            positional = [*arguments.posonlyargs, *arguments.args]
            yield from positional[1:] if node in methods else positional
            yield from arguments.kwonlyargs
            yield from (each for each in (arguments.vararg, arguments.kwarg) if each is not None)


def _has_any(annotation: ast.expr | None) -> bool:
    return annotation is not None and bool(re.search(r"\bAny\b", ast.unparse(annotation)))


def any_shares() -> dict[str, tuple[int, int, list[str]]]:
    """By the folder of the source: how many parameters have Any, of how many, and where."""
    found = {}
    for folder in ("core", "plugins", *(f"contrib/{path.parent.name}/src" for path in _contrib_sources())):
        places, total = [], 0
        for module in ALL.values():
            if module.path.is_relative_to(ROOT / folder):
                for parameter in _parameters(module.tree):
                    total += 1
                    if _has_any(parameter.annotation):
                        places.append(module.at(parameter, ast.unparse(parameter)))
        found[folder] = len(places), total, places
    return found


def _contrib_sources() -> list[Path]:
    return sorted(ROOT.glob("contrib/*/src"))


# The report -----------------------------------------------------------------------------------

RULES: dict[str, Callable[[], list[str]]] = {
    "imports upwards": imports_upwards,
    "circles": circles,
    "imports past the faces": imports_past_faces,
    "faces that disagree": disagreeing_faces,
    "contrib named in core": contrib_in_core,
    "private names of others": foreign_private_names,
    "comparisons of names": name_comparisons,
    "replaced methods": replaced_methods,
}


def _report(arguments: Iterable[str]) -> int:
    """Print the figures, and the offenders of the rules that are named or, by default, of all."""
    wanted = set(arguments)
    failed = False
    print(f"entries at the top of core/plugport: {len(top_entries())} (at most {MOST_ENTRIES})")
    for folder, (count, total, places) in any_shares().items():
        limit = ANY_LIMITS.get(folder)
        share = count / total if total else 0.0
        failed |= limit is not None and share > limit
        of = f", at most {limit:.0%}" if limit is not None else ""
        print(f"Any in {folder}: {count} of {total} parameters, {share:.1%}{of}")
        if "any" in wanted:
            print(*(f"    {place}" for place in places), sep="\n")
    for name, rule in RULES.items():
        offenders = rule()
        failed |= bool(offenders)
        print(f"{name}: {len(offenders)}")
        if not wanted or name in wanted:
            print(*(f"    {offender}" for offender in offenders), sep="\n", end="\n" if offenders else "")
    return int(failed or len(top_entries()) > MOST_ENTRIES)


if __name__ == "__main__":
    sys.exit(_report(sys.argv[1:]))
