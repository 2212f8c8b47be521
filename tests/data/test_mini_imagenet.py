"""miniImageNet's layouts: class folders, in parts or all together, and lists beside one folder of images."""

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, describe, load_splits
from fsjax.data.class_splits import read_lists
from fsjax.data.config import RESIZE
from fsjax.data.pictures import centre_crop

LISTS = read_lists("mini_imagenet")
PARTS = {"train": LISTS.train, "val": LISTS.validation, "test": LISTS.test}


@pytest.fixture
def write_lists_and_images(tmp_path):
    """A function that writes `images/` and the three lists; `rows` of each list may be replaced."""

    def write(header="filename,label", **rows):
        root = tmp_path / "mini"
        (root / "images").mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for part, classes in PARTS.items():
            lines = []
            for wnid in classes:
                for i in range(2):
                    Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).save(root / f"images/{wnid}{i:08d}.jpg")
                    lines.append(f"{wnid}{i:08d}.jpg,{wnid}")
            (root / f"{part}.csv").write_text("\n".join([header, *rows.get(part, lines)]) + "\n")
        return root

    return write


def load(name, root, **config):
    return load_splits({"name": name, "path": str(root), "class_split": {"name": "mini_imagenet"}} | config, seed=0)


def check(splits, a_class):
    """That the parts hold the listed classes, in the lists' order, with so many images of each."""
    assert splits.info.class_names == LISTS.train
    assert (splits.info.validation_classes, splits.info.test_classes) == (LISTS.validation, LISTS.test)
    assert splits.info.counts == {"train": 64 * a_class, "validation": 16 * a_class, "test": 20 * a_class}


@pytest.mark.parametrize("layout", ["parts", "together"])
def test_class_folders(write_folder, layout):
    folder = {part: f"{part}/" if layout == "parts" else "" for part in PARTS}
    root = write_folder({f"{folder[part]}{wnid}": 2 for part, classes in PARTS.items() for wnid in classes})
    splits = load("folder", root)
    check(splits, 2)
    # Which image is whose: the one file of a novel class, read apart.
    label = LISTS.test.index("n03272010")
    image = splits.test.images[np.flatnonzero(splits.test.labels == label)[1]]
    expected = np.asarray(Image.open(root / f"{folder['test']}n03272010/001.png"))
    np.testing.assert_array_equal(image, expected)


def test_parts_of_different_classes_need_a_class_split(write_folder):
    root = write_folder({"train/a": 2, "train/b": 2, "val/c": 2, "val/d": 2, "test/e": 2, "test/f": 2})
    with pytest.raises(DataError, match="must hold the same classes"):
        load_splits({"name": "folder", "path": str(root)}, seed=0)
    splits = load("folder", root, class_split={"name": "share", "validation": 0.0, "test": 0.4})
    assert splits.info.counts == {"train": 8, "test": 4}


def test_a_class_in_several_parts_is_one_class(write_folder):
    root = write_folder({f"{part}/{name}": 2 for part in ("train", "test") for name in "abcd"})
    splits = load("folder", root, class_split={"name": "share", "validation": 0.0, "test": 0.5})
    assert splits.info.class_counts == (4, 4) and splits.info.counts["test"] == 8


def test_empty_class_folders_are_still_refused(write_folder):
    root = write_folder({"train/a": 2, "train/b": 0, "test/c": 2, "test/d": 2})
    with pytest.raises(DataError, match="class folder .*train/b holds no image"):
        load("folder", root, class_split={"name": "share", "validation": 0.0, "test": 0.5})


def test_lists_and_images(write_lists_and_images):
    root = write_lists_and_images()
    splits = load("csv", root)
    check(splits, 2)
    label = LISTS.validation.index("n02091244")
    image = splits.validation.images[np.flatnonzero(splits.validation.labels == label)[0]]
    np.testing.assert_array_equal(image, np.asarray(Image.open(root / "images/n0209124400000000.jpg")))
    assert "by train.csv, val.csv, test.csv" in describe(splits)


def test_odd_lists_are_read(write_lists_and_images):
    lines = [f"{wnid},{i},{wnid}{i:08d}.jpg" for wnid in LISTS.train for i in range(2)]
    root = write_lists_and_images(train=[])
    # A mark before the header, another order, one more column, and the lines' ends of another system.
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["label,number,filename", *lines]).encode())
    check(load("csv", root), 2)


def test_a_list_may_be_absent(write_lists_and_images):
    root = write_lists_and_images()
    (root / "val.csv").unlink()
    with pytest.raises(DataError, match="16 of 16 validation classes"):
        load("csv", root)
    splits = load("csv", root, class_split={"name": "mini_imagenet", "allow_missing": True})
    assert splits.validation is None and splits.info.counts == {"train": 128, "test": 40}


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("filename,class", {}, r"train.csv has no column label; .* filename and label, and is: filename,class"),
        ("filename,label", {"val": []}, "val.csv lists no image"),
        ("filename,label", {"val": ["n0185567200000000.jpg"]}, r"val.csv, line 2: a row needs a filename and a label"),
        ("filename,label", {"val": [",n01855672"]}, r"val.csv, line 2: a row needs a filename and a label"),
        (
            "filename,label",
            {"test": [f"none{i}.jpg,n01930112" for i in range(12)]},
            r"12 of 172 listed images are missing in .*images: none0.jpg, .*none9.jpg, …\.",
        ),
        (
            "filename,label",
            {"val": [f"{LISTS.train[0]}00000001.jpg,n01855672"]},
            f"1 images are listed more than once: {LISTS.train[0]}00000001.jpg",
        ),
    ],
)
def test_lists_that_cannot_be_meant(write_lists_and_images, header, rows, message):
    with pytest.raises(DataError, match=message):
        load("csv", write_lists_and_images(header, **rows))


def test_what_lists_need(tmp_path, write_lists_and_images):
    with pytest.raises(DataError, match=r"no data for ordinary classification: set data.class_split.name"):
        load_splits({"name": "csv", "path": str(write_lists_and_images())}, seed=0)
    with pytest.raises(DataError, match="needs data.path"):
        load("csv", "")
    with pytest.raises(DataError, match=r"lacks all of train.csv, val.csv, test.csv and the folder images"):
        load("csv", tmp_path)


def test_truncated_images_are_named(write_lists_and_images):
    root = write_lists_and_images()
    path = root / f"images/{LISTS.test[3]}00000001.jpg"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=rf"1 of 40 images cannot be read.*\n.*{path.name}"):
        load("csv", root)


@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_the_filter_is_the_one_asked_for(write_lists_and_images, memory):
    root = write_lists_and_images()
    source = Image.open(root / f"images/{LISTS.test[0]}00000000.jpg")
    filters = {
        "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS, "box": Image.BOX,
    }  # fmt: skip
    seen = set()
    for name, kind in filters.items():
        splits = load("csv", root, image_size=3, resize=name, memory=memory, normalization="none")
        image = splits.test.images[0] if memory == "arrays" else splits.test.image(0)
        # 5 × 6 pixels: the centre is the square from 0.5 to 5.5.
        np.testing.assert_array_equal(image, np.asarray(source.resize((3, 3), kind, box=(0.5, 0, 5.5, 5))))
        seen.add(image.tobytes())
        assert f"cropped and resized to 3×3, {name} filter, antialiased" in describe(splits)
    assert len(seen) == 4 and set(filters) == set(RESIZE)


def test_a_box_is_the_mean_of_whole_pixels():
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    mean = image.astype(np.float64).reshape(3, 4, 3, 4, 3).mean(axis=(1, 3))
    # Pillow rounds after each of the two directions.
    assert np.abs(centre_crop(image, 3, 1.0, resize="box") - mean).max() <= 1
