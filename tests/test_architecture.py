"""Imports point downwards only and the heavy or frozen ones stay where they belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# For each package: the fsjax packages that it may import.
MAY_IMPORT = {
    "errors": set(),
    "cache_folder": set(),
    "messages": set(),
    "config_file": {"errors", "config", "configs"},
    "configs": {"config"},
    "version": set(),
    "run_folder": {"errors", "files"},
    "files": {"errors"},
    "picture_files": set(),
    "pages": {"errors", "version", "files"},
    "options": {"errors"},
    "losses": {"errors", "options"},
    "models": {"errors", "options", "files"},
    "data": {"errors", "options", "cache_folder", "files", "picture_files"},
    "config": {"errors", "options", "data"},
    "device_data": {"errors", "data"},
    "methods": {"errors", "options", "losses", "models"},
    "evaluation": {"errors", "options", "files", "data", "device_data", "losses", "models", "methods"},
    "labelling": {"errors", "files", "pages", "data", "losses", "models", "methods", "evaluation"},
    "networks": {"errors", "config", "data", "models", "methods"},
    "training": {
        "errors",
        "version",
        "options",
        "config",
        "messages",
        "config_file",
        "cache_folder",
        "files",
        "run_folder",
        "data",
        "device_data",
        "models",
        "methods",
        "networks",
        "evaluation",
    },
    "run_summary": {"errors", "data", "methods", "evaluation", "pages", "run_folder"},
    "runs": {"errors", "data", "methods", "evaluation", "networks", "training", "run_folder", "run_summary"},
    "benchmarking": {"errors", "config", "version", "files", "data", "methods", "evaluation", "training", "runs"},
    "cli": {
        "errors",
        "version",
        "files",
        "messages",
        "options",
        "config",
        "config_file",
        "data",
        "methods",
        "evaluation",
        "labelling",
        "networks",
        "training",
        "runs",
        "benchmarking",
        "report",
        "export",
    },
    "report": {
        "errors",
        "options",
        "files",
        "config_file",
        "configs",
        "pages",
        "data",
        "methods",
        "evaluation",
        "run_folder",
        "runs",
    },
    "exported": {"picture_files"},
    "export": {"errors", "files", "version", "data", "models", "methods", "runs", "labelling", "exported"},
    "__main__": {"cli"},
    "__init__": {"errors", "version", "config_file", "runs", "training"},
}


def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # a package that is copied into exports has another name there
                assert node.level == 1 and path.parent.name == "exported", f"{path}: relative import"
                continue
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def package_of(path: Path) -> str:
    return path.relative_to(ROOT / "fsjax").parts[0].removesuffix(".py")


MODULES = sorted((ROOT / "fsjax").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = package_of(path)
    assert own in MAY_IMPORT, f"a new room {own!r}: say in MAY_IMPORT what it may import"
    parts = [name.split(".") for name in imports(path)]
    used = {p[1] for p in parts if p[0] == "fsjax" and len(p) > 1}
    rooms = {package_of(module) for module in MODULES}
    assert (used & rooms) - {own} <= MAY_IMPORT[own]


def test_heavy_packages_stay_in_their_rooms():
    for path in MODULES:
        used = {name.split(".")[0] for name in imports(path)}
        where = str(path.relative_to(ROOT / "fsjax"))
        if where.startswith(("data/", "options/", "config")):
            assert not used & {"jax", "flax", "optax"}, f"{where}: data and options never import jax"
        if not where.startswith("data/"):
            assert not used & {"tensorflow", "tensorflow_datasets"}, f"{where}: TensorFlow is for data only"
        if where != "training/checkpoints.py":
            assert "orbax" not in used, f"{where}: one module imports orbax"
        if where != "models/pretrained/legacy_torch.py":  # an unpickler that knows four names, of one known file
            assert not used & {"pickle", "dill", "cloudpickle"}, f"{where}: nothing is pickled"
    for path in (ROOT / "configs").glob("*.py"):
        allowed = ("ml_collections", "fsjax.configs", "fsjax.config")
        used = {name for name in imports(path) if not name.startswith(allowed)}
        assert not used, f"{path.name}: configs import ml_collections, the options and one another only"


def test_every_package_is_reached_by_the_test():
    assert {package_of(path) for path in MODULES} == set(MAY_IMPORT)
