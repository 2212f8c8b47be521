"""The example plug-in of docs/adding.md: trained with and used; and a run that names a module does not import it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import fsjax
from fsjax import cli
from fsjax.errors import UserError
from fsjax.evaluation.chosen_metrics import chosen
from fsjax.options import table


@pytest.fixture
def example(root, monkeypatch):
    """The folder of the example; what it adds is taken away again."""
    folder = root / "docs" / "example_plugin"
    monkeypatch.syspath_prepend(folder)
    yield folder
    for kind in table.KINDS:
        table._ADDED[kind].clear()
    for name in [name for name in sys.modules if name.startswith("fsjax_example")]:
        del sys.modules[name]


def test_the_example_s_formulas(example):
    from fsjax_example.losses import poly1
    from fsjax_example.metrics import median_class_accuracy

    logits, labels = np.array([[2.0, 0.0, 1.0], [0.0, 0.5, 0.0]], np.float32), np.array([0, 2])
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = share[[0, 1], labels]
    np.testing.assert_allclose(poly1(logits, labels, epsilon=2.0), -np.log(right) + 2 * (1 - right), rtol=1e-6)
    sums = {"correct": np.array([1, 0, 2, 0]), "count": np.array([4, 0, 2, 5])}
    assert median_class_accuracy(sums, None) == 0.25


def test_metrics_by_name():
    sums = {"correct": np.array([1, 4, 0]), "count": np.array([4, 4, 0])}
    found = chosen(("worst_class_accuracy", "geometric_mean_accuracy"), sums, None)
    assert found == {"worst_class_accuracy": 0.25, "geometric_mean_accuracy": pytest.approx(0.5)}
    assert chosen(("geometric_mean_accuracy",), {"correct": [0, 1], "count": [1, 1]}, None) == {
        "geometric_mean_accuracy": 0
    }
    with pytest.raises(UserError, match="unknown metric.*'worst'; known: .*worst_class_accuracy"):
        chosen(("worst",), sums, None)


@pytest.fixture
def trained(example, tmp_path):
    assert (
        cli.main(["train", f"{example}/stripes.py", "--plugin=fsjax_example.options", f"--workdir={tmp_path / 'run'}"])
        == 0
    )
    return tmp_path / "run"


def test_a_run_says_what_it_had_of_a_plug_in_and_imports_nothing(trained, tmp_path, capsys, monkeypatch):
    result = json.loads((trained / "result.json").read_text())
    assert result["test"]["accuracy"] > 0.9 and result["test"]["median_class_accuracy"] > 0.9  # 1/4 by chance
    assert set(result["machine"]["plugins"]) == {
        "losses poly1", "models patches", "methods nearest", "sources stripes", "metrics median_class_accuracy"
    }  # fmt: skip
    config = json.loads((trained / "config.json").read_text())
    assert config["loss"]["poly1"] == {"epsilon": 2.0} and config["model"]["patches"]["width"] == 48
    assert fsjax.restore(trained).method.rule({}).similarity == "squared_euclid"

    for kind in table.KINDS:
        table._ADDED[kind].clear()
    loaded = [name for name in sys.modules if name.startswith("fsjax_example")]
    for name in loaded:
        del sys.modules[name]
    capsys.readouterr()
    for line in (["evaluate"], ["export", f"--out={tmp_path / 'out'}"], ["geometry"]):
        assert cli.main([line[0], str(trained), *line[1:]]) == 2, line
        said = capsys.readouterr().err
        assert "its method 'nearest' is not here; when it was trained, the module fsjax_example.options (" in said
        assert said.count("\n") == 1
    with pytest.raises(UserError, match="install the package that has it, or give its module by --plugin"):
        fsjax.restore(trained)
    assert not [name for name in sys.modules if name.startswith("fsjax_example")]  # though it is on the path
    assert cli.main(["evaluate", str(trained), "--plugin", "fsjax_example.options"]) == 0
    assert "median_class_accuracy 1.0000" in capsys.readouterr().out


@pytest.mark.slow
def test_the_example_is_installed_and_used(root, tmp_path):
    """As a user does: pip install, train, evaluate, predict, export, each a process of its own."""
    source = shutil.copytree(root / "docs" / "example_plugin", tmp_path / "source")  # pip builds in the folder
    place = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(source)]
    subprocess.run(pip, check=True, capture_output=True)

    def fsjax_(*line, status=0, path=place):
        import os

        env = {**os.environ, "PYTHONPATH": str(path)}
        done = subprocess.run(
            [sys.executable, "-m", "fsjax", *line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    fsjax_("train", "source/stripes.py", "--workdir=run", "--config.loss.poly1.epsilon=1.5")
    assert "epsilon = 1.5  (flag)" in fsjax_("config", "source/stripes.py", "loss", "--config.loss.poly1.epsilon=1.5")
    machine = json.loads((tmp_path / "run" / "result.json").read_text())["machine"]
    assert machine["plugins"]["losses poly1"] == "fsjax-example 0.1"
    assert "median_class_accuracy" in fsjax_("evaluate", "run")
    _pictures(tmp_path)
    fsjax_("predict", "--run=run", "--support=few", "--query=many", "--out=labels")
    rows = (tmp_path / "labels" / "predictions.csv").read_text().splitlines()[1:]
    assert sum(row.split(",")[1] == row.split("-")[0] for row in rows) >= 10 and len(rows) == 12  # 4 by chance
    fsjax_("export", "run", "--out=out")
    plain = subprocess.run(
        [sys.executable, "out", "many/across-0.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "across" in plain.stdout  # without the plug-in
    said = fsjax_("evaluate", "run", status=2, path=tmp_path)
    assert "its method 'nearest' is not here; when it was trained, fsjax-example 0.1 had it" in said


def _pictures(folder):
    """Stripes of three kinds, drawn here: two labelled ones of each, and four to label."""
    from PIL import Image

    y, x = np.mgrid[:16, :16]
    phases = np.random.default_rng(5).uniform(0, 6, 6)
    for name, steps in {"across": y, "upright": x, "falling": x + y}.items():
        for number, phase in enumerate(phases):
            pixels = (128 + 60 * np.sin(0.9 * steps + phase)).astype(np.uint8)
            file = (
                folder / "few" / name / f"{number}.png" if number < 2 else folder / "many" / f"{name}-{number - 2}.png"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
