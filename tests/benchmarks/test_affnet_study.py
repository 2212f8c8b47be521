"""The pieces of the study of AffNet, at sizes of seconds."""

import json
from functools import partial

import jax
import numpy as np
import pytest

from benchmarks.studies import affnet as study
from fsjax.errors import UserError
from fsjax.methods.localization import Localization
from fsjax.models.theta_networks import THETA_NETWORKS

TINY = [
    "--networks", "affnet", "ffnn", "--train-maps", "64", "--test-maps", "20", "--repeats", "1",
    "--steps", "affnet=3", "ffnn=2", "--batch", "affnet=16", "ffnn=8",
]  # fmt: skip


def box_by_hand(one, tau):
    """Scales and translations of the box around the values above tau, by its rows and columns."""
    above = (one - one.min()) / (one.max() - one.min()) > tau
    rows, columns = np.nonzero(above)
    found = []
    for places, size in ((columns, one.shape[1]), (rows, one.shape[0])):
        low, high = places.min() / size, (places.max() + 1) / size
        found.append((high - low, low + high - 1))
    return [found[0][0], found[1][0], found[0][1], found[1][1]]


def test_synthetic_maps_are_positive_repeatable_and_of_many_boxes():
    maps = study.synthetic_maps(200, seed=0)
    assert maps.shape == (200, 14, 14) and maps.dtype == np.float32 and maps.min() > 0
    np.testing.assert_array_equal(maps, study.synthetic_maps(200, seed=0))
    assert not np.array_equal(maps, study.synthetic_maps(200, seed=1))
    boxes = np.array([box_by_hand(one, study.TAU) for one in maps])
    low, high = np.quantile(boxes[:, :2], [0.05, 0.95])
    assert 0.1 < low and high < 0.95  # neither one cell nor all of the map
    assert len(np.unique(boxes.round(4), axis=0)) > 150 and boxes[:, 2:].std(0).min() > 0.2


def test_scores_are_the_loops():
    maps = study.synthetic_maps(30, seed=2)
    theta = np.random.default_rng(0).normal([0.5, 0.5, 0, 0], 0.2, (30, 4))
    targets = np.array([box_by_hand(one, study.TAU) for one in maps])
    theta[:12] = targets[:12] + 0.01  # some are nearly right
    theta[0, 0] = 3.0  # and one is far off
    losses, ious = [], []
    for found, target in zip(theta, targets, strict=True):
        losses += [d * d / 2 if d < 1 else d - 0.5 for d in np.abs(found - target)]
        overlap, areas = 1.0, [1.0, 1.0]
        for axis in range(2):
            ends = [(box[2 + axis] - abs(box[axis]), box[2 + axis] + abs(box[axis])) for box in (found, target)]
            overlap *= max(0, min(e[1] for e in ends) - max(e[0] for e in ends))
            areas = [area * (high - low) for area, (low, high) in zip(areas, ends, strict=True)]
        ious.append(overlap / (sum(areas) - overlap))
    expected = {"sl1": np.mean(losses), **{f"iou_{t}": np.mean(np.array(ious) > t) for t in (0.8, 0.95)}}
    assert expected["iou_0.8"] > 0
    assert study.scores(theta, maps) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_training_leaves_the_identity_behind():
    """AffNet's error after 150 steps, against that of the whole image, with which it begins."""
    maps = study.synthetic_maps(256, seed=0)
    network = THETA_NETWORKS["affnet"](prep=True, hidden=32)
    recipe = {"batch_size": 64, "learning_rate": 1e-2, "decay": "constant", "seed": 0}
    variables = study.train(network, maps, steps=150, **recipe)
    fresh = study.scores(np.tile([1.0, 1, 0, 0], (256, 1)), maps)
    theta = jax.jit(partial(network.apply, train=False))(variables, maps)
    assert study.scores(theta, maps)["sl1"] < 0.1 * fresh["sl1"]


@pytest.mark.slow
def test_rows_are_measured_once(tmp_path, capsys, monkeypatch):
    out = tmp_path / "folder" / "rows.jsonl"
    study.main([*TINY, "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["network"], row["prep"]) for row in rows] == [
        ("affnet", False), ("affnet", True), ("ffnn", False), ("ffnn", True),
    ]  # fmt: skip
    assert [row["parameters"] for row in rows] == [4868, 4869, 6500, 6501]
    assert [row["settings"]["steps"] for row in rows] == [3, 3, 2, 2]
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[0]) == rows[0]
    assert "| AffNet | ✓ | 4,869 |" in printed and "[0.54]" in printed and "| 2 × 8 |" in printed

    def measure(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(study, "measure", measure)
    study.main([*TINY, "--out", str(out)])
    assert printed.split("\n\n")[1] in capsys.readouterr().out
    with pytest.raises(AssertionError, match="measured again"):
        study.main([*TINY, "--seed", "1", "--out", str(out)])


def test_a_reduced_resnet50_says_so():
    args = study.arguments(["--networks", "resnet50", "--resnet50-size", "56"])
    maps = study.Maps("synthetic", *(np.zeros((2, 14, 14), np.float32),) * 2)
    results = {"parameters": 23516228, "sl1": 0.0054, "iou_0.8": 0.47, "iou_0.95": 0.01, "ms_one": 1.0, "ms_batch": 2.0}
    row = {"network": "resnet50", "prep": False, "settings": study.settings_of("resnet50", maps, args), **results}
    assert "| ResNet-50, reduced: at 56×56 for 224×224 |  | 23,516,228 | 5.40 [5.4] |" in study.table([row])


@pytest.mark.parametrize("text", ["resnet=5", "affnet", "affnet=0", "affnet=-1", "affnet=many"])
def test_steps_that_cannot_be(text, capsys):
    with pytest.raises(UserError, match="must be NAME=NUMBER.*resnet_s"):
        study.by_network(study.STEPS, [text])
    with pytest.raises(SystemExit):
        study.arguments(["--steps", text])
    assert "NAME=NUMBER" in capsys.readouterr().err


@pytest.fixture(scope="module")
def localized_run(tmp_path_factory):
    """The folder of a run of method "localization" after two steps on noise."""
    from fsjax.configs.common import base
    from fsjax.training import run

    folder = tmp_path_factory.mktemp("localized")
    config = base()
    config.name, config.method.name, config.loss.name = "tiny", "localization", "softmax"
    config.method.localization.update(att_width=4, att_blocks=1, aff_hidden=6)
    config.data.name = "fake"
    config.data.fake.update(height=12, width=20, num_classes=3, train=11, test=7)
    config.model.name = "cnn"
    config.model.cnn.update(stages=((4,), (6,)))
    config.train.update(steps=2, batch_size=4, log_every=2, eval_every=2, checkpoint_every=2, progress=False)
    config.eval.batch_size = 8
    run(config, folder)
    return folder


@pytest.mark.slow
def test_maps_of_runs_are_means_over_channels(localized_run, digits_run):
    """Of the whole image, not of the crop; and of a run without localization likewise."""
    import fsjax
    from fsjax import data

    for folder, shape in ((localized_run, (3, 5)), (digits_run[0], (2, 2))):
        run = fsjax.restore(folder)
        maps = study.run_maps(folder, data_path="", batch_size=8)
        method, params, collections = run.method, run.params, run.collections
        if folder == localized_run:
            assert isinstance(method, Localization)
            encoder, name = method.encoder.classifier, "classifier"
            variables = {"params": params["encoder"][name], "batch_stats": collections["batch_stats"][name]}
        else:
            encoder = method.encoder
            variables = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
        splits = data.load_splits(run.config.data, seed=run.config.seed)
        for found, examples in ((maps.train, splits.train), (maps.test, splits.test)):
            images = data.normalize(data.images_at(examples, np.arange(len(examples))), run.info)
            encoded = jax.jit(partial(encoder.apply, train=False))(variables, images)
            last = list(encoded.maps.values())[-1]
            assert found.shape == (len(examples), *shape)
            np.testing.assert_allclose(found, np.asarray(last).mean(-1), rtol=1e-4, atol=1e-5)
    assert run.config.name in maps.source
