"""`fsjax export`, called as the shell calls it, in this process."""

import csv

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax.cli import main
from fsjax.exported import load


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Class folders of grey pictures, of which one cannot be read."""
    folder, rng = tmp_path_factory.mktemp("pictures") / "my birds", np.random.default_rng(0)
    for name in ("crane", "heron ü"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(folder / name / f"{number}.png")
    (folder / "crane" / "broken.jpg").write_bytes(b"nothing")
    return folder


def test_the_runs_own_classes(digits_run, tmp_path, capsys):
    from fsjax import data

    assert main(["export", str(digits_run[0]), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "10 classes, by the rule of the run's loss" in printed and "features.jaxexport" in printed
    run, model = fsjax.restore(digits_run[0]), load(tmp_path / "out")
    images = data.load_splits(run.config.data, seed=0).test.images[:40]
    np.testing.assert_allclose(model.scores(images), run.logits(images), rtol=1e-4, atol=1e-4)
    assert model.predict(images).tolist() == [run.class_names[i] for i in run.predict(images)]
    assert model.facts["run"] == {"name": run.config.name, "method": "classification", "step": run.step}


def test_classes_of_pictures(digits_run, birds, tmp_path, capsys):
    arguments = ["--support", str(birds), "--platforms", "cpu", "--batch-size", "2", "--reject", "--head", "prototypes"]
    assert main(["export", str(digits_run[0]), "--out", str(tmp_path / "out"), *arguments]) == 3
    printed = capsys.readouterr().out
    assert "2 classes, others can be added" in printed and "left out, as it cannot be read: crane/broken.jpg" in printed
    assert "none of these: below similarity" in printed and "of 4 support pictures, each left out" in printed
    model = load(tmp_path / "out")
    model.facts["rule"]["threshold"] = None
    assert model.counts == {"crane": 2, "heron ü": 2} and model.facts["platforms"] == ["cpu"]
    files = [birds / name / f"{number}.png" for name in ("crane", "heron ü") for number in (0, 1)]
    images = model.open_pictures(files)
    few = fsjax.restore(digits_run[0]).few_shot(images, ["crane"] * 2 + ["heron ü"] * 2, images)
    assert model.predict(images).tolist() == few.tolist()


def test_a_head_goes_along(digits_run, birds, tmp_path, capsys):
    arguments = ["--support", str(birds), "--platforms", "cpu", "--head", "ridge"]
    assert main(["export", str(digits_run[0]), "--out", str(tmp_path / "out"), *arguments]) == 3
    printed = capsys.readouterr().out
    assert "2 classes, none can be added: others go with --head prototypes" in printed and "head: ridge" in printed
    assert printed.startswith("warning: of 4 support pictures left out")  # they are noise
    predict = [
        "predict",
        "--run",
        str(digits_run[0]),
        "--support",
        str(birds),
        "--query",
        str(birds),
        "--head",
        "ridge",
    ]
    assert main([*predict, "--out", str(tmp_path / "labels")]) == 3
    lines = list(csv.DictReader((tmp_path / "labels" / "predictions.csv").read_text("utf-8").splitlines()))
    readable = [line for line in lines if line["label"]]
    model = load(tmp_path / "out")
    images = model.open_pictures([birds / line["file"] for line in readable])
    assert model.predict(images).tolist() == [line["label"] for line in readable]
    shares = [float(line["probability"]) for line in readable]
    np.testing.assert_allclose(model.probabilities(images).max(axis=1), shares, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--support", "nowhere"], "nowhere"),
        (["--implants"], "--support"),
        (["--head", "ridge"], "the head 'ridge' is fitted on the pictures of --support"),
        (["--head", "svm"], "--head"),
        (["--platforms", "gpu"], "unknown platform 'gpu'; known: cpu, cuda, rocm, tpu"),
        (["--batch-size", "0"], "--batch-size=0"),
        (["--reject"], "chosen on the pictures of --support"),
        (["--reject", "nan"], "reject=nan must be a number"),
        (["--reject", "0.5"], "scored by the rule of its loss"),
    ],
)
def test_what_the_user_can_set_right(digits_run, tmp_path, capsys, arguments, words):
    assert main(["export", str(digits_run[0]), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_implants_need_a_resnet12(digits_run, birds, tmp_path, capsys):
    arguments = ["--support", str(birds), "--implants"]
    assert main(["export", str(digits_run[0]), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "resnet12" in capsys.readouterr().err


def test_no_run_there(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no checkpoint in" in capsys.readouterr().err
