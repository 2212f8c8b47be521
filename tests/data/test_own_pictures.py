"""Pictures from files as a run's network sees them."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

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
    with pytest.raises(data.DataError, match="wide.png: 12×20, and this network takes 10×20"):
        data.open_pictures([wide], {"name": "fake"}, info(10, 20, 3))


def test_grey_networks_and_broken_files(tmp_path):
    colour, broken = save(tmp_path / "c.png", 8, 8, 3), tmp_path / "broken.jpg"
    assert data.open_pictures([colour], {"name": "fake"}, info(8, 8, 1)).images.shape == (1, 8, 8, 1)
    broken.write_bytes(b"no picture")
    with pytest.raises(data.DataError, match="1 of 2 pictures cannot be read(.|\n)*broken.jpg"):
        data.open_pictures([colour, broken], {"name": "fake"}, info(8, 8, 3))


def png_that_claims(width, height):
    """The head of a PNG file of such a size, and nothing to fill it with."""

    def block(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"\0" * 99)) + block(b"IEND", b"")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """By what its head says, whether that is true or not, below pillow's limit and above it, and without a warning."""
    for name, size in (("lies.png", (12000, 9000)), ("huge.png", (60000, 60000)), ("within.png", (900, 1000))):
        (tmp_path / name).write_bytes(png_that_claims(*size))
    Image.new("1", (3000, 2000)).save(tmp_path / "true.png")
    Image.new("L", (3000, 2000)).save(tmp_path / "true.jpg")
    good = save(tmp_path / "good.png", 9, 9, 3)
    files = data.picture_files([tmp_path])
    decoded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self.size) or load(self))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (part,) = data.read_pictures(files, {"name": "fake"}, info(6, 6, 3), max_pixels=1_000_000)
    failed = {files[number].name: reason for number, reason in part.failed.items()}
    assert [files[number] for number in part.read] == [good] and set(decoded) == {(9, 9), (900, 1000)}
    assert failed["lies.png"] == "12000×9000 is 108.0 megapixels, and 1 are the most allowed"
    assert failed["true.png"] == failed["true.jpg"] == "3000×2000 is 6.0 megapixels, and 1 are the most allowed"
    assert "decompression bomb" in failed["huge.png"] and "trunc" in failed["within.png"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (part,) = data.read_pictures([tmp_path / "lies.png"], {"name": "fake"}, info(6, 6, 3), max_pixels=100_000_000)
    assert "108.0 megapixels, and 100 are the most" in part.failed[0]


def test_pictures_come_in_chunks_with_thumbnails(tmp_path):
    shapes = [(100, 300, 3), (40, 20, 3), (5, 5, 3), (64, 64, 3), (3, 500, 3)]
    files = [save(tmp_path / f"{i}.png", *shape) for i, shape in enumerate(shapes)]
    files.insert(2, tmp_path / "gone.png")
    options = {"thumbnail": 50, "chunk": 4}
    first, second = data.read_pictures(files, {"name": "fake"}, info(6, 6, 3), **options)
    assert (first.start, first.count, first.read.tolist(), second.start, second.read.tolist()) == (
        0,
        4,
        [0, 1, 3],
        4,
        [4, 5],
    )
    assert first.failed == {2: "No such file or directory"} and second.failed == {}
    small = first.thumbnails + second.thumbnails
    assert [x.shape for x in small] == [(17, 50, 3), (40, 20, 3), (5, 5, 3), (50, 50, 3), (1, 50, 3)]
    np.testing.assert_array_equal(small[1], np.asarray(Image.open(files[1])))
    expected = np.asarray(Image.open(files[0]).resize((50, 17), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(small[0], expected)
    together = data.open_pictures([f for f in files if f.name != "gone.png"], {"name": "fake"}, info(6, 6, 3))
    np.testing.assert_array_equal(together.images, np.concatenate([first.images, second.images]))
    np.testing.assert_array_equal(together.sizes, [shape[:2] for shape in shapes])


def test_class_folders_and_names(tmp_path):
    for name in ("b/deep/1.png", "b/0.JPG", "a/x.png", "a/.hidden.png", ".no/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    found = data.labelled_files(tmp_path)
    assert found.class_names == ("a", "b") and found.passed_over == 1
    assert [str(file.relative_to(tmp_path)) for file in found.files] == ["a/x.png", "b/0.JPG", "b/deep/1.png"]
    assert found.labels.tolist() == [0, 1, 1]
    named = data.named_pictures([tmp_path])
    assert [name for name, _ in named.files] == ["a/x.png", "b/0.JPG", "b/deep/1.png"] and named.passed_over == 1
    both = data.named_pictures([tmp_path / "b" / "0.JPG", tmp_path / "a"])
    assert [name for name, _ in both.files] == [str(tmp_path / "b/0.JPG"), str(tmp_path / "a/x.png")]


def test_links_are_followed_but_not_in_circles_and_what_is_no_file_is_counted(tmp_path):
    many, elsewhere, further = tmp_path / "many", tmp_path / "elsewhere", tmp_path / "further"
    for folder in (many / "a", elsewhere, further):
        folder.mkdir(parents=True)
        save(folder / "x.png", 4, 4, 3)
    (many / "linked").symlink_to(elsewhere)
    (many / "a" / "up").symlink_to(tmp_path)
    # Each leads to the other, and neither lies in the other.
    (elsewhere / "on").symlink_to(further)
    (further / "back").symlink_to(elsewhere)
    (many / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(many / "pipe.png")
    found = data.named_pictures([many])
    assert [name for name, _ in found.files] == ["a/x.png", "linked/on/x.png", "linked/x.png"]
    assert found.passed_over == 2 and not found.closed


def test_folders_that_cannot_be_opened_are_told(tmp_path, close):
    for name in ("few/a", "few/b/deep", "many/open", "many/shut"):
        (tmp_path / name).mkdir(parents=True)
        save(tmp_path / name / "x.png", 4, 4, 3)
    few, many = tmp_path / "few", tmp_path / "many"
    assert len(data.labelled_files(few).files) == 2 and len(data.picture_files([many])) == 2
    close(many / "shut")
    found = data.named_pictures([many])
    assert [name for name, _ in found.files] == ["open/x.png"]
    assert found.closed == {str(many / "shut"): "Permission denied"}
    for folder, read in (
        (many / "shut", lambda: data.picture_files([many])),
        (many / "shut", lambda: data.named_pictures([many / "shut"])),
        (few / "b" / "deep", lambda: data.labelled_files(few)),
        (few / "b", lambda: data.labelled_files(few)),
        (few, lambda: data.labelled_files(few)),
    ):
        close(folder)
        with pytest.raises(data.DataError, match=f"{folder} cannot be opened: Permission denied"):
            read()
