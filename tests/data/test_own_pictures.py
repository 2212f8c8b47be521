"""Pictures from files as a run's network sees them."""

import numpy as np
import pytest
from PIL import Image

from fsjax import data
from fsjax.data import DataInfo

RNG = np.random.default_rng(0)


def info(*shape):
    return DataInfo("x", ("a", "b"), shape, {"train": 2}, (1, 1), (0.5,) * shape[2], (0.5,) * shape[2])


def save(path, *shape):
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def test_files_and_folders_in_order(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    single, first = save(tmp_path / "z.png", 4, 4, 3), save(tmp_path / "b" / "a.jpg", 4, 4, 3)
    second = save(tmp_path / "b" / "deep" / "c.PNG", 4, 4, 3)
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    assert data.picture_files([single, tmp_path / "b"]) == [single, first, second]
    (tmp_path / "empty").mkdir()
    with pytest.raises(data.DataError, match=r"empty holds no image \(.bmp"):
        data.picture_files([tmp_path / "empty"])
    with pytest.raises(data.DataError, match="gone is neither a file nor a folder"):
        data.picture_files([tmp_path / "gone"])


def test_they_are_what_evaluation_sees_of_the_same_files(tmp_path):
    """As a folder of classes with the same config gives them."""
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(2):
            save(tmp_path / name / f"{number}.png", 9 + number, 14, 3)
    for more in ({"image_size": 8}, {"image_size": 8, "fit": "stretch", "resize": "bicubic"}):
        config = {"name": "folder", "path": str(tmp_path), **more}
        splits = data.load_splits(config, seed=0)
        found = data.open_pictures(data.picture_files([tmp_path / "test"]), config, splits.info)
        np.testing.assert_array_equal(found.images, splits.test.images)
        np.testing.assert_array_equal(found.sizes, [[9, 14], [10, 14]] * 2)


def test_sizes_where_the_run_left_images_as_they_were(tmp_path):
    wide = save(tmp_path / "wide.png", 12, 20, 3)
    images = data.open_pictures([wide], {"name": "fake"}, info(6, 6, 3))
    centre = Image.open(wide).resize((6, 6), Image.Resampling.BILINEAR, box=(4, 0, 16, 12))
    np.testing.assert_array_equal(images.images[0], np.asarray(centre))
    # What the network sees is the middle 12 columns of 20; its whole is 0.2..0.8 of the picture.
    whole = images.view.in_pictures(np.array([[0, 0, 1, 1.0]]), images.sizes)
    np.testing.assert_allclose(whole, [[0, 0.2, 1, 0.8]])
    np.testing.assert_allclose(images.view.boxes(whole, images.sizes), [[0, 0, 1, 1]], atol=1e-6)
    exact = data.open_pictures([wide], {"name": "fake"}, info(12, 20, 3))
    np.testing.assert_array_equal(exact.images[0], np.asarray(Image.open(wide)))
    with pytest.raises(data.DataError, match="wide.png is 12×20, and this network takes 10×20"):
        data.open_pictures([wide], {"name": "fake"}, info(10, 20, 3))


def test_grey_networks_and_broken_files(tmp_path):
    colour, broken = save(tmp_path / "c.png", 8, 8, 3), tmp_path / "broken.jpg"
    assert data.open_pictures([colour], {"name": "fake"}, info(8, 8, 1)).images.shape == (1, 8, 8, 1)
    broken.write_bytes(b"no picture")
    with pytest.raises(data.DataError, match="1 of 2 pictures cannot be read(.|\n)*broken.jpg"):
        data.open_pictures([colour, broken], {"name": "fake"}, info(8, 8, 3))
