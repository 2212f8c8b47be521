"""`fsjax gates`, called as the shell calls it, in this process."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from fsjax import data
from fsjax.cli import gates, main
from fsjax.methods import build_method
from fsjax.options import read
from fsjax.runs import Run


@pytest.fixture(scope="module")
def aflm_run():
    """A run of AFLM that was not trained, on noise."""
    from fsjax.config_file import load_config

    config = load_config("aflm_tiny:reconstructed,smoke")
    config.data.image_size = config.data.fake.height = config.data.fake.width = 32
    info = data.load_splits(config.data, seed=config.seed).info
    variables = dict(build_method(config, info).init(jax.random.key(0), np.zeros((1, *info.image_shape), np.float32)))
    return Run(Path("runs/aflm"), config, info, 0, variables.pop("params"), variables)


def test_picture_and_numbers(aflm_run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gates, "open_run", lambda args, path: aflm_run)
    out, numbers = tmp_path / "gates.png", tmp_path / "gates.json"
    more = ("--tasks", "30", "--shot", "2", "--query", "3", "--seed", "4")
    assert main(["gates", "runs/aflm", *more, "--out", str(out), "--json", str(numbers)]) == 0
    with Image.open(out) as image:
        assert image.size == (4 * 600, 1040)
    found, printed = json.loads(numbers.read_text()), capsys.readouterr().out
    names = ["gate_global1", "gate_global2", "gate_local1", "gate_local2"]
    assert [gate["gate"] for gate in found["gates"]] == names
    assert (found["tasks"], found["shot"], found["query"], found["seed"], found["step"]) == (30, 2, 3, 4, 0)
    assert found["reconstructed"]["images"] == aflm_run.config.few_shot.reconstructed.images
    # Its means by a pass of its own: all images of novel and base classes, as the encoder sows.
    splits = aflm_run.evaluator().splits
    config = read(data.ReconstructedOptions, aflm_run.config.few_shot.reconstructed, "config.few_shot.reconstructed")
    part = data.reconstruct(splits, "test", config)
    images = data.normalize(data.images_at(part.examples, np.arange(len(part.labels))), aflm_run.info)
    variables = {"params": aflm_run.params["encoder"], "batch_stats": aflm_run.collections["batch_stats"]}
    _, sown = jax.jit(lambda x: aflm_run.method.encoder.apply(variables, x, train=False, mutable=["intermediates"]))(
        images
    )
    for gate in found["gates"]:
        values = np.asarray(sown["intermediates"]["backbone"][gate["gate"]]["gate"][0])
        assert gate["channels"] == values.shape[1]
        assert gate["mean"] == pytest.approx(values.mean(), abs=1e-5)
        assert gate["std_channels"] == pytest.approx(values.mean(0).std(), abs=1e-5)
        assert f"{gate['gate']:14} mean {gate['mean']:.4f}" in printed
    assert found["episodes"] in printed


def test_a_run_without_gates_and_wrong_arguments(few_shot_runs, capsys, tmp_path):
    run = str(few_shot_runs["gap"])
    assert main(["gates", run, "--out", str(tmp_path / "gates.png")]) == 2
    assert "this network has no gates" in capsys.readouterr().err
    assert main(["gates", run, "--out", "gates.jpg"]) == 2
    assert "the name must end with .png" in capsys.readouterr().err
    assert main(["gates", run, "--out", str(tmp_path / "gates.png"), "--tasks", "0"]) == 2
    assert "--tasks=0 must be at least 1" in capsys.readouterr().err
