"""CIFAR-100 and MNIST as TFDS prepared them, against TFDS's own reader; skipped where they are not."""

import json
from pathlib import Path

import numpy as np
import pytest

from fsjax.data import describe, load_splits

VECTOR = Path(__file__).parents[1] / "vectors" / "longtail_cifar_counts.json"


@pytest.fixture(scope="module")
def cifar100_test(tfds_data_dir):
    # The training split of CIFAR-100 takes seconds to decode; its test split does here.
    config = {
        "name": "cifar100",
        "path": str(tfds_data_dir),
        "train_split": "test[:90%]",
        "test_split": "test[90%:]",
    }
    return load_splits(config, seed=0)


def test_images_are_those_of_tfds(cifar100_test, tfds_data_dir):
    import tensorflow_datasets as tfds

    records = tfds.load("cifar100", split="test[:50]", data_dir=str(tfds_data_dir), download=False)
    for i, record in enumerate(records.as_numpy_iterator()):
        np.testing.assert_array_equal(cifar100_test.train.images[i], record["image"])
        assert cifar100_test.train.labels[i] == record["label"]


def test_cifar100_is_described(cifar100_test):
    words = describe(cifar100_test)
    assert "100 classes (apple, aquarium_fish, " in words and "9,000 train, 1,000 test" in words


def test_long_tailed_cifar100_has_the_counts_of_the_vector(tfds_data_dir):
    config = {
        "name": "cifar100", "path": str(tfds_data_dir), "longtail_ratio": 100, "memory": "stream",
        "normalization": "none",
    }  # fmt: skip
    info = load_splits(config, seed=0).info
    first, last, total = json.loads(VECTOR.read_text())["expected"]["cifar100_ratio100_first5_last5_sum"]
    counts = list(info.class_counts)
    assert (counts[:5], counts[-5:], sum(counts)) == (first, last, total)
    assert info.counts == {"train": 10_847, "test": 10_000}


def test_coarse_labels(tfds_data_dir):
    config = {
        "name": "cifar100", "path": str(tfds_data_dir), "label_key": "coarse_label", "train_split": "test[:50%]",
        "test_split": "test[50%:]", "memory": "stream", "normalization": "none",
    }  # fmt: skip
    assert load_splits(config, seed=0).info.num_classes == 20


def test_mnist_is_grey_and_may_be_made_colour(tfds_data_dir):
    config = {
        "name": "mnist", "path": str(tfds_data_dir), "train_split": "test[:1000]",
        "test_split": "test[1000:1500]",
    }  # fmt: skip
    grey = load_splits(config, seed=0)
    assert grey.info.image_shape == (28, 28, 1) and grey.info.class_names == tuple("0123456789")
    colour = load_splits(config | {"channels": 3}, seed=0)
    np.testing.assert_array_equal(colour.train.images, np.repeat(grey.train.images, 3, axis=-1))


def test_tiny_imagenet_is_streamed_at_another_size(tfds_data_dir):
    if not (tfds_data_dir / "tiny_imagenet_fs").is_dir():
        pytest.skip(f"no tiny_imagenet_fs in {tfds_data_dir}")
    config = {
        "name": "tiny_imagenet_fs", "path": str(tfds_data_dir), "train_split": "validation", "test_split": "",
        "image_size": 32, "memory": "stream", "normalization": "none",
    }  # fmt: skip
    splits = load_splits(config, seed=0)
    assert splits.info.num_classes == 60 and splits.train.image(0).shape == (32, 32, 3)
