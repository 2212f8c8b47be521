"""Localization learns from labels alone where real digits are, whose places are known exactly."""

import json

import numpy as np
import pytest

import fsjax
from fsjax.evaluation.papers.localization import box_figures, boxes_of


@pytest.mark.slow
def test_digits_are_found_without_their_boxes(python, tmp_path):
    """A short run on small pictures: a few minutes more, and the config itself, give what the README's results say."""
    options = ("train.steps=300", "train.checkpoint_every=300", "train.progress=False")
    pictures = {"size": 32, "smallest": 15, "largest": 26, "clutter": 4, "train": 2000, "test": 300}
    overrides = [*options, *(f"data.planted.{name}={value}" for name, value in pictures.items())]
    command = ["train.py", "--config=configs/localize_planted.py", f"--workdir={tmp_path / 'run'}"]
    python(*command, *(f"--config.{override}" for override in overrides), optimized=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    restored = fsjax.restore(tmp_path / "run")
    test = restored.splits().test
    boxes = boxes_of(restored.locate(test.images))
    figures = box_figures(boxes, test.boxes)
    assert result["test"]["accuracy"] > 0.5  # of ten classes
    minus = figures["whole"]["predicted_minus"]
    assert minus["mean"] - minus["interval"] > 0.1
    # Not a box that fits all pictures: with the true boxes of other pictures it is far worse.
    others = box_figures(boxes, np.roll(test.boxes, 1, axis=0))
    assert figures["predicted"]["mean"] > others["predicted"]["mean"] + 0.1
