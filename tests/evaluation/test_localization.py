"""IoU figures against counted cells and by hand; located boxes against the method's parts; the picture."""

import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from fsjax import data
from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.evaluation.papers.localization import (
    Panel,
    box_figures,
    box_iou,
    boxes_of,
    check_localizes,
    draw_localizations,
    in_words,
)
from fsjax.methods import build_method
from fsjax.methods.localization import Located
from fsjax.runs import Run

RNG = np.random.default_rng(0)
INFO = DataInfo("random", ("a", "b"), (16, 16, 3), {"train": 4}, (2, 2), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def boxes(count):
    return np.sort(RNG.uniform(size=(count, 2, 2)), axis=1).reshape(count, 4)


def located_of(box, attention_box, classifier_box):
    count = len(box)
    return Located(box, attention_box, classifier_box, np.zeros((count, 2, 2)), np.zeros((count, 8, 8, 3), np.uint8))


def test_iou_counts_cells():
    edges = np.sort(RNG.integers(0, 21, (30, 2, 2, 2)), axis=2) / 20
    middle = (np.arange(20) + 0.5) / 20
    for first, second in edges.reshape(30, 2, 4):
        inside = [
            ((middle > y0) & (middle < y1))[:, None] & ((middle > x0) & (middle < x1))[None]
            for y0, x0, y1, x1 in (first, second)
        ]
        union = (inside[0] | inside[1]).sum()
        expected = (inside[0] & inside[1]).sum() / union if union else 0
        np.testing.assert_allclose(box_iou(first, second), expected, atol=1e-12)


def test_figures_are_means_of_the_images_whose_box_is_known():
    true = boxes(9)
    true[4] = np.nan
    predicted, of_attention, of_classifier = boxes(9), boxes(9), true.copy()
    figures = box_figures(boxes_of(located_of(predicted, of_attention, of_classifier)), true)
    known = np.arange(9) != 4
    iou = np.array([box_iou(predicted[i], true[i]) for i in range(9) if i != 4])
    area = np.prod(true[known, 2:] - true[known, :2], axis=1)  # of the whole image, its IoU
    np.testing.assert_allclose(figures["whole"]["mean"], area.mean())
    assert figures["classifier"]["mean"] == figures["classifier"]["above_0.7"] == 1
    own = figures["predicted"]
    assert own["images"] == 8 and "predicted_minus" not in own
    np.testing.assert_allclose([own["mean"], own["median"]], [iou.mean(), np.median(iou)])
    np.testing.assert_allclose(own["interval"], 1.96 * iou.std(ddof=1) / 8**0.5)
    assert own["above_0.5"] == np.mean(iou > 0.5)
    minus = figures["whole"]["predicted_minus"]
    np.testing.assert_allclose(minus["mean"], (iou - area).mean())
    np.testing.assert_allclose(minus["interval"], 1.96 * (iou - area).std(ddof=1) / 8**0.5)
    assert len(in_words(figures).splitlines()) == 4


def test_one_image_has_no_interval_and_none_no_figures():
    one = boxes_of(located_of(*[boxes(1)] * 3))
    figures = box_figures(one, boxes(1))
    assert figures["whole"]["interval"] is figures["whole"]["predicted_minus"]["interval"] is None
    assert "±" not in in_words(figures) and json.loads(json.dumps(figures, allow_nan=False)) == figures
    with pytest.raises(UserError, match="of none of 1 images a true box is known"):
        box_figures(one, np.full((1, 4), np.nan))


@pytest.fixture(scope="module")
def run():
    from fsjax.configs.common import base

    config = base()
    config.method.name, config.model.name, config.loss.name = "localization", "cnn", "softmax"
    config.model.cnn.stages = ((4,), (6,))
    config.method.localization.update(crop_size=12, att_width=4, att_blocks=1, aff_hidden=4)
    method = build_method(config, INFO)
    variables = dict(jax.jit(method.init)(jax.random.key(0), np.zeros((2, 16, 16, 3), np.float32)))
    params = variables.pop("params")
    params["encoder"]["affnet"]["horizontal"]["head"]["theta"]["bias"] = np.float32([0.5, 0.25])
    return Run(Path("runs/x"), config, INFO, 0, params, variables)


@pytest.mark.slow
def test_located_are_the_parts_of_the_method(run):
    """Whatever the batches; the crop in the colours of the picture."""
    images = RNG.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    found = run.locate(images, batch_size=2)
    np.testing.assert_allclose(found.box, [[0, 0.375, 1, 0.875]] * 5, atol=1e-6)
    encoded = jax.jit(run.method.encode)(run.params, run.collections, data.normalize(images, INFO))
    np.testing.assert_allclose(found.attention, encoded.attention, rtol=1e-4, atol=1e-5)
    for attention, box in zip(encoded.attention, found.attention_box, strict=True):
        attention = np.asarray(attention)
        places = np.argwhere(attention > attention.min() + 0.3 * np.ptp(attention))
        expected = [*places.min(0) / attention.shape, *(places.max(0) + 1) / attention.shape]
        np.testing.assert_allclose(box, expected, atol=1e-6)
    assert found.crop.shape == (5, 12, 12, 3) and found.crop.dtype == np.uint8
    whole = run.locate(images)
    np.testing.assert_allclose(whole.classifier_box, found.classifier_box, atol=1e-6)
    flat = np.full((1, 16, 16, 3), (10, 120, 250), np.uint8)
    crop = run.locate(flat).crop
    np.testing.assert_allclose(crop[0], np.broadcast_to(flat[0, 0, 0], (12, 12, 3)), atol=1)
    assert run.locate(images[:0]).box.shape == (0, 4)
    with pytest.raises(UserError, match="batch_size=0 must be at least 1"):
        run.locate(images, batch_size=0)


def test_with_corners_aligned_the_box_is_what_the_crop_shows(run):
    """A picture of the column numbers: the first and the last pixel of the crop are half a step within the box."""
    config = run.config.copy_and_resolve_references()
    config.method.localization.align_corners = True
    aligned = Run(run.workdir, config, INFO, 0, run.params, run.collections)
    images = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 10, (1, 16, 16, 3))
    located = aligned.locate(images)
    top, left, bottom, right = located.box[0] * 16
    step = (right - left) / 12
    first, last = located.crop[0, 6, 0, 0] / 10 + 0.5, located.crop[0, 6, -1, 0] / 10 + 0.5
    np.testing.assert_allclose([first, last], [left + step / 2, right - step / 2], atol=0.06)
    np.testing.assert_allclose([top, bottom], [0, 16], atol=1e-5)


def test_other_methods_find_no_boxes():
    with pytest.raises(UserError, match=r"runs/x was not trained with method 'localization'"):
        check_localizes(types.SimpleNamespace(locates=False), "runs/x")


def test_picture(tmp_path):
    images = RNG.integers(0, 256, (2, 10, 14, 3), dtype=np.uint8)
    located = located_of(boxes(2), boxes(2), boxes(2))
    true = np.array([0.1, 0.2, 0.5, 0.9])
    rows = [
        Panel(images[i], located.attention[i], located.box[i], located.crop[i], title, words, of_image)
        for i, (title, words, of_image) in enumerate([("$a_1$ <b>", "x ✓", true), ("second", "y", None)])
    ]
    draw_localizations(rows, tmp_path / "boxes.png")
    with Image.open(tmp_path / "boxes.png") as image:
        assert image.size == (1080, 760)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 240) & (pixels[..., 1:] < 15).all(-1)
    green = (pixels[..., 1] > 240) & (pixels[..., 0] < 15) & (pixels[..., 2] < 15)
    assert red.any() and green[:380].any() and not green[390:].any()
