"""The check of a data set: hand-made folders with everything wrong in them, and hashes against a loop."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, check_data, default_config
from fsjax.data.check.near_duplicates import NEAR_BITS, nearest, perceptual_hash
from fsjax.data.check.scan import scan
from fsjax.data.sources.source import array_part
from fsjax.errors import one_line


def check(root, **config):
    return check_data({"name": "folder", "path": str(root), "image_size": 16} | config)


def found(result, kind):
    """The findings of a kind; at most one is expected."""
    (finding,) = [finding for finding in result.findings if finding.kind == kind]
    return finding


@pytest.fixture
def picture():
    """A function that draws smooth colours by number: pictures of different numbers do not look alike."""

    def draw(number, size=(40, 32)):
        small = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)

    return draw


@pytest.fixture
def folder(tmp_path, picture):
    """A function that writes pictures by class folder; numbers go on from folder to folder."""
    root = tmp_path / "Bilder & <i>mehr"

    def write(counts):
        number = 0
        for name, count in counts.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                picture(number).save(root / name / f"{i:02d} ä.png")
                number += 1
        return root

    return write


def test_a_sound_folder(folder):
    root = folder({"train/Bär": 6, "train/<b>cat": 5, "test/Bär": 3, "test/<b>cat": 2})
    result = check(root)
    assert not result.serious and not result.findings
    assert result.counts == {"train": {"<b>cat": 5, "Bär": 6}, "test": {"<b>cat": 2, "Bär": 3}}
    assert result.kinds == {"PNG RGB": 16}
    assert result.sizes == {"height": [32.0] * 3, "width": [40.0] * 3, "aspect": [1.25] * 3, "different": 1}
    words = str(result)
    assert "no problem found" in words and "train: 11 images of 2 classes, 5 ('<b>cat') to 6 ('Bär') of each" in words
    assert "    6  Bär" in result.in_words(every_class=True) and "    6  Bär" not in words
    assert json.loads(json.dumps(result.to_json()))["counts"] == result.counts


def test_all_that_is_broken_is_listed_with_its_reason(folder):
    root = folder({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    whole = (root / "train/a/00 ä.png").read_bytes()
    broken = {
        "train/a/leer.png": b"", "train/a/page.jpg": b" <!DOCTYPE html><html>sign in</html>",
        "train/b/cut.png": whole[:200], "test/b/noise.gif": bytes(range(200)),
    }  # fmt: skip
    for name, content in broken.items():
        (root / name).write_bytes(content)
    result = check(root)
    unreadable = found(result, "unreadable")
    assert unreadable.serious and "4 of 16 images" in unreadable.what
    reasons = dict(item.split(": ", 1) for item in unreadable.items)
    assert set(reasons) == {str(root / name) for name in broken}
    said = ("empty (0 bytes)", "a web page, not a picture", "", "no picture of a kind that fsjax reads")
    for (name, _), words in zip(broken.items(), said, strict=True):
        assert words in reasons[str(root / name)]
    assert result.counts["train"] == {"a": 4, "b": 4} and result.counts["test"] == {"a": 2, "b": 2}


def test_twenty_are_shown_and_the_others_counted(folder):
    root = folder({"a": 2, "b": 2})
    for i in range(25):
        (root / "a" / f"broken {i:02d}.png").write_bytes(b"x")
    words = str(check(root, test_fraction=0.0))
    assert words.count("broken ") == 20 and "and 5 more (--json has them)" in words


def test_the_same_pixels_twice(folder):
    """In two splits, in two classes, in one class: bytes may differ, pixels do not; one picture may be all of it."""
    root = folder({"train/a": 4, "train/b": 4, "test/a": 3, "test/b": 3})
    train_a, test_b = root / "train/a/00 ä.png", root / "test/b/00 ä.png"
    Image.open(train_a).save(root / "test/a/leak.bmp")
    shutil.copy(root / "train/a/01 ä.png", root / "train/b/two labels.png")
    shutil.copy(test_b, root / "test/b/copy.png")
    shutil.copy(train_a, root / "train/b/00 ä b.png")
    result = check(root)

    def names(kind):
        return [{item.rsplit(" (", 1)[0] for item in group} for group in found(result, kind).items]

    triple = {str(train_a), str(root / "test/a/leak.bmp"), str(root / "train/b/00 ä b.png")}
    assert names("leak") == [triple] and found(result, "leak").serious
    assert names("two labels") == [triple, {str(root / "train/a/01 ä.png"), str(root / "train/b/two labels.png")}]
    assert names("duplicates") == [{str(test_b), str(root / "test/b/copy.png")}]
    assert result.serious and "(train and test): 1 image to take out" in found(result, "leak").what
    assert not found(result, "duplicates").serious


def test_copies_that_were_scaled_and_compressed_look_alike(folder, picture):
    root = folder({"train/a": 8, "train/b": 8, "test/a": 2, "test/b": 2})
    number = 3  # is train/a/03
    picture(number).resize((90, 70)).save(root / "test/b/scaled.jpg", quality=60)
    Image.new("RGB", (20, 20), "white").save(root / "train/a/white.png")
    Image.new("RGB", (24, 20), "white").save(root / "test/b/white.jpg")
    result = check(root)
    (pair,) = found(result, "look-alikes").items
    assert [item.split(" (")[0] for item in pair] == [str(root / "test/b/scaled.jpg"), str(root / "train/a/03 ä.png")]
    assert "1 picture looks like one of another split, 1 like one of another class" in found(result, "look-alikes").what
    assert set(found(result, "one colour").items) == {str(root / "train/a/white.png"), str(root / "test/b/white.jpg")}
    assert not result.serious


def test_the_nearest_hash_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    others = rng.integers(0, 2**64, 300, np.uint64)
    queries = others[rng.integers(0, 300, 200)].copy()
    for i, bits in enumerate(rng.integers(0, 10, 200)):
        for bit in rng.choice(64, bits, replace=False):
            queries[i] ^= np.uint64(1) << np.uint64(bit)
    position, distance = nearest(queries, others)
    for query, place, bits in zip(queries.tolist(), position, distance, strict=True):
        least = min((query ^ int(other)).bit_count() for other in others)
        assert bits == (least if least <= NEAR_BITS else 65)
        assert place == -1 if bits == 65 else (query ^ int(others[place])).bit_count() == bits
    assert set(np.unique(distance)) > {0, 3, 6, 65}
    assert (nearest(queries, others[:0])[0] == -1).all()


def test_the_hash_is_that_of_the_discrete_cosine_transform(picture):
    from scipy.fft import dctn

    image = picture(0, (32, 32))
    frequencies = dctn(np.asarray(image.convert("L"), float))[:8, :8].ravel()
    bits = frequencies > np.median(frequencies[1:])
    assert int(perceptual_hash(np.asarray(image))) == sum(
        int(bit) << (8 * (i // 8) + 7 - i % 8) for i, bit in enumerate(bits)
    )


def test_the_hash_of_a_plain_or_symmetric_picture_is_not_of_rounding():
    """Most of its frequencies are exactly 0: by the transform's own symmetry, and whatever the order of its sums."""
    plain = {int(perceptual_hash(np.full((40, 50, 1), grey, np.uint8))) for grey in (1, 7, 128, 255)}
    assert plain == {1 << 7}  # the mean brightness alone
    y, x = np.mgrid[:32, :32] - 15.5
    disc = ((x**2 + y**2 < 100) * 200).astype(np.uint8)
    bits = np.unpackbits(np.array([perceptual_hash(disc[..., None])]).view(np.uint8)).reshape(8, 8)
    assert not bits[1::2].any() and not bits[:, 1::2].any()  # odd frequencies of an even picture
    assert perceptual_hash(disc[..., None]) == perceptual_hash(disc.T[..., None])


def test_suffixes_sizes_and_class_sizes(folder, picture):
    root = folder({"train/a": 40, "train/b": 3, "test/a": 2, "test/b": 2})
    picture(90).save(root / "train/b/lies.png", "JPEG")
    picture(91, (100, 20)).save(root / "train/b/long.png")
    picture(92, (10, 10)).save(root / "train/b/small.png")
    result = check(root)
    assert found(result, "suffixes").items == [f"{root / 'train/b/lies.png'} is JPEG"]
    assert "1 picture is more than 2 times as long as broad" in found(result, "long pictures").what
    assert "1 picture is below data.image_size=16" in found(result, "small pictures").what
    assert not result.serious
    assert "3 different sizes" in found(check(root, image_size=0), "sizes").what
    assert check_data({"name": "folder", "path": str(root)}, whole={"train": {"batch_size": 1}}).serious
    for path in (root / "train/b").glob("*ä.png"):
        path.unlink()
    assert "class 'a' has 40 training images, class 'b' 3" in found(check(root), "unbalanced").what


# --- Layouts that are misread.


def test_a_folder_too_deep(folder):
    root = folder({"download/cat": 5, "download/dog": 5})
    result = check(root)
    assert f"give it as the path: {root / 'download'}" in found(result, "nested too deep").advice and result.serious
    assert result.counts["train"] == {"cat": 4, "dog": 4}  # the check went on there


def test_images_without_folders_beside_folders_and_one_class(folder, picture):
    root = folder({".": 3})
    result = check(root)
    assert "3 images lie in" in found(result, "no class folders").what and not result.counts
    (root / "cat").mkdir()
    picture(9).save(root / "cat/x.png")
    result = check(root)
    assert "in one folder, 'cat'" in found(result, "one class").what and result.serious
    (root / "dog").mkdir()
    picture(10).save(root / "dog/x.png")
    result = check(root)
    assert not result.serious and result.counts == {"train": {"cat": 1, "dog": 1}}  # too few for a test part
    assert len(found(result, "images of no class").items) == 3


def test_empty_folders_and_files_that_are_none(folder, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert "it is empty" in found(check(tmp_path / "nothing"), "no images").what
    (tmp_path / "nothing/x.zip").write_bytes(b"")
    (tmp_path / "nothing/y.heic").write_bytes(b"")
    result = check(tmp_path / "nothing")
    assert "it holds 1 .zip, 1 .heic" in found(result, "no images").what
    assert "unpack the archives" in found(result, "other files").advice
    root = folder({"a": 5, "b": 5, "__MACOSX": 0, "c": 0})
    result = check(root)
    assert result.serious and found(result, "empty class folders").items == [str(root / "c")]
    assert set(result.counts["train"]) == {"a", "b"}
    with pytest.raises(DataError, match="is no folder"):
        check(tmp_path / "nowhere")


def test_parts_by_other_names_and_with_other_classes(folder):
    root = folder({"Training/a": 4, "Training/b": 4, "testing/a": 3, "testing/b": 3})
    for names in ({}, {"train_split": "Training", "test_split": "testing"}):
        result = check(root, **names)
        assert not result.findings and result.counts["test"] == {"a": 3, "b": 3}
    (root / "training" / "a").mkdir(parents=True)
    finding = found(check(root), "parts")
    assert "Training and training are both named as its train part: set data.train_split" in finding.what
    assert finding.serious
    shutil.rmtree(root / "training")
    shutil.move(root / "testing/b", root / "testing/c")
    result = check(root, train_split="Training", test_split="testing")
    said = [f.what for f in result.findings if f.kind == "classes differ between parts"]
    assert len(said) == 2 and "lacks 1 class that other parts have: c" in said[0] and result.serious
    assert result.counts["test"] == {"a": 3, "b": 0, "c": 3}


def test_classes_in_classes_and_names_alike(folder):
    root = folder({"fruit/apple": 4, "fruit/pear": 4, "tools/saw": 4, "tools/axe": 4})
    finding = found(check(root), "folders in class folders")
    assert "4 in all (apple, pear, axe, saw)" in finding.what and not finding.serious
    root = folder({"x/Bär": 1})
    shutil.rmtree(root)
    folder({unicodedata.normalize("NFC", "Bär"): 5, unicodedata.normalize("NFD", "Bär"): 5, "Cat": 5, "cat ": 5})
    what = found(check(root), "class names alike").what
    assert "'Ba\\u0308r'" in what and "'Cat' / 'cat '" in what


def test_links_are_followed_and_do_not_lead_in_circles(folder, tmp_path):
    root = folder({"a": 5, "b": 5})
    shutil.move(root / "b", tmp_path / "elsewhere")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a/again").symlink_to(root)
    result = check(root, test_fraction=0.0)
    assert result.counts["train"] == {"a": 5, "b": 5} and not result.serious


def test_what_cannot_be_opened_is_said(folder, close):
    root = folder({"a": 5, "b": 5, "b/deep": 2, "c": 5})
    close(root / "c")
    close(root / "b" / "deep")
    result = check(root, test_fraction=0.0)
    closed = found(result, "closed folders")
    assert closed.items == [f"{root / 'b/deep'}: Permission denied", f"{root / 'c'}: Permission denied"]
    assert closed.serious and result.counts["train"] == {"a": 5, "b": 5}
    close(root)
    with pytest.raises(DataError, match="mehr cannot be opened: Permission denied"):
        check(root)


def test_a_program_that_is_called_a_picture_is_none(folder):
    """PostScript, which pillow would have Ghostscript run."""
    root = folder({"a": 3, "b": 3})
    script = root / "a/program.png"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with Image.open(script) as image:
        assert image.format == "EPS"
    (item,) = found(check(root, test_fraction=0.0), "unreadable").items
    assert item.startswith(f"{script}: it is no picture of a kind that fsjax reads; it begins with b'%!PS")


def test_names_that_cannot_be_printed():
    assert one_line("a\nb\t\x1b[31m") == "a\\nb\\t\\x1b[31m"
    assert one_line("ä <b> &.png") == "ä <b> &.png"
    one_line("\udcff.png").encode()


# --- Tasks and class splits.


def test_tasks_that_are_possible(folder):
    root = folder({"train/a": 20, "train/b": 30, "train/c": 16, "test/a": 1, "test/b": 1, "test/c": 1})
    (train, test) = check(root).tasks
    assert train.possible["5-way 1-shot with 15 queries"].startswith("3 classes cannot make 5-way")
    assert (train.classes, train.images, train.least) == (3, 16, "c") and (test.images, test.least) == (1, "")
    assert "not possible either" in str(train) and "at the most 3 ways, and 16 shots and queries" in str(train)


def test_the_protocol_of_a_config_must_be_possible():
    data = default_config() | {"name": "fake", "class_split": {"name": "share", "validation": 0.0, "test": 0.5}}
    data["fake"] = data["fake"] | {"num_classes": 10, "train": 100, "test": 0, "height": 8, "width": 8}
    few_shot = {"classes": ("novel", "base"), "way": (5,), "shots": (1, 5), "query": (6,)}
    result = check_data(data, whole={"few_shot": few_shot, "train": {"batch_size": 4}})
    said = [finding.what for finding in result.findings if finding.kind == "tasks"]
    assert len(said) == 3 and result.serious
    assert sum("set data.base_holdout above 0" in what for what in said) == 2  # of 1 and of 5 shots
    assert any("has 10 images; 5-shot episodes with 6 queries need 11" in what for what in said)
    assert not check_data(data, whole={"few_shot": few_shot | {"classes": ("novel",), "shots": (1,)}}).serious
    episodes = {"way": (6,), "shot": (1,), "query": (1,), "per_step": 1}
    result = check_data(data, whole={"episodes": episodes, "train": {"batch_size": 0}})
    assert "config.episodes: 5 classes (the training classes) cannot make 6-way" in found(result, "tasks").what


def test_a_class_split_that_cannot_be_is_a_finding_and_the_rest_is_checked(folder):
    root = folder({"a": 5, "b": 5, "c": 5})
    result = check(root, class_split={"name": "fc100"})
    assert result.serious and "None of its classes is there" in found(result, "splits").what
    assert result.counts == {"train": {"a": 5, "b": 5, "c": 5}}


def test_classes_without_images_and_another_runs_data(array_examples):
    examples, info = array_examples(count=40, num_classes=5)
    labels = np.where(examples.labels == 2, 3, examples.labels)
    seen = scan({"train": array_part(examples.images, labels, "noise")}, {"train": info.class_names})
    assert seen.counts("train").tolist() == np.bincount(labels, minlength=5).tolist()
    data = default_config() | {"name": "digits"}
    result = check_data(data, expected=info)
    others = [finding.what for finding in result.findings if finding.kind == "other data"]
    assert "the train classes are not those of the run" in others[0] and "in place of 40" in others[1]
