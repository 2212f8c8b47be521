"""`fsjax localize`, called as the shell calls it, in this process."""

import json

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax.cli import main
from fsjax.errors import UserError


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory):
    """The folder of a run of two steps on planted digits."""
    from fsjax.configs.common import base
    from fsjax.training import run

    config = base()
    config.name, config.method.name, config.model.name, config.loss.name = "planted", "localization", "cnn", "softmax"
    config.data.name = "planted"
    config.data.planted.update(size=32, smallest=8, largest=16, clutter=2, train=16, test=12)
    config.model.cnn.stages = ((4,), (6,))
    config.method.localization.update(crop_size=16, att_width=4, att_blocks=1, aff_hidden=4)
    config.train.update(steps=2, batch_size=8, log_every=1, checkpoint_every=2, progress=False)
    folder = tmp_path_factory.mktemp("localize") / "run"
    run(config, folder)
    return folder


def test_boxes_of_the_runs_data_are_compared_with_the_true_ones(planted_run, tmp_path, capsys):
    out, numbers = tmp_path / "boxes.png", tmp_path / "boxes.json"
    arguments = ["localize", str(planted_run), "--count", "3", "--out", str(out), "--json", str(numbers)]
    assert main(arguments) == 0
    printed, found = capsys.readouterr().out, json.loads(numbers.read_text())
    with Image.open(out) as image:
        assert image.size == (1080, 1140)
    run = fsjax.restore(planted_run)
    splits = run.splits()
    assert len(found["boxes"]) == found["images"] == 12
    located = run.locate(splits.test.images)
    np.testing.assert_allclose([line["box"] for line in found["boxes"]], located.box, atol=1e-6)
    true = splits.test.boxes.astype(np.float64)
    area = np.prod(true[:, 2:] - true[:, :2], axis=1)
    assert found["figures"]["whole"]["mean"] == pytest.approx(area.mean(), abs=1e-9)
    assert f"the whole image              IoU {area.mean():.3f}" in printed
    assert "3 of 12 pictures" in printed


@pytest.mark.slow
def test_pictures_of_ones_own(planted_run, tmp_path, capsys):
    """Of any size and kind; names are the files', and boxes are in the pictures, not in their middle squares."""
    rng = np.random.default_rng(0)
    for name, shape in (("<b>.png", (40, 30, 3)), ("grey.png", (32, 32))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    out, numbers = tmp_path / "boxes.png", tmp_path / "boxes.json"
    arguments = ["localize", str(planted_run), "--images", str(tmp_path), "--out", str(out), "--json", str(numbers)]
    assert main(arguments) == 0
    assert "2 of 2 pictures" in capsys.readouterr().out
    found = json.loads(numbers.read_text())
    files = [str(tmp_path / name) for name in ("<b>.png", "grey.png")]
    assert [line["image"] for line in found["boxes"]] == files and "figures" not in found
    tall = np.array(Image.open(files[0]).convert("L").resize((32, 32), Image.Resampling.BILINEAR, box=(0, 5, 30, 35)))
    top, left, bottom, right = fsjax.restore(planted_run).locate(tall[None, ..., None]).box[0]
    expected = [(5 + 30 * top) / 40, left, (5 + 30 * bottom) / 40, right]
    np.testing.assert_allclose(found["boxes"][0]["box"], expected, atol=1e-3)


def test_wrong_arguments(planted_run, few_shot_runs, digits_run, tmp_path, capsys):
    out = str(tmp_path / "boxes.png")
    for arguments, message in (
        ([str(planted_run), "--out", "boxes.jpg"], "the name must end with .png"),
        ([str(planted_run), "--out", out, "--count", "0"], "--count=0 must be at least 1"),
        ([str(planted_run), "--out", out, "--split", "validation"], "have no such part"),
        ([str(planted_run), "--out", out, "--images", "gone.png"], "gone.png is neither a file nor a folder"),
        ([str(planted_run), "--out", out, "--images", out, "--seed", "1"], "--seed chooses pictures of the run's data"),
        ([str(few_shot_runs["gap"]), "--out", out], "was not trained with method 'localization'"),
    ):
        assert main(["localize", *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="finds no boxes"):
        fsjax.restore(digits_run[0]).locate(np.zeros((1, 8, 8, 1), np.uint8))
