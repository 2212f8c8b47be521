"""Folders as people have them: parts by many names, what file servers leave, links; and lists with commas in them."""

import os

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, describe, load_splits
from fsjax.data.own_pictures import labelled_files, picture_files
from fsjax.data.sources.layout import parts_in


@pytest.fixture
def folder(tmp_path):
    """A function that writes pictures, each of a grey of its own, by folder; it returns the root."""
    root, grey = tmp_path / "set", iter(range(256))

    def write(counts):
        for name, count in counts.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.new("L", (6, 6), next(grey)).save(root / name / f"{i}.png")
        return root

    return write


def load(root, **config):
    return load_splits({"name": "folder", "path": str(root), "test_fraction": 0.0} | config, seed=0)


PARTS = {"train/a": 3, "train/b": 3}


@pytest.mark.parametrize("name", ["test", "Test", "testing", "val", "valid", "validation", "dev", "Valid"])
def test_a_part_by_any_usual_name_is_the_test_part(folder, name):
    splits = load(folder(PARTS | {f"{name}/a": 2, f"{name}/b": 2}))
    assert splits.info.counts == {"train": 6, "test": 4}
    assert splits.info.class_names == ("a", "b")


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Training", "Validation", "Testing")])
def test_three_parts(folder, names):
    train, validation, test = names
    root = folder({f"{train}/{c}": 4 for c in "ab"} | {f"{validation}/{c}": 3 for c in "ab"})
    splits = load(folder({f"{test}/{c}": 2 for c in "ab"}))
    assert splits.info.counts == {"train": 8, "validation": 6, "test": 4}
    assert parts_in(root, "train", "") == {"train": root / train}


def test_a_class_that_is_called_as_a_part_is_a_class(folder):
    """Of vehicles, say, one is a train."""
    splits = load(folder({"bus": 3, "car": 3, "train": 3}))
    assert splits.info.class_names == ("bus", "car", "train") and splits.info.counts == {"train": 9}
    assert labelled_files(folder({})).class_names == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 3, "test": 3}, "test and train hold no class folders, and are named as parts"),
        ({"test/a": 3, "test/b": 3, "val/a": 3, "val/b": 3}, "set holds test and val, parts .* none to train on"),
        (PARTS | {"training/a": 2}, None),  # by the name that is set
        (PARTS | {"val/a": 2, "val/b": 2, "valid/a": 2}, "val and valid are both named as its val part"),
        (PARTS | {"testing/a": 2, "Test/b": 2}, "Test and testing are both named as its test part"),
    ],
)
def test_parts_that_cannot_be_told_are_refused(folder, counts, message):
    root = folder(counts)
    if message is None:
        assert load(root).info.counts == {"train": 6}
    else:
        with pytest.raises(DataError, match=message):
            load(root)


def test_folders_beside_the_parts_are_named(folder):
    splits = load(folder(PARTS | {"unlabelled": 4, "sketches/a": 1}))
    assert "passed over sketches, unlabelled, no parts by their names" in describe(splits)


@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "valid")])
def test_support_that_is_a_data_set_is_refused(folder, parts):
    train, test = parts
    root = folder({f"{train}/a": 2, f"{train}/b": 2, f"{test}/a": 2})
    with pytest.raises(DataError, match=f"holds .* and .*, which are named as parts .* such as {root}"):
        labelled_files(root)
    assert labelled_files(root / train).class_names == ("a", "b")


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "__MACOSX", ".thumbnails"])
def test_what_file_servers_and_systems_make_is_passed_over(folder, name):
    root = folder({"a": 3, "b": 3, f"a/{name}": 4, f"a/{name}/0.png.d": 1, name: 3, f"{name}/a": 2})
    assert load(root).info.counts == {"train": 6} and load(root).info.class_names == ("a", "b")
    assert len(labelled_files(root).files) == len(picture_files([root])) == 6


def test_a_real_folder_is_read_once(folder):
    """Ten levels, each with two links to the next, have 1,024 ways to the pictures at the end."""
    root = folder({"a": 2, "b": 2})
    level = root / "a"
    for number in range(10):
        deeper = root.parent / f"level{number}"
        deeper.mkdir()
        for name in ("x", "y"):
            os.symlink(deeper, level / name)
        level = deeper
    for i in range(3):
        Image.new("L", (6, 6), 200 + i).save(level / f"{i}.png")
    assert load(root).info.class_counts == (5, 2)
    assert len(picture_files([root])) == 7


@pytest.mark.parametrize("link", ["b", "b/deep", "test/b"])
def test_one_folder_in_two_classes_or_parts_is_refused(folder, link):
    root = folder(PARTS | {"test/a": 2} if link == "test/b" else {"a": 2, "a/deep": 1, "b": 1})
    target = {"b": "a", "b/deep": "a/deep", "test/b": "train/b"}[link]
    if link == "b":
        (root / "b/0.png").unlink()
        (root / "b").rmdir()
    os.symlink(root / target, root / link)
    with pytest.raises(DataError, match=f"{root / target} and {root / link} are one folder, by a link"):
        load(root)
    if link != "test/b":
        with pytest.raises(DataError, match="are one folder, by a link"):
            labelled_files(root)


# Lists


@pytest.fixture
def listed(tmp_path):
    """A function that writes a list of up to four pictures, and reads it."""
    (tmp_path / "images").mkdir()
    for i in range(4):
        Image.new("L", (6, 6), 50 * i).save(tmp_path / "images" / f"{i}.png")
    Image.new("L", (6, 6), 250).save(tmp_path / "outside.png")

    def read(text):
        (tmp_path / "train.csv").write_text(text)
        split = {"name": "share", "validation": 0.0, "test": 0.5}
        return load_splits({"name": "csv", "path": str(tmp_path), "class_split": split}, seed=0)

    return read


def names_of(splits):
    return {*splits.info.class_names, *splits.info.test_classes}


def test_commas_in_quotes_are_part_of_a_label(listed):
    rows = ['0.png,"Smith, John"', '1.png,"Smith, Ann"', "2.png,b", "3.png,c"]
    expected = {"Smith, John", "Smith, Ann", "b", "c"}
    assert names_of(listed("\n".join(["filename,label", *rows]))) == expected
    assert names_of(listed("\n".join(["filename,label,note", f"{rows[0]},x", *rows[1:]]))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\n0.png,Smith, John\n1.png,Smith, Ann\n", "line 2: 3 values, and the header names 2 columns"),
        ('filename,label\n0.png,"a\n1.png,b\n', "train.csv, line 3: unexpected end of data"),
        ('filename,label\n0.png,"a\n1.png,b"\n2.png,c\n', "line 3: a filename or a label has a line break in it"),
        ("filename,label,label\n0.png,a,b\n", "train.csv has 2 columns label: leave one"),
        ("filename,label\n0.png,a\n./0.png,b\n", "1 images are listed more than once: 0.png"),
        ("filename,label\n../outside.png,a\n0.png,b\n", "1 of 2 listed images lie outside of .*: ../outside.png"),
        ("filename,label\nx/../../outside.png,a\n0.png,b\n", "1 of 2 listed images lie outside of"),
        ("filename,label\n{root}/outside.png,a\n0.png,b\n", "1 of 2 listed images lie outside of"),
        ("filename,label\n0.png," + "a" * 200_000 + "\n", "train.csv, line 2: field larger than field limit"),
    ],
)
def test_lists_that_may_be_misread_are_refused(listed, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        listed(text.replace("{root}", str(tmp_path)))


def test_pixels_are_those_of_the_listed_files(listed):
    splits = listed("filename,label\n1.png,a\n0.png,b\n2.png,c\n3.png,d\n")
    found = {name: [] for name in names_of(splits)}
    for part, names in ((splits.train, splits.info.class_names), (splits.test, splits.info.test_classes)):
        for image, label in zip(part.images, part.labels, strict=True):
            found[names[label]].append(int(image[0, 0, 0]))
    np.testing.assert_equal(found, {"a": [50], "b": [0], "c": [100], "d": [150]})
