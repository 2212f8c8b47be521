"""What is public: what `dir(fsjax)` lists, and `__all__` of its packages; all else says that it is internal."""

import ast
import importlib

import pytest

import fsjax
from tests.documented_commands import ROOT

NAMES = {"Run", "UserError", "__version__", "load_config", "network", "restore", "starter", "train"}
ROOMS = {p.stem: p for p in (ROOT / "fsjax").glob("*.py") if p.stem not in ("__init__", "__main__")}
ROOMS |= {p.parent.name: p for p in (ROOT / "fsjax").glob("*/__init__.py")}
PUBLIC = sorted(set(ROOMS) & set(dir(fsjax)))


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def test_the_names_are_there_and_are_what_they_are_called():
    assert set(fsjax.__all__) == NAMES
    assert set(dir(fsjax)) == NAMES | set(PUBLIC)
    from fsjax.config_file import load_config
    from fsjax.runs import Run, network, restore, starter
    from fsjax.training import run

    assert (fsjax.Run, fsjax.load_config, fsjax.restore, fsjax.starter) == (Run, load_config, restore, starter)
    assert fsjax.network is network
    assert fsjax.train is run
    with pytest.raises(AttributeError, match="has no attribute 'restor'; it has: .*restore.*train"):
        fsjax.restor  # noqa: B018


def test_importing_it_imports_nothing_else(python):
    heavy = ("jax", "flax", "numpy", "ml_collections", "tensorflow", "PIL", "absl")
    code = f"""
import sys, fsjax
dir(fsjax), fsjax.__version__, fsjax.UserError
assert not [name for name in {heavy} if name in sys.modules], sorted(sys.modules)
fsjax.load_config("icu_digits")
assert not [name for name in ("jax", "flax", "tensorflow") if name in sys.modules]
assert fsjax.losses.LOSSES and "tensorflow" not in sys.modules
"""
    python("-c", code)


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_every_module_is_public_or_says_that_it_is_not(name):
    internal = [line for line in docstring(ROOMS[name]).splitlines() if line.startswith("Internal")]
    assert len(internal) == (name not in PUBLIC), f"fsjax.{name}: list it in fsjax/__init__.py, or say 'Internal: ...'"
    for line in internal:
        if name != "cli":  # the command
            named = {word.strip("`,.").removeprefix("fsjax.") for word in line.split() if word.startswith("`fsjax.")}
            assert named <= NAMES


@pytest.mark.parametrize("name", [name for name in PUBLIC if ROOMS[name].name == "__init__.py" and name != "configs"])
def test_a_public_package_lists_what_is_public(name):
    package = getattr(fsjax, name)
    assert package is importlib.import_module(f"fsjax.{name}") and package.__all__
    for public in package.__all__:
        if not hasattr(package, public):
            importlib.import_module(f"fsjax.{name}.{public}")


def test_the_modules_of_evaluation_are_all_listed():
    for folder in (ROOT / "fsjax/evaluation", *sorted((ROOT / "fsjax/evaluation").glob("*/"))):
        if (folder / "__init__.py").exists():
            rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
            package = importlib.import_module(".".join(folder.relative_to(ROOT).parts))
            assert set(package.__all__) == rooms | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def test_a_recipe_is_trained_by_what_is_public(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = fsjax.load_config("icu_digits:smoke")
    config.model.cnn.update(stages=((4,),), dim=4)
    config.train.progress = False
    fsjax.train(config, "run")
    assert isinstance(fsjax.restore("run"), fsjax.Run)
