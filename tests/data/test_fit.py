"""How pictures of any size come to the network's: the centred square, or all of them; and ImageNet's normalisation."""

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, describe, eval_batches, load_splits, normalize, train_batches
from fsjax.data.pictures import stretch
from fsjax.errors import UserError


def load(root, **config):
    return load_splits({"name": "folder", "path": str(root), "image_size": 4, "test_fraction": 0.5} | config, seed=0)


def test_stretching_is_a_mean_over_blocks():
    image = np.random.default_rng(0).integers(0, 256, (12, 30, 3), np.uint8)
    blocks = image.reshape(3, 4, 3, 10, 3).mean(axis=(1, 3))
    assert np.abs(stretch(image, 3, resize="box") - blocks).max() <= 1
    # Of a ramp along x, every row is the same, and both ends are kept.
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (20, 1))[..., None]
    given = stretch(ramp, 10)[..., 0].astype(int)
    assert given.shape == (10, 10) and (given == given[:1]).all() and given[0, 0] < 20 and given[0, -1] > 215


@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_all_of_a_picture_or_its_centre(write_folder, memory):
    root = write_folder({"a": 2, "b": 2}, size=(8, 24))
    # Black, but for a white stripe at the left, outside of the centred square.
    for path in root.rglob("*.png"):
        picture = np.zeros((8, 24, 3), np.uint8)
        picture[:, :6] = 255
        Image.fromarray(picture).save(path)
    for fit, stripe in (("crop", 0), ("stretch", 255)):
        splits = load(root, memory=memory, fit=fit, resize="box", normalization="none")
        options = {"batch_size": 2, "start_step": 0, "num_steps": 1, "seed": 0, "augmentation": {}}
        (trained,) = train_batches(splits.train, info=splits.info, **options)
        (evaluated,) = eval_batches(splits.test, batch_size=2, info=splits.info)
        for batch in (trained, evaluated):
            np.testing.assert_allclose(255 * batch["image"][:, :, 0], stripe, atol=1e-3)
            np.testing.assert_allclose(batch["image"][:, :, 1:], 0)
        words = "stretched, whatever their aspect, to 4×4" if fit == "stretch" else "cropped and resized to 4×4"
        assert f"images are {words}, box filter" in describe(splits)


def test_imagenet_normalisation(write_folder):
    root = write_folder({"a": 2, "b": 2})
    splits = load(root, normalization="imagenet")
    assert "mean and deviation are those of ImageNet" in describe(splits)
    assert splits.info.mean == (0.485, 0.456, 0.406) and splits.info.std == (0.229, 0.224, 0.225)
    images = splits.train.images
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalize(images, splits.info), expected, atol=1e-5)
    with pytest.raises(
        DataError, match='data.normalization="imagenet" is by red, green and blue, .*have 1 channel: set'
    ):
        load(root, normalization="imagenet", channels=1)
    with pytest.raises(DataError, match="have 1 channel"):
        load_splits({"name": "digits", "normalization": "imagenet"}, seed=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fit": "squash"}, "data.fit='squash' must be one of 'crop', 'stretch'"),
        ({"fit": "stretch"}, 'data.fit="stretch" has no effect without data.image_size'),
        (
            {"fit": "stretch", "image_size": 8, "augment": {"crop": "random_resized"}},
            'crop="random_resized" trains on parts of pictures at about their own aspect, data.fit="stretch" evaluates',
        ),
    ],
)
def test_what_does_not_go_together(fields, message):
    with pytest.raises(UserError, match=message):
        load_splits(fields, seed=0)
