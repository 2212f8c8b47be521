"""Digits planted at known places: the box is the ink's, the picture otherwise the clutter's."""

import numpy as np
import pytest

from fsjax.data import describe, load_splits
from fsjax.data.config import parse_config
from fsjax.data.sources import load_source, planted
from fsjax.errors import UserError

FEW = {"train": 60, "test": 20}


def load(**config):
    fields = config.pop("planted", {})
    return load_splits({"name": "planted", "normalization": "none", "planted": FEW | fields} | config, seed=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_boxes_are_exactly_those_of_the_ink(monkeypatch, channels):
    whole = load(channels=channels)
    paste = planted._paste
    # Without the digit, the largest thing that is pasted, the same picture of clutter remains.
    monkeypatch.setattr(planted, "_paste", lambda p, a, *rest: None if max(a.shape) > 12 else paste(p, a, *rest))
    clutter = load(channels=channels)
    for split in ("train", "test"):
        for with_it, without, box in zip(
            getattr(whole, split).images, getattr(clutter, split).images, getattr(whole, split).boxes, strict=True
        ):
            changed = (with_it.astype(int) != without).any(axis=-1)
            rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
            np.testing.assert_array_equal(64 * box, [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])


def test_sides_and_places_cover_their_ranges():
    boxes = 64 * load(planted={"train": 2000, "test": 0, "clutter": 0}, test_fraction=0.0).train.boxes
    sizes = boxes[:, 2:] - boxes[:, :2]
    sides = sizes.max(axis=1)
    assert sides.min() == 18 and sides.max() == 36 and (sides == np.round(sides)).all()
    assert (np.abs(np.bincount(sides.astype(int))[18:] / 2000 - 1 / 19) < 0.025).all()
    assert boxes.min() >= 0 and boxes.max() <= 64
    # Of the places that there are, the first, the last and those between are equally likely.
    share = boxes[:, :2] / (64 - sizes)
    assert (np.abs(share.mean(axis=0) - 0.5) < 0.03).all() and share.min() == 0 and share.max() == 1


def test_stretched_digits_have_sides_that_know_nothing_of_each_other():
    fields = {"train": 2000, "test": 0, "clutter": 0, "stretch": True}
    boxes = 64 * load(planted=fields, test_fraction=0.0).train.boxes
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(int)
    for sides in sizes.T:
        assert (np.abs(np.bincount(sides)[18:] / 2000 - 1 / 19) < 0.025).all() and sides.max() == 36
    assert abs(np.corrcoef(sizes.T)[0, 1]) < 0.06
    assert boxes.min() >= 0 and boxes.max() <= 64


def test_the_box_of_a_stretched_digit_is_the_ink_s():
    with_it = load(planted={"clutter": 0, "train": 20, "stretch": True}).train
    for image, box in zip(with_it.images[:, :, :, 0], with_it.boxes, strict=True):
        rows, columns = (np.flatnonzero((image >= 160).any(axis=axis)) for axis in (1, 0))
        top, left, bottom, right = 64 * box
        # Ink is at least 160 where it is full, and thin at an edge.
        assert top <= rows[0] <= top + 3 and bottom - 4 <= rows[-1] < bottom
        assert left <= columns[0] <= left + 3 and right - 4 <= columns[-1] < right


def test_digits_of_the_two_parts_are_different_scans():
    from sklearn.datasets import load_digits

    config = parse_config({"name": "planted", "planted": {"train": 1438, "test": 359}})
    source = load_source(config)
    counts = np.bincount(np.concatenate([source.train.labels, source.test.labels]))
    np.testing.assert_array_equal(counts, np.bincount(load_digits().target))
    others = load_source(parse_config({"name": "planted", "planted": {"train": 1438, "test": 359, "seed": 1}}))
    assert (source.test.labels != others.test.labels).any()


def test_clutter_is_small_and_lies_below_the_digit(monkeypatch):
    pasted = []
    paste = planted._paste
    monkeypatch.setattr(planted, "_paste", lambda p, a, *rest: (pasted.append(a), paste(p, a, *rest)))
    source = load_source(parse_config({"name": "planted", "planted": FEW | {"clutter": 5}}))
    for item in range(20):
        pasted.clear()
        source.train.read(item)
        *pieces, digit = [a.shape for a in pasted]
        assert len(pieces) == 5 and all(h == w and h <= max(digit) / 3 for h, w in pieces)


def test_brightness_alone_does_not_tell_the_place():
    examples = load(planted={"train": 200}).train
    overlaps = []
    for image, box in zip(examples.images[..., 0], 64 * examples.boxes, strict=True):
        rows, columns = (np.flatnonzero((image > 150).any(axis=axis)) for axis in (1, 0))
        bright = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
        inner = np.clip(np.minimum(box, bright)[2:] - np.maximum(box, bright)[:2], 0, None).prod()
        areas = [(b[2:] - b[:2]).prod() for b in (box, bright)]
        overlaps.append(inner / (sum(areas) - inner))
    assert np.median(overlaps) < 0.3


def test_the_same_on_every_call_and_in_every_memory():
    arrays, stream, again = load(memory="arrays"), load(memory="stream"), load(memory="arrays")
    for split in ("train", "test"):
        a, b = getattr(arrays, split), getattr(stream, split)
        np.testing.assert_array_equal(a.images, getattr(again, split).images)
        np.testing.assert_array_equal(a.images, [b.image(i) for i in range(len(b))])
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.labels, b.labels)
    other = load(planted={"seed": 1})
    assert (arrays.train.images != other.train.images).any(axis=(1, 2, 3)).all()
    # More pictures are more of the same.
    np.testing.assert_array_equal(load(planted={"train": 70}).train.images[:60], arrays.train.images)


def test_other_sizes_and_colours():
    splits = load(channels=3, planted={"size": 96, "smallest": 20, "largest": 96, "clutter": 0})
    assert splits.info.image_shape == (96, 96, 3) and splits.info.class_names == tuple("0123456789")
    assert (splits.train.images[..., 0] != splits.train.images[..., 1]).any()
    assert load(planted={"test": 0}).test is not None  # a share of the training part
    words = describe(splits)
    assert "20 to 96 pixels large, among 0 fragments" in words and "one box per image: train, test" in words
    assert load(box_key="").train.boxes is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"smallest": 40}, "smallest=40, .*largest=36 and .*size=64: largest must be at least smallest"),
        ({"largest": 65}, "largest=65 and .*size=64"),
        ({"smallest": 2}, "smallest=2 must be at least 6"),
        ({"train": 0}, "data.planted.train=0 must be at least 1"),
        ({"clutter": -1}, "data.planted.clutter=-1 must be at least 0"),
    ],
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        load(planted=fields)
