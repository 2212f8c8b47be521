"""Data sets that TFDS prepared, found by name or by folder, whole and broken."""

import os
import shutil
import socket

import numpy as np
import pytest

from fsjax.data import DataError, eval_batches, load_splits, train_batches
from fsjax.data.sources import records

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (30, 8, 6, 3), np.uint8)
LABELS = [i % 3 for i in range(30)]


@pytest.fixture(scope="module")
def tiny(prepare_tfds):
    return prepare_tfds({"train": (IMAGES[:20], LABELS[:20]), "test": (IMAGES[20:], LABELS[20:])})


def load(path, **config):
    return load_splits({"name": "tiny", "path": str(path)} | config, seed=0)


def test_a_prepared_folder(tiny):
    splits = load(tiny)
    assert splits.info.name == "tiny" and splits.info.counts == {"train": 20, "test": 10}
    np.testing.assert_array_equal(splits.train.images, IMAGES[:20])
    np.testing.assert_array_equal(splits.test.images, IMAGES[20:])
    np.testing.assert_array_equal(splits.train.labels, LABELS[:20])


def test_by_name_from_a_data_dir_and_from_the_environment(tiny, monkeypatch):
    expected = load(tiny).info
    assert load(tiny.parents[1]).info == expected
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny.parents[1]))
    assert load("").info == expected


def test_a_stream_gives_the_batches_of_arrays(tiny):
    options = {"batch_size": 6, "start_step": 2, "num_steps": 6, "seed": 1}
    options["augmentation"] = {"crop": "pad", "pad": 1, "flip": True, "mixup": 1.0}
    both = [load(tiny, memory=memory, validation=0.2) for memory in ("arrays", "stream")]
    assert both[0].info == both[1].info
    for a, b in zip(*(train_batches(s.train, info=s.info, **options) for s in both), strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    for split in ("validation", "test"):
        batches = [list(eval_batches(getattr(s, split), batch_size=4, info=s.info)) for s in both]
        assert len(batches[0]) == len(batches[1])
        for a, b in zip(*batches, strict=True):
            np.testing.assert_array_equal(a["image"], b["image"])


def test_parts_of_splits(tiny):
    splits = load(tiny, train_split="train[5:15]+test[:3]", test_split="test[3:]")
    np.testing.assert_array_equal(splits.train.images, IMAGES[[*range(5, 15), 20, 21, 22]])
    np.testing.assert_array_equal(splits.test.images, IMAGES[23:])


def test_no_test_split_takes_a_share_of_the_training_split(tiny):
    splits = load(tiny, test_split="", test_fraction=0.25)
    assert splits.info.counts == {"train": 14, "test": 6}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "mnist"}, "holds 'tiny', but data.name is 'mnist'"),
        ({"test_split": "validation"}, "tiny has no split 'validation'; it has: train, test"),
        (
            {"label_key": "height"},
            "data.label_key='height': tiny has no ClassLabel of that name; it has: label",
        ),
        ({"image_key": "picture"}, "data.image_key='picture': tiny has no Image of that name; it has: image"),
    ],
)
def test_what_it_does_not_hold_is_named(tiny, config, message):
    with pytest.raises(DataError, match=message):
        load(tiny, **config)


def test_labels_out_of_range_are_named(prepare_tfds):
    path = prepare_tfds({"train": (IMAGES[:6], [0, 1, -1, 2, 0, -1])}, name="unlabelled")
    words = r"2 labels outside 0..2, the 3 classes: example 2 of unlabelled, split 'train': label -1; example 5"
    with pytest.raises(DataError, match=words):
        load(path, name="unlabelled", test_split="")


def test_sizes_that_differ_are_named(prepare_tfds):
    images = [*IMAGES[:5], IMAGES[5, :4], *IMAGES[6:12]]
    path = prepare_tfds({"train": (images, LABELS[:12])}, name="sizes", shape=(None, None, 3))
    with pytest.raises(DataError, match=r"example 0 of sizes.* is 8×6, example 5 of sizes.* 4×6"):
        load(path, name="sizes", test_split="", test_fraction=0.0)
    assert load(path, name="sizes", test_split="", image_size=4).info.image_shape == (4, 4, 3)


def test_a_cut_off_file_is_named(tiny, tmp_path):
    copy = shutil.copytree(tiny, tmp_path / "tiny" / "1.0.0")
    (file,) = copy.glob("*train*")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"train.* is cut off: it ends inside record 19"):
        load(copy)
    file.unlink()
    with pytest.raises(DataError, match=r"train.* cannot be read: No such file"):
        load(copy)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "unknown"])
def test_a_folder_that_is_not_whole_is_named(tiny, tmp_path, name, damage):
    copy = shutil.copytree(tiny, tmp_path / "tiny" / "1.0.0")
    text = (copy / name).read_text()
    if damage == "missing":
        (copy / name).unlink()
    elif damage == "cut":
        (copy / name).write_text(text[:100])
    else:
        (copy / name).write_text(
            text.replace("image_feature.Image", "image_feature.Picture").replace('"name"', '"nam"')
        )
    words = f"has no {name}" if damage == "missing" else "cannot be read: [^\n]*"
    with pytest.raises(DataError, match=rf"^data\.path=\S+ {words}: it is not whole, or of another version") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_images_of_floats_are_refused(prepare_tfds):
    """TFDS writes their bytes as four channels of a PNG."""
    shares = np.full((4, 8, 6, 1), 0.35, np.float32)
    path = prepare_tfds({"train": (shares, [0, 1, 2, 0])}, name="floats", shape=(8, 6, 1), dtype=np.float32)
    with pytest.raises(DataError, match="data.image_key='image': the images of floats are float32, whose range is not"):
        load(path, name="floats", test_split="")


def test_images_of_16_bits_are_scaled(prepare_tfds):
    grey = np.array([40, 90], np.uint16).reshape(1, 1, 2, 1) * np.uint16(257)
    path = prepare_tfds({"train": (grey.repeat(3, 0), [0, 1, 2])}, name="sixteen", shape=(1, 2, 1), dtype=np.uint16)
    splits = load(path, name="sixteen", test_split="", test_fraction=0.0)
    np.testing.assert_array_equal(splits.train.images[0, 0, :, 0], [40, 90])


def test_scans_of_large_files_are_kept_until_the_files_change(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "CACHED_BYTES", 0)
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "cache"))
    copy = shutil.copytree(tiny, tmp_path / "tiny" / "1.0.0")
    first = load(copy)
    kept = sorted((tmp_path / "cache").glob("records-*"))
    assert len(kept) == 2
    monkeypatch.setattr(records, "_read", None)
    again = load(copy)
    np.testing.assert_array_equal(again.train.images, first.train.images)
    np.testing.assert_array_equal(again.train.labels, first.train.labels)
    monkeypatch.undo()
    monkeypatch.setattr(records, "CACHED_BYTES", 0)
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "cache"))
    (file,) = copy.glob("*train*")
    stat = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # written anew, with the size and the time of before
    load(copy)
    assert len(list((tmp_path / "cache").glob("records-*"))) == 3
    for kept in (tmp_path / "cache").glob("records-*"):
        kept.write_bytes(kept.read_bytes()[:-30])
    np.testing.assert_array_equal(load(copy).train.images, first.train.images)


def test_an_unknown_name_names_close_ones(tmp_path):
    with pytest.raises(DataError, match=r"'cifar1000' is no source of fsjax .* TFDS has, for example, cifar100"):
        load(tmp_path, name="cifar1000")


def test_a_missing_data_set_without_network(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with pytest.raises(DataError) as caught:
        load(tmp_path, name="cifar10")
    words = str(caught.value)
    assert "data set 'cifar10' is not prepared in" in words and str(tmp_path) in words
    assert "no connection to www.cs.toronto.edu" in words and "TFDS_DATA_DIR or data.path" in words


def test_a_missing_folder_is_not_made(tmp_path):
    with pytest.raises(DataError, match="typo is no folder; data set 'cifar10' was looked for in it"):
        load(tmp_path / "typo", name="cifar10")
