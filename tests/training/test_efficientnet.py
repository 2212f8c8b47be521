"""EfficientNet-Lite0 trains from scratch, by its name in a config."""

import json

import numpy as np

import fsjax
from fsjax.training import run


def test_a_small_one_trains_and_is_restored(noise_config, tmp_path):
    config = noise_config(
        "classification",
        model__name="efficientnet_lite0",
        model__efficientnet_lite0__stem_width=4,
        model__efficientnet_lite0__widths=(4, 6),
        model__efficientnet_lite0__blocks=(1, 1),
        model__efficientnet_lite0__head_width=8,
        model__efficientnet_lite0__momentum=0.9,
        train__steps=2,
        train__eval_every=2,
        train__checkpoint_every=2,
        few_shot__classes=("novel",),
    )
    run(config, str(tmp_path / "run"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["training"]["steps"] == 2 and 0 < result["test"]["figures"][0]["accuracy"] < 1
    found = fsjax.restore(tmp_path / "run")
    assert found.embed(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 8)
    stem = found.collections["batch_stats"]["backbone"]["stem"]["bn"]
    assert np.abs(stem["mean"]).max() > 0  # the statistics moved
