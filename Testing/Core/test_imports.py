"""The walls of the house: imports point down, the library knows no Slicer, parts load light."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import MISSUCore

PACKAGE = Path(MISSUCore.__file__).parent
# The rooms from the ground up: a room imports only rooms below it.
ROOMS = (
    "core",
    "contract",
    "network",
    "io",
    "sequences",
    "preprocessing",
    "models",
    "evaluation",
    "measurement",
    "reporting",
    "inference",
    "cohorts",
    "export",
    "visits",
    "simulation",
    "training",
    "finetuning",
    "cli",
    "__main__",
)


def modules() -> dict[str, Path]:
    """Path of every module of the library, by its name without the library's."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported_names(module: str) -> set[str]:
    """Full names of all that a module imports, at its top or inside a function."""
    path = MODULES[module]
    package = ["MISSUCore", *filter(None, module.split("."))]
    if path.name != "__init__.py":
        package = package[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*start, *filter(None, [node.module])])
            names.update(f"{source}.{alias.name}" for alias in node.names)
    return names


def inner_imports(module: str) -> set[str]:
    """Modules of the library that a module imports; a name inside a module stands for it."""
    found = set()
    for name in imported_names(module):
        library, _, inner = name.partition(".")
        if library == "MISSUCore":
            found.add(inner if inner in MODULES else inner.rpartition(".")[0])
    return found - {""}


def room(module: str) -> str:
    """The part of the library right below its top that a module belongs to."""
    return module.split(".")[0]


def test_the_imports_are_read_right() -> None:
    assert inner_imports("network.transunet") == {
        "contract.network_config",
        "network.blocks",
        "network.multiscale_fusion",
    }
    assert inner_imports("contract.labels") == {
        "contract.terminology",
        "core.errors",
        "core.files",
        "core.serialization",
    }
    assert "torch.nn" in imported_names("network.transunet")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_imported_is_there(module: str) -> None:
    """Also what a function imports, or a module that no other test loads."""
    for name in imported_names(module):
        source = name.rpartition(".")[0]
        if source.startswith("MISSUCore."):
            assert source.removeprefix("MISSUCore.") in MODULES, f"there is no {source}"


@pytest.mark.parametrize("module", sorted(filter(None, MODULES)))
def test_imports_point_down(module: str) -> None:
    assert room(module) in ROOMS, f"give {room(module)} a floor in this test"
    for lower in inner_imports(module):
        if room(lower) != room(module):
            assert ROOMS.index(room(lower)) < ROOMS.index(room(module)), f"imports {lower}"


def test_there_are_no_circles() -> None:
    graph = {module: inner_imports(module) for module in MODULES}
    TopologicalSorter(graph).prepare()
    rooms: dict[str, set[str]] = {}
    for module, lower in graph.items():
        rooms.setdefault(room(module), set()).update(map(room, lower))
    TopologicalSorter({name: lower - {name} for name, lower in rooms.items()}).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_the_library_knows_no_slicer(module: str) -> None:
    imported = {name.split(".")[0] for name in imported_names(module)}
    assert not imported & {"slicer", "qt", "ctk", "vtk"}


def printed(program: str) -> str:
    """What a program prints in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_what_the_slicer_module_imports_loads_light() -> None:
    light = sorted(name for name in MODULES if room(name) in ("core", "contract"))
    assert len(light) > 6
    program = (
        "import sys, importlib\n"
        f"for name in {light}: importlib.import_module('MISSUCore.' + name)\n"
        "print(sorted({'torch', 'SimpleITK', 'scipy'} & set(sys.modules)))"
    )
    assert printed(program) == "[]"


def test_a_case_is_drawn_with_what_slicer_has() -> None:
    """As for the module's sample, before torch is installed."""
    program = (
        "import sys\n"
        "for name in ('torch', 'nilearn', 'pydicom', 'matplotlib'): sys.modules[name] = None\n"
        "from MISSUCore.simulation.anatomy import drawn_brain\n"
        "from MISSUCore.simulation.case import simulate_case\n"
        "case = simulate_case(spacing_mm=6.0, anatomy=drawn_brain)\n"
        "print(*case.images)"
    )
    assert printed(program) == "t1 t1ce t2 flair"
