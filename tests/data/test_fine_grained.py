"""CUB, Stanford Cars and FGVC-Aircraft in their own folders, on small trees in each layout, whole and not."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fsjax.data import DataError, describe, eval_batches, load_splits
from fsjax.data.sources.aircraft import FOOTER

SIZES = [(40, 60), (60, 40), (50, 50)]  # height, width
BOXES = [(5, 10, 25, 50), (0, 0, 60, 40), (20, 30, 45, 50)]  # top, left, bottom, right, in pixels from 0
NOISE = np.random.default_rng(0)


def painted(path, number, *, footer=0, orientation=1):
    """Writes a black picture with its white box, and a white credit line below."""
    height, width = SIZES[number % 3]
    picture = np.zeros((height + footer, width, 3), np.uint8)
    top, left, bottom, right = BOXES[number % 3]
    picture[top:bottom, left:right] = 255
    picture[height:] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, quality=95, exif=exif)


def box_of(number):
    return np.array(BOXES[number % 3]) / np.tile(SIZES[number % 3], 2)


def load(name, path, **config):
    config = {"image_size": 48, "fit": "stretch", "normalization": "none"} | config
    return load_splits({"name": name, "path": str(path)} | config, seed=0)


def write_cub(root, count=12, classes=4):
    """Images 1, ... of classes 1, ... in turn; the first of each class and every third are for training."""
    names = [f"{c + 1:03d}.Bird_{c}" for c in range(classes)]
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")}
    for i in range(count):
        top, left, bottom, right = BOXES[i % 3]
        name = f"{names[i % classes]}/Bird_{i:04d}.jpg"
        painted(root / "images" / name, i)
        lists["images"].append(f"{i + 1} {name}")
        lists["image_class_labels"].append(f"{i + 1} {i % classes + 1}")
        lists["train_test_split"].append(f"{i + 1} {int(i < classes or i % 3 == 0)}")
        lists["bounding_boxes"].append(f"{i + 1} {left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}")
    lists["classes"] = [f"{c + 1} {name}" for c, name in enumerate(names)]
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_aircraft(root, per_variant=4):
    """Variants whose names hold spaces and strokes; of each, half of the images are for training."""
    variants = ["707-320", "F/A-18", "Gulfstream IV"]
    lists = {"images_variant_trainval": [], "images_variant_test": [], "images_box": [], "variants": variants}
    for i in range(per_variant * len(variants)):
        name = f"{1000000 + 7 * i:07d}"
        painted(root / "images" / f"{name}.jpg", i, footer=FOOTER)
        split = "trainval" if i < per_variant * len(variants) // 2 else "test"
        lists[f"images_variant_{split}"].append(f"{name} {variants[i % 3]}")
        top, left, bottom, right = BOXES[i % 3]
        lists["images_box"].append(f"{name} {left + 1} {top + 1} {right} {bottom}")
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def annotations(rows, fields):
    """A struct array as MATLAB's files have it: a row of structs of 1×1 arrays."""
    kinds = [(name, object) for name in fields]
    array = np.zeros((1, len(rows)), kinds)
    for i, row in enumerate(rows):
        array[0, i] = tuple(row[name] for name in fields)
    return array


def car(i, classes=3):
    top, left, bottom, right = BOXES[i % 3]
    box = {"bbox_x1": left + 1, "bbox_y1": top + 1, "bbox_x2": right, "bbox_y2": bottom}
    return {name: np.array([[value]], np.uint16) for name, value in (box | {"class": i % classes + 1}).items()}


NAMES = np.array([["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo Convertible 2012"]], object)
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")


def write_cars(root, *, kit="devkit", labels="", inner=False, count=(6, 5)):
    """The layout with a folder and a list for each part; annotations below `kit`, the test's labels below `labels`."""
    for folder in (kit, labels):
        (root / folder).mkdir(parents=True, exist_ok=True)
    savemat(root / kit / "cars_meta.mat", {"class_names": NAMES})
    start = 0
    for split, number in zip(("train", "test"), count, strict=True):
        rows = [car(start + i) | {"fname": f"{i + 1:05d}.jpg"} for i in range(number)]
        folder = root / f"cars_{split}" / (f"cars_{split}" if inner else "")
        for i, row in enumerate(rows):
            painted(folder / row["fname"], start + i)
        # Kaggle has the second list by a name that a browser gave it.
        test = root / labels / f"cars_test_annos_withlabels{' (1)' if inner else ''}.mat"
        name = root / kit / "cars_train_annos.mat" if split == "train" else test
        savemat(name, {"annotations": annotations(rows, (*BOX, "fname"))})
        start += number
    return root


def write_cars_whole(root, count=11):
    rows = []
    for i in range(count):
        painted(root / "car_ims" / f"{i + 1:06d}.jpg", i)
        test = {"relative_im_path": f"car_ims/{i + 1:06d}.jpg", "test": np.array([[int(i >= 6)]], np.uint8)}
        rows.append(car(i) | test)
    given = annotations(rows, ("relative_im_path", *BOX, "test"))
    savemat(root / "cars_annos.mat", {"annotations": given, "class_names": NAMES})
    return root


@pytest.fixture
def make(tmp_path):
    """A function that writes a layout by its name and gives the folder for `data.path`, and the numbers of images."""

    def make(layout):
        root = tmp_path / "data"
        root.mkdir()
        if layout.startswith("cub"):
            write_cub(root / "CUB_200_2011")
            return root if layout == "cub above" else root / "CUB_200_2011"
        if layout.startswith("aircraft"):
            write_aircraft(root / "fgvc-aircraft-2013b" / "data")
            below = {"aircraft": "fgvc-aircraft-2013b/data", "aircraft unpacked": "fgvc-aircraft-2013b"}
            return root / below.get(layout, "")
        return {
            "cars": lambda: write_cars(root),
            "cars above": lambda: write_cars(root / "stanford_cars").parent,
            "cars flat": lambda: write_cars(root, kit=""),
            "cars kaggle": lambda: write_cars(root, kit="car_devkit/devkit", inner=True),
            "cars devkit": lambda: write_cars(root, labels="devkit"),
            "cars whole": lambda: write_cars_whole(root),
        }[layout]()

    return make


LAYOUTS = {
    "cub": ([0, 1, 2, 3, 6, 9], [4, 5, 7, 8, 10, 11]),
    "cub above": ([0, 1, 2, 3, 6, 9], [4, 5, 7, 8, 10, 11]),
    **dict.fromkeys(("aircraft", "aircraft unpacked", "aircraft above"), (range(6), range(6, 12))),
    **{f"cars{kind}": (range(6), range(6, 11)) for kind in ("", " above", " flat", " kaggle", " devkit", " whole")},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_labels_and_boxes(make, layout):
    name, classes = layout.split()[0], 4 if layout.startswith("cub") else 3
    splits = load(name, make(layout))
    assert splits.info.name == name and splits.info.num_classes == classes
    for examples, numbers in zip((splits.train, splits.test), LAYOUTS[layout], strict=True):
        assert examples.labels.tolist() == [i % classes for i in numbers]
        np.testing.assert_allclose(examples.boxes, [box_of(i) for i in numbers], atol=1e-6)
        for picture, box in zip(examples.images[..., 0], examples.boxes, strict=True):
            inside = np.zeros_like(picture, bool)
            top, left, bottom, right = np.round(48 * box).astype(int)
            inside[top:bottom, left:right] = True
            # The credit line is gone: all that is white is in the box, but for a row that the filter blurs.
            assert (picture[inside] > 127).mean() > 0.9 and (picture[~inside] > 127).sum() < 0.05 * picture.size


@pytest.mark.parametrize("layout", ["cub", "aircraft", "cars"])
def test_memory_and_cuts_do_not_matter(make, layout):
    path = make(layout)
    for options in ({}, {"fit": "crop"}):
        arrays, stream = (load(layout, path, memory=memory, **options) for memory in ("arrays", "stream"))
        for split in ("train", "test"):
            np.testing.assert_array_equal(getattr(arrays, split).boxes, getattr(stream, split).boxes)
        for a, b in zip(*(eval_batches(s.test, batch_size=4, info=s.info) for s in (arrays, stream)), strict=True):
            np.testing.assert_array_equal(a["image"], b["image"])
    assert load(layout, path, box_key="").train.boxes is None
    assert load(layout, path, channels=1).info.image_shape == (48, 48, 1)


def test_class_names(make, tmp_path):
    assert load("cub", make("cub")).info.class_names == tuple(f"{c + 1:03d}.Bird_{c}" for c in range(4))
    shutil.rmtree(tmp_path / "data")
    splits = load("aircraft", make("aircraft"))
    assert splits.info.class_names == ("707-320", "F/A-18", "Gulfstream IV")
    assert "the last 20 rows of each picture, a credit line, are cut off" in describe(splits)
    shutil.rmtree(tmp_path / "data")
    assert load("cars", make("cars")).info.class_names == tuple(NAMES[0])


def test_classes_are_in_the_order_of_their_numbers(make):
    root = make("cub")
    lines = (root / "classes.txt").read_text().splitlines()
    (root / "classes.txt").write_text("\n".join(["10 010.Last", *lines[::-1]]))
    assert load("cub", root).info.class_names == (*(f"{c + 1:03d}.Bird_{c}" for c in range(4)), "010.Last")


def test_boxes_of_turned_pictures(make):
    root = make("cub")
    painted(root / "images" / "001.Bird_0/Bird_0000.jpg", 0, orientation=6)
    examples = load("cub", root).train
    # Turned clockwise, what was low is left and what was left is high.
    top, left, bottom, right = box_of(0)
    np.testing.assert_allclose(examples.boxes[0], [left, 1 - bottom, right, 1 - top], atol=1e-6)


PLACES = {
    "cub": ("CUB_200_2011.tgz is at https://www.vision.caltech.edu/datasets/cub_200_2011/", "images.txt"),
    "cars": ("https://ai.stanford.edu/~jkrause/cars/car_dataset.html", "cars_annos.mat with car_ims/"),
    "aircraft": ("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/", "images_variant_trainval.txt"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_missing_folder_says_where_to_get_it(name, tmp_path):
    for path in ("", tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError) as caught:
            load(name, path)
        assert all(words in str(caught.value) for words in PLACES[name])
        assert str(path) in str(caught.value)


def without(name):
    return lambda root: (root / name).unlink()


def lines(name, change):
    """Changes the lines of a list."""
    return lambda root: (root / name).write_text("\n".join(change((root / name).read_text().splitlines())))


def last(name, line):
    """Puts another line for the last one of a list."""
    return lines(name, lambda given: [*given[:-1], line])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("classes.txt"), "CUB_200_2011 lacks classes.txt of data set 'cub'. It must hold images"),
        (
            lambda r: shutil.rmtree(r / "images/002.Bird_1"),
            "3 of 12 listed images are missing in .*images: 002.Bird_1/",
        ),
        (lines("image_class_labels.txt", lambda x: x[:-2]), "labels.txt has no line for 2 of 12 images: 11, 12"),
        (lines("classes.txt", lambda x: x[:-1]), "classes.txt lacks the classes of images 4, 8, 12"),
        (last("bounding_boxes.txt", "12 1 2 3"), "'1 2 3' of 12 must be 4 numbers"),
        (last("bounding_boxes.txt", "12 1 2 three 4"), "'1 2 three 4' of 12 must be"),
        (last("train_test_split.txt", "12 2"), r"must say 1 \(training\) or 0"),
        (lines("train_test_split.txt", lambda x: [*x, "12 1"]), "has two lines for 12: leave one"),
        (last("images.txt", "12"), "line '12' needs something after"),
        (lambda r: (r / "images.txt").write_text("\n"), "images.txt is empty"),
        (lambda r: (r / "classes.txt").write_bytes(b"1 \xff\xfe"), "classes.txt cannot be read as a list"),
        (
            lambda r: (r / "images/001.Bird_0/Bird_0000.jpg").write_text("no"),
            "1 of 6 images cannot be read: .*Bird_0000.jpg",
        ),
    ],
)
def test_a_cub_that_is_not_whole_is_named(make, spoil, message):
    root = make("cub")
    spoil(root)
    with pytest.raises(DataError, match=message):
        load("cub", root)


def test_a_box_of_cub_without_any_width_is_noted_and_its_picture_kept(make):
    root = make("cub")
    last("bounding_boxes.txt", "12 1 2 0 4")(root)
    splits = load("cub", root)
    assert any(re.search("1 of 6 boxes .* passed over: .*Bird_0011.jpg", note) for note in splits.notes)
    missing = [np.isnan(part.boxes).any(axis=1).sum() for part in (splits.train, splits.test)]
    assert sorted(missing) == [0, 1]


def test_unreadable_pictures_can_be_skipped(make):
    root = make("cub")
    (root / "images/001.Bird_0/Bird_0000.jpg").write_text("no picture")
    for memory in ("arrays", "stream"):
        splits = load("cub", root, on_error="skip", memory=memory, fit="crop")
        assert splits.info.counts == {"train": 5, "test": 6} and len(splits.train.boxes) == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("images_box.txt"), "lacks images_box.txt of data set 'aircraft'"),
        (without("images/1000014.jpg"), "1 of 6 listed images are missing in .*images: 1000014.jpg"),
        (lines("variants.txt", lambda x: x[:2]), r"variants.txt lacks .*1000014 \(Gulfstream IV\), 1000035"),
        (lines("images_box.txt", lambda x: x[1:]), "images_box.txt has no line for 1 of 6 images: 1000000"),
        (lines("images_variant_test.txt", lambda x: [*x, "1000000 F/A-18"]), "for training and for test: 1000000"),
        (
            lambda r: Image.new("RGB", (30, 20)).save(r / "images/1000000.jpg"),
            "1 of 6 images cannot be read: .*1000000.jpg is 20 pixels high; its last 20 rows are to be cut",
        ),
    ],
)
def test_an_aircraft_that_is_not_whole_is_named(make, spoil, message):
    root = make("aircraft")
    spoil(root)
    with pytest.raises(DataError, match=message):
        load("aircraft", root)


def test_pictures_that_are_all_credit_line(make):
    root = make("aircraft")
    Image.new("RGB", (30, 20)).save(root / "images/1000000.jpg")
    with pytest.raises(DataError, match="1000000.jpg is 20 pixels high; its last 20 rows are to be cut off"):
        load("aircraft", root, box_key="")


def without_class(root):
    rows = [car(i) | {"fname": f"{i + 1:05d}.jpg"} for i in range(5)]
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": annotations(rows, (*BOX[:4], "fname"))})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("cars_test_annos_withlabels.mat"), "lacks cars_test_annos_withlabels.mat of Stanford Cars"),
        (lambda r: shutil.rmtree(r / "cars_test"), "lacks cars_test of Stanford Cars"),
        (without("cars_train/00003.jpg"), "1 of 6 listed images are missing in .*cars_train: 00003.jpg"),
        (lambda r: (r / "devkit/cars_meta.mat").write_text("no"), "cars_meta.mat cannot be read as a MATLAB file"),
        (lambda r: savemat(r / "devkit/cars_meta.mat", {"names": NAMES}), "cars_meta.mat holds no 'class_names'"),
        (
            lambda r: savemat(r / "devkit/cars_meta.mat", {"class_names": NAMES[:, :2]}),
            r"classes of 00003.jpg, 00006.jpg are not among 1\.\.2",
        ),
        (without_class, "its annotations have no 'class'"),
    ],
)
def test_cars_that_are_not_whole_are_named(make, spoil, message):
    root = make("cars")
    spoil(root)
    with pytest.raises(DataError, match=message):
        load("cars", root)
