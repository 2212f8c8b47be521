"""Folders of class folders, whole and broken, and the images that may be in them."""

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, describe, eval_batches, load_splits, train_batches
from fsjax.data.pictures import CROP_WORDS, centre_crop, decode, random_box


def load(root, **config):
    return load_splits({"name": "folder", "path": str(root)} | config, seed=0)


def test_train_and_test_folders(write_folder):
    root = write_folder({"train/cat": 4, "train/ant": 3, "test/cat": 2, "test/ant": 1})
    splits = load(root)
    assert splits.info.class_names == ("ant", "cat") and splits.info.class_counts == (3, 4)
    assert splits.info.counts == {"train": 7, "test": 3} and splits.info.image_shape == (6, 5, 3)
    expected = np.asarray(Image.open(root / "train/cat/001.png"))
    np.testing.assert_array_equal(splits.train.images[4], expected)


def test_val_is_the_test_part_unless_there_is_one(write_folder):
    counts = {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2}
    assert load(write_folder(counts)).info.counts == {"train": 6, "test": 4}
    root = write_folder(counts | {"test/a": 1, "test/b": 1})
    assert load(root).info.counts == {"train": 6, "validation": 4, "test": 2}
    with pytest.raises(DataError, match=r"validation part of its own; data.validation=0.2 would take another"):
        load(root, validation=0.2)


def test_class_folders_alone_give_a_stratified_test_part(write_folder):
    root = write_folder({"a": 10, "b": 5, "c/deeper": 5})
    splits = load(root, test_fraction=0.2)
    assert np.bincount(splits.test.labels).tolist() == [2, 1, 1]
    np.testing.assert_array_equal(load(root).test.images, splits.test.images)


def test_a_stream_reads_what_arrays_hold(write_folder):
    root = write_folder({"a": 6, "b": 6})
    options = {"batch_size": 4, "start_step": 1, "num_steps": 4, "seed": 0, "augmentation": {"flip": True}}
    batches = []
    for memory in ("arrays", "stream"):
        splits = load(root, memory=memory)
        batches.append(list(train_batches(splits.train, info=splits.info, **options)))
    for a, b in zip(*batches, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["index"], b["index"])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train/a": 2, "train/b": 0, "test/a": 1, "test/b": 1}, r"class folder .*train/b holds no image"),
        ({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 0}, r"class folder .*test/b holds no image"),
        ({"a": 3}, r"at least two classes; it holds only 'a'"),
        (
            {"train/a": 2, "train/b": 2, "test/a": 1, "test/c": 1},
            r"1 only in .*train: b; 1 only in .*test: c",
        ),
    ],
)
def test_folders_that_cannot_be_meant(write_folder, counts, message):
    with pytest.raises(DataError, match=message):
        load(write_folder(counts))


def test_missing_folders(tmp_path):
    with pytest.raises(DataError, match="nowhere is no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"needs data\.path"):
        load_splits({"name": "folder"}, seed=0)
    with pytest.raises(DataError, match="at least two classes; it holds none"):
        load(tmp_path)


@pytest.fixture
def damaged(write_folder):
    root = write_folder({"a": 16, "b": 16}, size=(40, 40))
    for i in range(12):
        path = root / f"a/{i:03d}.png"
        path.write_bytes(path.read_bytes()[:300])
    (root / "b/000.png").write_text("not an image")
    return root


def test_corrupt_images_are_named(damaged):
    with pytest.raises(DataError) as caught:
        load(damaged, test_fraction=0.0)
    words = str(caught.value)
    assert "13 of 32 images cannot be read" in words and 'data.on_error="skip"' in words
    assert words.count(".png cannot be read as an image") == 10 and "and 3 more" in words


def test_corrupt_images_are_skipped_when_asked(damaged):
    splits = load(damaged, test_fraction=0.0, on_error="skip")
    assert splits.info.class_counts == (4, 15)
    assert "skipped 13 of 32 images that cannot be read" in describe(splits)
    assert str(damaged / "a/009.png") in describe(splits)


def test_a_corrupt_image_in_a_stream_is_named(damaged):
    splits = load(damaged, test_fraction=0.0, memory="stream", normalization="none", image_size=8)
    with pytest.raises(DataError, match=r"a/0\d\d.png cannot be read as an image"):
        list(eval_batches(splits.train, batch_size=8, info=splits.info))
    # The statistics of the data set need the images, so the error comes before the first batch.
    with pytest.raises(DataError, match=r".png cannot be read as an image"):
        load(damaged, test_fraction=0.0, memory="stream", image_size=8)


def test_only_corrupt_images(write_folder):
    root = write_folder({"a": 2, "b": 2})
    for path in root.rglob("*.png"):
        path.write_text("broken")
    with pytest.raises(DataError, match="4 of 4 images cannot be read"):
        load(root, on_error="skip", test_fraction=0.0)
    with pytest.raises(DataError, match="4 of 4 images cannot be read"):
        load(root, test_fraction=0.0)


def test_an_image_too_large_to_be_honest(write_folder, monkeypatch):
    root = write_folder({"a": 3, "b": 3}, size=(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="decompression bomb"):
        load(root)


@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_sizes_that_differ_are_named(write_folder, memory):
    root = write_folder({"a": 3, "b": 3})
    Image.new("RGB", (9, 7)).save(root / "b/001.png")
    with pytest.raises(DataError, match=r"images differ in size: .*a/000.png is 6×5, .*b/001.png 7×9"):
        splits = load(root, test_fraction=0.0, memory=memory, normalization="none")
        list(eval_batches(splits.train, batch_size=2, info=splits.info))
    splits = load(root, test_fraction=0.0, memory=memory, image_size=4)
    assert splits.info.image_shape == (4, 4, 3)


def test_test_images_of_another_size(write_folder):
    root = write_folder({"train/a": 2, "train/b": 2})
    write_folder({"test/a": 2, "test/b": 2}, size=(4, 4))
    with pytest.raises(DataError, match=r"train/a/000.png is 6×5, .*test/a/000.png 4×4"):
        load(root)


def test_grey_and_transparent_images_among_colour(write_folder):
    root = write_folder({"a": 2, "b": 2})
    grey = Image.fromarray(np.arange(30, dtype=np.uint8).reshape(6, 5) * 8)
    grey.save(root / "a/000.png")
    clear = np.zeros((6, 5, 4), np.uint8)
    clear[..., 0], clear[:3, :, 3] = 200, 255
    Image.fromarray(clear, "RGBA").save(root / "a/001.png")
    images = load(root, test_fraction=0.0).train.images
    np.testing.assert_array_equal(images[0], np.stack([np.asarray(grey)] * 3, -1))
    # Opaque pixels keep their colour, clear ones show the white below.
    assert (images[1, :3] == (200, 0, 0)).all() and (images[1, 3:] == 255).all()


def test_grey_networks_take_luma(write_folder):
    root = write_folder({"a": 2, "b": 2})
    images = load(root, test_fraction=0.0, channels=1).train.images
    assert images.shape == (4, 6, 5, 1)
    red, green, blue = np.moveaxis(np.asarray(Image.open(root / "a/000.png"), np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(images[0, ..., 0] - luma).max() <= 1


def test_odd_kinds_of_files(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    deep = tmp_path / "deep.png"
    Image.fromarray((np.arange(30).reshape(6, 5) * 2184).astype(np.uint16)).save(deep)
    np.testing.assert_array_equal(decode(str(deep), 1)[..., 0], np.round(np.arange(30).reshape(6, 5) * 2184 / 257))
    palette = tmp_path / "palette.gif"
    Image.fromarray(colour // 64 * 64).quantize(64).save(palette)
    assert np.abs(decode(str(palette), 3).astype(int) - colour // 64 * 64).max() <= 8
    print_ready = tmp_path / "cmyk.jpg"
    Image.new("CMYK", (5, 6), (0, 255, 255, 0)).save(print_ready)
    assert np.abs(decode(str(print_ready), 3).astype(int) - (255, 0, 0)).max() < 12
    turned = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the picture is to be turned a quarter clockwise
    Image.fromarray(colour).save(turned, exif=exif)
    np.testing.assert_array_equal(decode(str(turned), 3), np.rot90(colour, -1))
    np.testing.assert_array_equal(decode(turned.read_bytes(), 3), np.rot90(colour, -1))


def test_centre_crop_takes_the_centre():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 200
    np.testing.assert_array_equal(centre_crop(image, 20, 1.0), np.full((20, 20, 3), 200, np.uint8))
    ramp = np.repeat(np.arange(0, 80, 2, dtype=np.uint8)[None, :, None], 40, 0)
    # Half the size: the mean of pairs, up to the triangle filter's wider reach, which a ramp does not see.
    inner = centre_crop(ramp, 20, 1.0)[10, 2:-2, 0].astype(int)
    assert np.abs(inner - (np.arange(20) * 4 + 1)[2:-2]).max() <= 1


def test_random_boxes_have_the_areas_and_ratios_of_the_paper():
    words = np.random.default_rng(0).integers(0, 2**32, (1000, CROP_WORDS), np.uint32)
    boxes = np.array([random_box(100, 120, drawn) for drawn in words])
    top, left, height, width = boxes.T
    assert top.min() >= 0 and left.min() >= 0 and (top + height).max() <= 100 and (left + width).max() <= 120
    area, ratio = height * width / 12_000, width / height
    assert 0.07 < area.min() < 0.12 and 0.9 < area.max() <= 1
    assert 0.72 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.37
    assert random_box(10, 1000, words[0])[2:] == (10, 13)
