"""Splits as a whole: facts, statistics, normalisation, and their description."""

import json

import numpy as np
import pytest

from fsjax.data import DataError, DataInfo, describe, load_splits, normalize


@pytest.fixture(scope="module")
def digits():
    return load_splits({"name": "digits", "validation": 0.1}, seed=0)


def test_digits(digits):
    assert digits.info.image_shape == (8, 8, 1) and digits.info.num_classes == 10
    assert digits.info.counts == {"train": 1293, "validation": 145, "test": 359}
    assert sum(digits.info.class_counts) == 1293
    assert digits.train.images.max() == 255 and digits.train.images.dtype == np.uint8


def test_test_part_does_not_depend_on_the_seed_and_validation_does(digits):
    other = load_splits({"name": "digits", "validation": 0.1}, seed=1)
    np.testing.assert_array_equal(other.test.images, digits.test.images)
    assert not np.array_equal(other.validation.images, digits.validation.images)
    rows = [{image.tobytes() for image in getattr(digits, s).images} for s in ("train", "validation", "test")]
    assert len(set.union(*rows)) == 1797


def test_statistics_are_those_of_the_training_split(digits):
    images = digits.train.images / 255
    np.testing.assert_allclose(digits.info.mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(digits.info.std, images.std(axis=(0, 1, 2)), rtol=1e-12)
    normalised = normalize(digits.train.images, digits.info)
    assert abs(normalised.mean()) < 1e-5 and abs(normalised.std() - 1) < 1e-5


def test_fixed_normalisations():
    config = {"name": "fake", "fake": {"height": 4, "width": 4}}
    splits = load_splits(config | {"normalization": "half"}, seed=0)
    images = splits.train.images
    np.testing.assert_array_equal(normalize(images, splits.info), (images.astype(np.float32) - 128) / 128)
    splits = load_splits(config | {"normalization": "none"}, seed=0)
    np.testing.assert_allclose(normalize(images, splits.info), images / 255, rtol=1e-6)


def test_a_constant_channel_stays_finite(write_folder):
    root = write_folder({"a": 4, "b": 4}, mode="L")
    for path in root.rglob("*.png"):
        path.write_bytes(next(root.rglob("*.png")).read_bytes())
    splits = load_splits({"name": "folder", "path": str(root), "test_fraction": 0.25}, seed=0)
    assert np.isfinite(normalize(splits.train.images, splits.info)).all()


def test_info_survives_json(digits):
    assert DataInfo.from_json(json.loads(json.dumps(digits.info.to_json()))) == digits.info


def test_normalize_takes_grey_and_colour(array_examples):
    examples, colour = array_examples(4)
    _, grey = array_examples(4, shape=(8, 6, 1))
    one = examples.images[..., 0]
    np.testing.assert_array_equal(normalize(one, colour), normalize(np.stack([one] * 3, -1), colour))
    np.testing.assert_array_equal(normalize(one, grey), normalize(one[..., None], grey))
    assert normalize(one, grey).dtype == np.float32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 6, 3)), "dtype float64: give uint8"),
        (np.zeros((2, 9, 6, 3), np.uint8), "9×6 pixels and 3 channels; this network was trained on 8×6"),
        (np.zeros((2, 8, 6, 4), np.uint8), "and 4 channels"),
        (np.zeros((8, 6), np.uint8), r"shape \(8, 6\): give a batch"),
    ],
)
def test_normalize_refuses_in_words(array_examples, images, message):
    _, info = array_examples()
    with pytest.raises(DataError, match=message):
        normalize(images, info)


def test_normalize_refuses_colour_for_a_grey_network(array_examples):
    _, info = array_examples(shape=(8, 6, 1))
    with pytest.raises(DataError, match="3 channels; this network was trained on 8×6 pixels and 1 channel of"):
        normalize(np.zeros((2, 8, 6, 3), np.uint8), info)


def test_longtail_then_validation_and_the_test_part_untouched():
    config = {"name": "fake", "fake": {"height": 4, "width": 4, "train": 1000, "test": 30, "num_classes": 3}}
    plain = load_splits(config, seed=0)
    tailed = load_splits(config | {"longtail_ratio": 10, "validation": 0.2}, seed=0)
    # 333, the smallest class, then 333 / sqrt(10) and 333 / 10; of each a fifth, rounded, is validation.
    assert tailed.info.counts == {"train": 266 + 84 + 26, "validation": 67 + 21 + 7, "test": 30}
    assert tailed.info.class_counts == (266, 84, 26)
    np.testing.assert_array_equal(tailed.test.images, plain.test.images)


def test_limits_cut_the_splits():
    config = {"name": "fake", "fake": {"height": 4, "width": 4}, "limit": {"train": 20, "test": 10}}
    splits = load_splits(config, seed=0)
    assert splits.info.counts == {"train": 20, "test": 10} and splits.info.class_counts == (2,) * 10
    assert "limited: 20 of 100 train examples" in describe(splits)


def test_description(digits):
    words = describe(digits)
    assert "10 classes (0, 1, 2, 3, 4, …), images 8×8, grey" in words
    assert "1,293 train, 145 validation, 359 test" in words
    assert f"per class: 125 to 131, median 130, imbalance {131 / 125:.3g}" in words
    assert "the test part is 0.2 of each class" in words


def test_description_names_what_is_odd(write_folder):
    root = write_folder({"train/a": 5, "train/b": 5, "test/a": 2, "test/b": 2})
    (root / "test/a/000.png").write_bytes((root / "train/a/003.png").read_bytes())
    (root / "train/b/notes.txt").write_text("not an image")
    words = describe(load_splits({"name": "folder", "path": str(root)}, seed=0))
    # Both parts are drawn with one generator, so only the copied image is shared.
    assert "1 test images are also training images" in words
    assert "passed over 1 files that are no images" in words
    splits = load_splits({"name": "fake", "limit": {"test": 4}, "test_fraction": 0.0}, seed=0)
    assert "6 classes without test examples" in describe(splits)
    splits = load_splits({"name": "fake", "fake": {"test": 0}, "test_fraction": 0.0}, seed=0)
    assert splits.test is None and "there is no test split" in describe(splits)
