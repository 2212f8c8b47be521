"""Small data sets of every kind that `fsjax.data` reads."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsjax.data import ArrayExamples, DataInfo


@pytest.fixture
def write_folder(tmp_path):
    """A function that writes class folders of noise images, `{"train/cat": 3}`, below a new root."""

    def write(counts, *, size=(6, 5), mode="RGB", suffix=".png"):
        rng = np.random.default_rng(0)
        root = tmp_path / "pictures"
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                shape = size if mode == "L" else (*size, len(mode))
                image = Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode)
                image.save(root / folder / f"{i:03d}{suffix}")
        return root

    return write


@pytest.fixture
def array_examples():
    """A function that gives noise images in memory with a `DataInfo` of odd means and deviations."""

    def make(count=50, *, shape=(8, 6, 3), num_classes=5):
        rng = np.random.default_rng(1)
        examples = ArrayExamples(
            images=rng.integers(0, 256, (count, *shape), np.uint8),
            labels=rng.integers(0, num_classes, count).astype(np.int32),
        )
        info = DataInfo(
            name="noise",
            class_names=tuple("abcdefghij"[:num_classes]),
            image_shape=shape,
            counts={"train": count},
            class_counts=tuple(np.bincount(examples.labels, minlength=num_classes).tolist()),
            mean=(0.4, 0.5, 0.6)[: shape[-1]],
            std=(0.2, 0.3, 0.25)[: shape[-1]],
        )
        return examples, info

    return make


@pytest.fixture(scope="session")
def prepare_tfds(tmp_path_factory):
    """A function that writes a data set as TFDS prepares them: PNGs of given arrays (or files), labels, and boxes.

    It returns the prepared folder, `DATA_DIR/NAME/1.0.0`.
    """
    import tensorflow_datasets as tfds

    def prepare(splits, *, name="tiny", num_classes=3, shape=(8, 6, 3), dtype=np.uint8, box=None):
        data_dir = tmp_path_factory.mktemp("tfds")
        features = {
            "image": tfds.features.Image(shape=shape, dtype=dtype, encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=num_classes),
            "height": np.int64,
        }
        features = tfds.features.FeaturesDict(features | ({} if box is None else {"bbox": box}))

        def examples(images, labels, boxes=None):
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                height = image.shape[0] if hasattr(image, "shape") else 0
                example = {"image": image, "label": label, "height": height}
                yield i, example if boxes is None else example | {"bbox": np.asarray(boxes[i], np.float32)}

        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            data_dir=str(data_dir),
            features=features,
            split_datasets={split: examples(*data) for split, data in splits.items()},
            disable_shuffling=True,
        )
        return data_dir / name / "1.0.0"

    return prepare


@pytest.fixture(scope="session")
def tfds_data_dir():
    """The folder of real data sets that TFDS prepared; tests skip where there is none."""
    shared = Path(__file__).parents[3] / "shared" / "data" / "tfds"
    path = Path(os.environ.get("TFDS_DATA_DIR") or shared)
    if not (path / "cifar100").is_dir() or not (path / "mnist").is_dir():
        pytest.skip(f"no cifar100 and mnist in {path}: set TFDS_DATA_DIR to a folder that holds them")
    return path
