"""Data sets that are decoded once: the same splits as without, from a folder that is whole or is made again."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, StreamExamples, load_splits
from fsjax.data.config import parse_config
from fsjax.data.store import cache
from fsjax.errors import UserError

PARTS = ("train", "validation", "test", "base", "support")
DIGITS = {"name": "digits"}
SHARE = {"name": "share", "validation": 0.2, "test": 0.3}
FAKE = {"name": "fake", "fake": {"height": 6, "width": 5, "train": 200, "test": 50}}
# Decoded anew in a process that has nothing but NumPy.
BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "sklearn", "PIL"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def mixed_folder(tmp_path):
    """Pictures of all sizes, in parts for training and for test."""
    rng = np.random.default_rng(0)
    root = tmp_path / "pictures"
    for part, count in (("train", 7), ("test", 3)):
        for name in ("cat", "dog", "emu", "owl"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                size = (*rng.integers(5, 30, 2), 3)
                Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(root / part / name / f"{i}.png")
    return root


@pytest.fixture
def birds(tmp_path):
    """Pictures with boxes, laid out as CUB-200-2011, one of the boxes outside of its picture."""
    rng = np.random.default_rng(1)
    root = tmp_path / "CUB_200_2011"
    lists = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for i in range(1, 13):
        path = root / "images" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = (int(n) for n in rng.integers(10, 40, 2))
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        box = (500, 1, 5, 5) if i == 5 else (rng.integers(0, width // 2), rng.integers(0, height // 2), 4, 5)
        for name, value in zip(lists, (path.name, 1 + i % 2, int(i % 4 != 0), " ".join(map(str, box))), strict=True):
            lists[name].append(f"{i} {value}")
    lists["classes"] = ["1 wren", "2 crow"]
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines))
    return root


def assert_same_splits(given, expected):
    """All but the one note on the cache."""
    for name in PARTS:
        mine, other = getattr(given, name), getattr(expected, name)
        assert (mine is None) == (other is None)
        if other is None:
            continue
        for field in ("images", "labels", "boxes"):
            np.testing.assert_array_equal(getattr(mine, field), getattr(other, field))
        assert mine.images.dtype == np.uint8 and mine.labels.dtype == other.labels.dtype
    assert given.info == expected.info
    for field in ("items", "cluster_shares"):
        np.testing.assert_array_equal(getattr(given, field), getattr(expected, field))
    notes = [note for note in given.notes if not note.startswith("decoded images of ")]
    assert notes == list(expected.notes) and len(notes) == len(given.notes) - 1


def entry_of(folder):
    (entry,) = (path for path in Path(folder).iterdir() if not path.name.startswith("."))
    return entry


def digest_of(splits):
    return hashlib.sha256(np.concatenate([e.images.ravel() for e in (splits.train, splits.test)])).hexdigest()


@pytest.mark.parametrize(
    "choices",
    [
        {"validation": 0.2, "longtail_ratio": 4.0, "limit": {"train": 300, "test": 50}, "clusters": "class"},
        {"class_split": SHARE, "base_holdout": 5, "image_size": 12, "resize": "bicubic", "channels": 3},
        {"label_noise": 0.2, "memory": "arrays", "normalization": "half"},
    ],
)
def test_digits_are_the_same_decoded_before(tmp_path, choices):
    choices = DIGITS | choices
    for seed in (0, 1):
        given = load_splits(choices | {"cache": str(tmp_path)}, seed=seed)
        assert_same_splits(given, load_splits(choices | {"cache": "off"}, seed=seed))
    entry_of(tmp_path)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"fit": "stretch", "validation": 0.3},
        {"class_split": {"name": "share", "validation": 0.0, "test": 0.5}, "limit": {"train": 5}},
        {"channels": 1},
    ],
)
def test_pictures_of_mixed_sizes(tmp_path, mixed_folder, choices):
    config = {"name": "folder", "path": str(mixed_folder), "image_size": 8} | choices
    expected = load_splits(config, seed=0)
    for _ in range(2):
        assert_same_splits(load_splits(config | {"cache": str(tmp_path / "cache")}, seed=0), expected)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_boxes_and_what_was_said_of_them(tmp_path, birds, fit):
    config = {"name": "cub", "path": str(birds), "image_size": 8, "fit": fit}
    expected = load_splits(config, seed=0)
    assert any("boxes" in note for note in expected.notes)
    for _ in range(2):
        assert_same_splits(load_splits(config | {"cache": str(tmp_path / "cache")}, seed=0), expected)


def test_parts_of_a_source_stay_apart(tmp_path):
    config = FAKE | {"class_split": SHARE, "keep_test": True}
    for _ in range(2):
        assert_same_splits(load_splits(config | {"cache": str(tmp_path)}, seed=0), load_splits(config, seed=0))


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return type(array).__name__ == "mmap"


def test_whole_parts_are_mapped_and_choices_share_one_folder(tmp_path):
    config = FAKE | {"cache": str(tmp_path)}
    assert not is_mapped(load_splits(FAKE, seed=0).train.images)
    splits = load_splits(config, seed=0)
    assert is_mapped(splits.train.images) and is_mapped(splits.test.images)
    cut = load_splits(config | {"limit": {"train": 20}, "augment": {"flip": True}}, seed=0)
    assert not is_mapped(cut.train.images) and is_mapped(cut.test.images)
    entry = entry_of(tmp_path)
    # Another shape of the images is another data set.
    load_splits(config | {"image_size": 4}, seed=0)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    np.testing.assert_array_equal(np.load(entry / "train.images.npy"), splits.train.images)


def test_more_than_memory_should_hold_is_streamed_from_the_folder(tmp_path, monkeypatch, birds):
    config = {"name": "cub", "path": str(birds), "image_size": 8}
    expected = load_splits(config, seed=0)
    monkeypatch.setattr("fsjax.data.load.ARRAYS_BYTES", 0)
    given = load_splits(config | {"cache": str(tmp_path / "cache")}, seed=0)
    assert isinstance(given.train, StreamExamples) and given.train.part.viewed
    for name in ("train", "test"):
        mine, other = getattr(given, name), getattr(expected, name)
        np.testing.assert_array_equal([mine.image(i) for i in range(len(mine))], other.images)
        np.testing.assert_array_equal(mine.boxes, other.boxes)
    on_device = load_splits(config | {"cache": str(tmp_path / "cache"), "backend": "device"}, seed=0)
    np.testing.assert_array_equal(on_device.train.images, expected.train.images)
    monkeypatch.setattr("fsjax.data.store.cache.decoded.read", None)  # not asked: whole pictures are decoded
    streamed = load_splits(config | {"cache": str(tmp_path / "cache"), "memory": "stream"}, seed=0)
    assert not streamed.train.part.viewed


@pytest.mark.parametrize("how", ["exchanged", "edited in place"])
def test_a_change_that_keeps_names_sizes_and_times_is_seen(tmp_path, how):
    root = tmp_path / "pictures"
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (8, 8), (100 * number, i, 9)).save(root / name / f"{i}.bmp")
            os.utime(root / name / f"{i}.bmp", ns=(0, 0))
    config = {"name": "folder", "path": str(root), "cache": str(tmp_path / "cache")}
    before = load_splits(config, seed=0)
    assert (before.train.images[:, 0, 0, 0] == before.train.labels * 100).all()
    if how == "exchanged":
        (root / "cat").rename(root / "other")
        (root / "dog").rename(root / "cat")
        (root / "other").rename(root / "dog")
    else:
        for file in root.glob("*/*.bmp"):
            content = file.read_bytes()
            with file.open("r+b") as stream:
                stream.write(content[:54] + bytes(100 - x if i % 3 == 2 else x for i, x in enumerate(content[54:])))
            os.utime(file, ns=(0, 0))
    after = load_splits(config, seed=0)
    assert (after.train.images[:, 0, 0, 0] == 100 - after.train.labels * 100).all()
    assert any("its source has changed" in note for note in after.notes)


def test_a_changed_picture_is_decoded_anew(tmp_path, mixed_folder):
    config = {"name": "folder", "path": str(mixed_folder), "image_size": 8, "cache": str(tmp_path / "cache")}
    before = load_splits(config, seed=0)
    picture = mixed_folder / "train" / "cat" / "0.png"
    Image.new("RGB", (8, 8), (1, 2, 3)).save(picture)
    after = load_splits(config, seed=0)
    assert (after.train.images[0] == (1, 2, 3)).all() and (before.train.images[0] != after.train.images[0]).any()
    np.testing.assert_array_equal(before.train.images[1:], after.train.images[1:])
    assert any("its source has changed" in note for note in after.notes)
    picture.unlink()
    assert len(load_splits(config, seed=0).train) == len(before.train) - 1
    assert not any("decoded again" in note for note in load_splits(config, seed=0).notes)


@pytest.mark.parametrize("file", ["train.images.npy", "test.labels.npy", "train.names.npy", "manifest.json"])
def test_damage_is_found(tmp_path, mixed_folder, file):
    config = {"name": "folder", "path": str(mixed_folder), "image_size": 8, "cache": str(tmp_path / "cache")}
    # Now: the images are mapped, and would change with the file.
    expected = digest_of(load_splits(config, seed=0))
    path = entry_of(tmp_path / "cache") / file
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    again = load_splits(config, seed=0)
    assert digest_of(again) == expected
    assert any(f"decoded again: {path} is damaged" in note for note in again.notes)
    path.unlink()
    shutil.move(mixed_folder, tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"{path} (is damaged|cannot be read).*it cannot be decoded again.*is no folder"
    ):
        load_splits(config, seed=0)


def test_a_folder_that_was_carried_here_is_enough(tmp_path, mixed_folder, python, monkeypatch):
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "user"))
    configs = [
        {"name": "digits", "backend": "device", "validation": 0.1},
        {"name": "folder", "path": str(mixed_folder), "image_size": 8, "backend": "device"},
    ]
    expected = [digest_of(load_splits(config, seed=0)) for config in configs]
    assert len(list((tmp_path / "user" / "data").glob("[!.]*"))) == 2
    shutil.move(mixed_folder, tmp_path / "elsewhere")
    code = f"""{BLOCKED}
import hashlib
import numpy as np
from fsjax.data import DataError, load_splits
for config in {configs!r}:
    s = load_splits(config, seed=0)
    print(hashlib.sha256(np.concatenate([e.images.ravel() for e in (s.train, s.test)])).hexdigest())
try:
    load_splits({{"name": "digits", "image_size": 9, "backend": "device"}}, seed=0)
except DataError as error:
    print(error)
"""
    *digests, message = python("-c", code).stdout.split("\n", 2)
    assert digests == expected
    assert "data.name='digits' needs the module 'sklearn', which is not here: install it, or bring" in message
    with pytest.raises(DataError, match=r"is no folder \(nor is it decoded already, in .*user/data/folder-"):
        load_splits(configs[1] | {"image_size": 9}, seed=0)


def test_data_of_tfds_without_tfds(tmp_path, prepare_tfds, monkeypatch):
    rng = np.random.default_rng(0)
    split = (rng.integers(0, 256, (9, 8, 6, 3), np.uint8), np.arange(9) % 3)
    path = prepare_tfds({"train": split, "test": split})
    config = {"name": "tiny", "path": str(path), "backend": "device", "cache": str(tmp_path)}
    expected = load_splits(config | {"cache": "off"}, seed=0)
    assert_same_splits(load_splits(config, seed=0), expected)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    for place in (path, path.parents[1]):
        assert_same_splits(load_splits(config | {"path": str(place)}, seed=0), expected)
    (path / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match="its source has changed; .*needs the module 'tensorflow_datasets'"):
        load_splits(config, seed=0)
    shutil.rmtree(path)
    assert_same_splits(load_splits(config | {"path": ""}, seed=0), expected)


def test_of_several_at_once_one_decodes(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cache, "load_source", lambda c, load=cache.load_source: asked.append(c) or load(c))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: digest_of(load_splits(FAKE | {"cache": str(tmp_path)}, seed=0)), range(4)))
    assert len(asked) == 1 and set(found) == {digest_of(load_splits(FAKE, seed=0))}


@pytest.mark.slow
def test_processes_at_once(tmp_path, root):
    code = (
        "from fsjax.data import load_splits; "
        f"print(load_splits({FAKE | {'cache': str(tmp_path)}!r}, seed=0).train.images.astype(int).sum())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = [int(process.communicate(timeout=300)[0]) for process in started]
    assert printed == [load_splits(FAKE, seed=0).train.images.astype(int).sum()] * 2
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name.startswith(".")) == [".lock"]
    entry_of(tmp_path)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    config = FAKE | {"cache": str(tmp_path)}

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("fsjax.data.store.decoded.os.fsync", full)
        with pytest.raises(DataError, match=r'No space left on device \([\d,]+ MiB free.*data.cache to.*or to "off"'):
            load_splits(config, seed=0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    # What a killed process left is removed.
    (tmp_path / f".{cache._name(parse_config(config), cache.View(0))}.0.partial").mkdir()
    assert_same_splits(load_splits(config, seed=0), load_splits(FAKE, seed=0))
    assert not list(tmp_path.glob(".*.partial"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="decoded images cannot be kept in .*file"):
        load_splits(FAKE | {"cache": str(tmp_path / "file" / "below")}, seed=0)


def test_pictures_that_cannot_be_read(tmp_path, mixed_folder):
    (mixed_folder / "train" / "owl" / "3.png").write_bytes(b"broken")
    config = {"name": "folder", "path": str(mixed_folder), "image_size": 8}
    cached = config | {"cache": str(tmp_path / "cache")}
    with pytest.raises(DataError, match="1 of 28 images cannot be read.*\n.*owl/3.png"):
        load_splits(cached, seed=0)
    expected = load_splits(config | {"on_error": "skip"}, seed=0)
    for _ in range(2):
        assert_same_splits(load_splits(cached | {"on_error": "skip"}, seed=0), expected)
    with pytest.raises(DataError, match="images differ in size"):
        load_splits(cached | {"on_error": "skip", "image_size": 0}, seed=0)


def test_where_decoded_images_are_kept(tmp_path, monkeypatch):
    for name in ("FSJAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = parse_config({"name": "digits"})
    device = dataclasses.replace(config, backend="device")
    assert cache.place_of(config) == cache.place_of(device) == tmp_path / ".cache" / "fsjax" / "data"
    assert cache.place_of(dataclasses.replace(config, cache="~/here")) == tmp_path / "here"
    assert cache.place_of(dataclasses.replace(device, cache="off")) is None
    monkeypatch.setenv("FSJAX_CACHE", "/big")
    assert cache.place_of(device) == Path("/big/data")
    monkeypatch.setenv("FSJAX_CACHE", "off")
    assert cache.place_of(device) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"augment": {"rotate": 10.0}}, 'rotate=10.0 is done on the host: set data.backend="host"'),
        ({"augment": {"crop": "random_resized"}, "image_size": 8}, "crop='random_resized' is done on the host"),
        ({"augment": {"brightness": 0.1, "lighting": 0.2}}, "brightness=0.1, lighting=0.2 is done on the host"),
        ({"memory": "stream"}, 'data.memory="stream" decodes images as they are needed'),
    ],
)
def test_what_only_the_host_does(config, message):
    parse_config(config)
    with pytest.raises(DataError, match=message):
        parse_config(config | {"backend": "device"})
    with pytest.raises(UserError, match="data.backend='gpu' must be one of 'host', 'device'"):
        parse_config({"name": "digits", "backend": "gpu"})


def written(folder):
    """The decoded data sets in a folder."""
    return [path for path in Path(folder).glob("[!.]*") if path.is_dir()]


def test_what_is_made_without_being_asked_for(tmp_path, monkeypatch):
    """Noise and parts of data sets are not decoded whole for nothing, but read where they are decoded."""
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path))
    device, part = DIGITS | {"backend": "device"}, DIGITS | {"limit": {"train": 100}}
    for config in (device | FAKE, device | part):
        load_splits(config, seed=0)
        assert not written(tmp_path / "data")
    load_splits(FAKE | {"cache": str(tmp_path / "asked")}, seed=0)
    load_splits(part | {"cache": str(tmp_path / "asked")}, seed=0)
    assert len(written(tmp_path / "asked")) == 2
    load_splits(device, seed=0)
    assert len(written(tmp_path / "data")) == 1
    assert_same_splits(load_splits(device | part, seed=0), load_splits(part | {"cache": "off"}, seed=0))


@pytest.fixture
def slow_to_decode(monkeypatch):
    """A second for each image, as far as the cache knows."""
    monkeypatch.setattr(cache, "_SECONDS_EACH", 1.0)


def test_the_host_keeps_what_takes_long_to_decode(tmp_path, monkeypatch, mixed_folder, slow_to_decode):
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "user"))
    config = {"name": "folder", "path": str(mixed_folder), "image_size": 8}
    expected = load_splits(config | {"cache": "off"}, seed=0)
    for other in ({"cache": "off"}, {"memory": "stream"}, {"limit": {"train": 8}}):
        load_splits(config | other, seed=0)
    load_splits(FAKE, seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "ARRAYS_BYTES", 40 * 8 * 8 * 3 - 1)
        load_splits(config, seed=0)
        patch.setattr(cache, "_SECONDS_EACH", 1e-4)
        patch.setattr(cache, "ARRAYS_BYTES", 10**9)
        load_splits(config, seed=0)
    assert not written(tmp_path / "user" / "data")
    first = load_splits(config, seed=0)
    assert_same_splits(first, expected)
    (entry,) = written(tmp_path / "user" / "data")
    assert f"decoded images of {entry}" in first.notes
    monkeypatch.setattr(cache, "load_source", None)  # not asked again
    assert_same_splits(load_splits(config, seed=0), expected)
    assert_same_splits(load_splits(config | {"backend": "device"}, seed=0), expected)


@pytest.mark.slow
def test_photographs_take_longer_than_small_pictures(tmp_path, monkeypatch):
    """26 pictures of 12 megapixels are 3 s, and 1,797 digits a quarter of one."""
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "user"))
    load_splits({"name": "digits"}, seed=0)
    assert not written(tmp_path / "user" / "data")
    path = tmp_path / "pictures" / "train"
    photo = Image.new("RGB", (4000, 3000))
    for i in range(26):
        (path / str(i % 2)).mkdir(parents=True, exist_ok=True)
        photo.save(path / str(i % 2) / f"{i}.png", compress_level=1)
    load_splits({"name": "folder", "path": str(path.parent), "image_size": 8, "test_fraction": 0.2}, seed=0)
    assert len(written(tmp_path / "user" / "data")) == 1


def test_a_broken_picture_that_the_run_does_not_need(tmp_path, monkeypatch, mixed_folder, slow_to_decode):
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "user"))
    (mixed_folder / "train" / "yak").mkdir()
    (mixed_folder / "train" / "yak" / "0.png").write_bytes(b"broken")
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps({"source": "this test", "train": ["cat", "emu"], "val": [], "test": ["dog", "owl"]}))
    config = {"name": "folder", "path": str(mixed_folder), "image_size": 8, "class_split": {"name": str(lists)}}
    given, expected = load_splits(config, seed=0), load_splits(config | {"cache": "off"}, seed=0)
    assert digest_of(given) == digest_of(expected) and given.notes == expected.notes
    assert not written(tmp_path / "user" / "data")


def test_nothing_is_kept_where_it_is_not_wanted(tmp_path):
    config = DIGITS | {"cache": str(tmp_path)}
    expected = load_splits(DIGITS | {"cache": "off"}, seed=0)
    given = load_splits(config, seed=0, keep=False)
    assert given.notes == expected.notes and not list(tmp_path.iterdir())
    load_splits(config, seed=0)
    assert_same_splits(load_splits(config, seed=0, keep=False), expected)
    path = entry_of(tmp_path) / "train.images.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    before = path.read_bytes()
    assert digest_of(load_splits(config, seed=0, keep=False)) == digest_of(expected)
    assert path.read_bytes() == before


def test_a_home_that_cannot_be_written_costs_a_line(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(cache.logger, "warning", lambda text, *values: said.append(text % values))
    (tmp_path / "file").touch()
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "file"))
    given = load_splits({"name": "digits", "backend": "device"}, seed=0)
    assert digest_of(given) == digest_of(load_splits({"name": "digits"}, seed=0))
    (line,) = said
    assert "decoded images cannot be kept in" in line and "data.cache" in line
    with pytest.raises(DataError, match="decoded images cannot be kept in"):
        load_splits({"name": "digits", "backend": "device", "cache": str(tmp_path / "file" / "data")}, seed=0)


def test_without_a_home(monkeypatch):
    for name in ("FSJAX_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_):
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert cache.place_of(parse_config({"name": "digits", "backend": "device"})) is None


def test_files_are_compared_once(tmp_path, monkeypatch):
    """Until one of them has another size or time, or is a copy."""
    config = FAKE | {"cache": str(tmp_path / "cache")}
    expected = digest_of(load_splits(config, seed=0))
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        "fsjax.data.store.decoded.hashlib.file_digest", lambda f, name: read.append(f.name) or digest(f, name)
    )
    assert digest_of(load_splits(config, seed=0)) == expected and not read
    entry = entry_of(tmp_path / "cache")
    images = entry / "train.images.npy"
    os.utime(images, ns=(0, 0))
    assert digest_of(load_splits(config, seed=0)) == expected and str(images) in read
    read.clear()
    load_splits(config, seed=0)
    assert not read
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")  # with the times
    load_splits(config | {"cache": str(tmp_path / "copy")}, seed=0)
    assert len(read) == len(list(entry.glob("*.npy")))
    # Changed in place, with the size and the time of before.
    stat = images.stat()
    with images.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read()
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(images, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert any("is damaged" in note for note in load_splits(config, seed=0).notes)
    (entry_of(tmp_path / "cache") / "checked.json").write_text("{")
    read.clear()
    assert digest_of(load_splits(config, seed=0)) == expected and read


def test_a_newer_version_of_a_tfds_data_set_is_seen(tmp_path, prepare_tfds):
    rng = np.random.default_rng(0)
    old, new = ((rng.integers(0, 256, (9, 8, 6, 3), np.uint8), np.arange(9) % 3) for _ in range(2))
    path = prepare_tfds({"train": old, "test": old})
    config = {"name": "tiny", "path": str(path.parents[1]), "cache": str(tmp_path)}
    assert_same_splits(load_splits(config, seed=0), load_splits(config | {"cache": "off"}, seed=0))
    named = config | {"name": "tiny:1.0.0"}
    load_splits(named, seed=0)
    newer = path.with_name("1.10.0")
    shutil.copytree(prepare_tfds({"train": new, "test": new}), newer)
    info = newer / "dataset_info.json"
    info.write_text(info.read_text().replace('"1.0.0"', '"1.10.0"'))
    given = load_splits(config, seed=0)
    np.testing.assert_array_equal(given.train.images, new[0])
    assert any("its source has changed" in note for note in given.notes)
    # An older one beside it is none, nor is the one that the config names.
    shutil.copytree(path, path.with_name("1.9.0"))
    assert not any("decoded again" in note for note in load_splits(config, seed=0).notes)
    given = load_splits(named, seed=0)
    np.testing.assert_array_equal(given.train.images, old[0])
    assert not any("decoded again" in note for note in given.notes)


@pytest.mark.parametrize("word", ["off", "OFF", "0", "none"])
def test_words_for_no_cache(monkeypatch, word):
    monkeypatch.setenv("FSJAX_CACHE", word)
    assert cache.place_of(parse_config({"name": "digits", "backend": "device"})) is None


def test_what_an_evaluation_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "user"))
    own = str(tmp_path / "user" / "data")
    assert cache.for_evaluation({}) == {"backend": "host", "cache": own}  # of a version that had no choice
    assert cache.for_evaluation({"backend": "host", "cache": "off"}) == {"backend": "host", "cache": "off"}
    device = {"backend": "device", "cache": ""}
    assert cache.for_evaluation(device) == {"backend": "host", "cache": own, "memory": "arrays"}
    assert cache.for_evaluation(device | {"cache": "off"})["cache"] == "off"
    assert cache.for_evaluation(device | {"cache": "/of/the/cluster"})["cache"] == own
    assert cache.for_evaluation(device | {"cache": str(tmp_path)})["cache"] == str(tmp_path)
    assert cache.for_evaluation({"backend": "host", "cache": str(tmp_path)}) == {
        "backend": "host", "cache": str(tmp_path),
    }  # fmt: skip
