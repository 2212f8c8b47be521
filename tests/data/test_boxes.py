"""One box per image: read, turned, cut and carried with the pictures, against rectangles painted into them."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from fsjax.data import DataError, ReconstructedOptions, describe, images_at, load_splits, reconstruct
from fsjax.data.boxes import upright
from fsjax.data.config import parse_config
from fsjax.data.pictures import decode, head_of, orientation_of
from fsjax.data.sources import Part, checked_boxes, load_source, merged
from fsjax.data.view import View

rng = np.random.default_rng(0)


def painted(height, width, box):
    """A black picture with a white rectangle where the box is."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left, bottom, right = np.round(np.asarray(box) * (height, width, height, width)).astype(int)
    picture[top:bottom, left:right] = 255
    return picture


def found(picture, threshold=127):
    """The box of what is white in a picture, in 0..1."""
    rows, columns = (np.flatnonzero((picture[..., 0] > threshold).any(axis=axis)) for axis in (1, 0))
    height, width = picture.shape[:2]
    return np.array([rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width])


def png(picture, orientation=1):
    """The content of a PNG file, with an orientation in its EXIF block."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", exif=exif)
    return content.getvalue()


def some_boxes(count, steps=20):
    """Random boxes with edges at multiples of 1/20."""
    edges = np.sort(np.stack([rng.permuted(np.arange(steps + 1))[:2] for _ in range(2 * count)]), axis=1)
    return edges.reshape(count, 2, 2).transpose(0, 2, 1).reshape(count, 4) / steps


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_turned_pictures_are_turned(orientation):
    box = [0.1, 0.2, 0.4, 0.9]
    content = png(painted(20, 30, box), orientation)
    turned = decode(content, 3)
    assert orientation_of(content) == orientation
    assert head_of(content) == (turned.shape[:2], orientation)
    assert turned.shape[:2] == ((30, 20) if orientation > 4 else (20, 30))
    np.testing.assert_allclose(upright(box, orientation), found(turned), atol=1e-12)


def test_files_without_an_orientation():
    content = io.BytesIO()
    Image.fromarray(painted(4, 6, [0, 0, 1, 1])).save(content, "JPEG")
    assert orientation_of(content.getvalue()) == 1 and head_of(content.getvalue()) == ((4, 6), 1)
    assert orientation_of(png(painted(4, 6, [0, 0, 1, 1]), 77)) == 1


@pytest.mark.parametrize("shape", [(60, 60), (60, 100), (140, 80)])
@pytest.mark.parametrize(
    "view", [View(0), View(40), View(40, "stretch"), View(40, share=0.5)], ids=["as is", "crop", "stretch", "half"]
)
def test_boxes_are_where_evaluation_sees_them(view, shape):
    boxes = some_boxes(30)
    seen = view.boxes(boxes.astype(np.float32), np.tile(shape, (30, 1)))
    assert seen.dtype == np.float32
    for box, given in zip(boxes, seen, strict=True):
        picture = view.image(painted(*shape, box))
        if np.isnan(given).any():
            assert np.isnan(given).all() and picture.max() < 128
        elif ((given[2:] - given[:2]) * picture.shape[:2] >= 1).all():
            np.testing.assert_allclose(given, found(picture), atol=0.51 / min(picture.shape[:2]))
    assert np.isnan(seen).any() == (view.share < 1 or (view.cuts and shape[0] != shape[1]))


def a_part(boxes, shape=(8, 8, 3), labels=None, **options):
    count = len(boxes)
    return Part(
        labels=np.arange(count, dtype=np.int32) if labels is None else labels,
        read=lambda item: np.full(shape, item, np.uint8),
        locate=lambda item: f"picture {item}",
        items=np.arange(count),
        channels=3,
        boxes=np.asarray(boxes, np.float32),
        **options,
    )


def test_parts_keep_boxes_with_their_examples():
    left, right = a_part(some_boxes(5)), a_part(some_boxes(4), shape=(9, 7, 3))
    both = merged([left, right])
    np.testing.assert_array_equal(both.boxes, np.concatenate([left.boxes, right.boxes]))
    assert [both.size_of(item) for item in (0, 4, 5)] == [(8, 8), (8, 8), (9, 7)]
    taken = both.take(np.array([7, 2])).relabelled(np.arange(9)[::-1])
    np.testing.assert_array_equal(taken.boxes, [right.boxes[2], left.boxes[2]])
    plain = Part(**{**vars(right), "boxes": None})
    assert merged([left, plain]).boxes is None and plain.take(np.array([1])).boxes is None


def test_boxes_are_cut_at_the_borders_and_checked():
    checked, note = checked_boxes(a_part([[-0.5, 0.5, 0.5, 1.5], [0, 0, 1, 1]]))
    np.testing.assert_array_equal(checked.boxes, [[0, 0.5, 0.5, 1], [0, 0, 1, 1]])
    assert not note
    for bad in ([0.5, 0.1, 0.5, 0.9], [0.1, 0.9, 0.2, 0.1], [0.1, np.nan, 0.2, 0.3], [1.1, 0.1, 1.2, 0.9]):
        checked, note = checked_boxes(a_part([[0, 0, 1, 1], bad]))
        np.testing.assert_array_equal(checked.boxes, [[0, 0, 1, 1], [np.nan] * 4])
        assert re.match(r"1 of 2 boxes .* passed over: .*picture 1: \[", note)


SHAPES = [(20, 20), (20, 40), (40, 20), (60, 20)] * 6
LABELS = [i % 5 for i in range(24)]


@pytest.fixture(scope="module")
def boxed(prepare_tfds):
    """A prepared data set with boxes: of each size its rectangle is painted, and every third picture is turned."""
    import tensorflow_datasets as tfds

    boxes = some_boxes(24)
    # At the border of wide and tall pictures, where the centred square is not.
    boxes[1] = [0.1, 0.0, 0.9, 0.2]
    turns = [6 if i % 3 == 2 else 1 for i in range(24)]
    files = [io.BytesIO(png(painted(*s, b), t)) for s, b, t in zip(SHAPES, boxes, turns, strict=True)]
    splits = {"train": (files[:16], LABELS[:16], boxes[:16]), "test": (files[16:], LABELS[16:], boxes[16:])}
    box = tfds.features.BBoxFeature()
    path = prepare_tfds(splits, name="boxed", num_classes=5, shape=(None, None, 3), box=box)
    upright_boxes = np.array([upright(b, t) for b, t in zip(boxes, turns, strict=True)])
    return path, upright_boxes


def load(path, **config):
    return load_splits({"name": "boxed", "path": str(path), "image_size": 40, "normalization": "none"} | config, seed=0)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_boxes_of_prepared_data(boxed, memory, fit):
    path, _ = boxed
    splits = load(path, memory=memory, fit=fit)
    for examples in (splits.train, splits.test):
        assert examples.has_boxes and examples.boxes.shape == (len(examples), 4)
        for position, box in enumerate(examples.boxes):
            picture = examples.images[position] if memory == "arrays" else examples.image(position)
            if np.isnan(box).any():
                assert picture.max() < 128
            elif ((box[2:] - box[:2]) >= 1 / 40).all():
                # Half a pixel of the result, and half of one of the smaller originals.
                np.testing.assert_allclose(box, found(picture), atol=1.1 / 40)
    assert np.isnan(splits.train.boxes).any() == (fit == "crop")
    words = describe(splits)
    assert "one box per image: train, test" in words
    assert ("train images there is no box to be seen" in words) == (fit == "crop" and memory == "arrays")


def test_streams_and_arrays_have_the_same_boxes(boxed):
    path, upright_boxes = boxed
    for fit in ("crop", "stretch"):
        both = [load(path, memory=memory, fit=fit) for memory in ("arrays", "stream")]
        for split in ("train", "test"):
            np.testing.assert_array_equal(*(getattr(s, split).boxes for s in both))
    np.testing.assert_allclose(both[0].train.boxes, upright_boxes[:16], atol=1e-6)


def test_splits_take_their_boxes_along(boxed):
    path, _ = boxed
    splits = load(path, fit="stretch", validation=0.25, limit={"test": 5})
    known = {image.tobytes(): box for image, box in zip(*_all(load(path, fit="stretch")), strict=True)}
    for split in (splits.train, splits.validation, splits.test):
        for image, box in zip(split.images, split.boxes, strict=True):
            np.testing.assert_array_equal(box, known[image.tobytes()])
    divided = load(
        path,
        fit="stretch",
        class_split={"name": "share", "validation": 0.0, "test": 0.4},
        base_holdout=2,
        memory="stream",
    )
    for split in (divided.train, divided.base, divided.test):
        for position, box in enumerate(split.boxes):
            np.testing.assert_array_equal(box, known[split.image(position).tobytes()])


def _all(splits):
    return (np.concatenate([getattr(e, name) for e in (splits.train, splits.test)]) for name in ("images", "boxes"))


def test_boxes_can_be_left_out(boxed):
    splits = load(boxed[0], box_key="")
    assert splits.train.boxes is None and not splits.train.has_boxes and "one box" not in describe(splits)
    assert load(boxed[0], box_key="", memory="stream").test.boxes is None


def test_features_that_are_no_boxes(prepare_tfds, boxed):
    from tensorflow_datasets import features

    data = {"train": (rng.integers(0, 256, (6, 8, 6, 3), np.uint8), [0, 1, 2] * 2, some_boxes(6))}
    plain = prepare_tfds(data, name="plain", box=features.Tensor(shape=(4,), dtype=np.float32))
    config = {"name": "plain", "path": str(plain), "test_split": "", "test_fraction": 0.0}
    splits = load_splits(config, seed=0)
    assert splits.train.boxes is None and "feature 'bbox' is not one box per image" in describe(splits)
    with pytest.raises(DataError, match="data.box_key='height': plain has no BBoxFeature of that name; it has: none"):
        load_splits(config | {"box_key": "height"}, seed=0)
    with pytest.raises(DataError, match="data.box_key='frame': boxed has no BBoxFeature of that name; it has: bbox"):
        load(boxed[0], box_key="frame")
    other = prepare_tfds(data, name="other", box=features.BBoxFeature(bbox_format="REL_XYXY"))
    with pytest.raises(DataError, match="format REL_XYXY, and only REL_YXYX is read: set data.box_key=''"):
        load_splits(config | {"name": "other", "path": str(other)}, seed=0)


def test_malformed_boxes_are_named(prepare_tfds):
    import tensorflow_datasets as tfds

    boxes = some_boxes(6)
    boxes[4] = [0.5, 0.5, 0.5, 0.7]
    images = rng.integers(0, 256, (6, 8, 6, 3), np.uint8)
    path = prepare_tfds({"train": (images, [0, 1, 2] * 2, boxes)}, name="flat", box=tfds.features.BBoxFeature())
    config = {"name": "flat", "path": str(path), "test_split": "", "test_fraction": 0.0}
    splits = load_splits(config, seed=0)
    assert re.search("train: 1 of 6 boxes .*: example 4 of flat, split 'train': ", "\n".join(splits.notes))
    assert np.isnan(splits.train.boxes).any(axis=1).tolist() == [number == 4 for number in range(6)]
    assert load_splits(config | {"box_key": ""}, seed=0).train.boxes is None


def test_real_boxes(tfds_data_dir):
    if not (tfds_data_dir / "tiny_imagenet_fs").is_dir():
        pytest.skip(f"no tiny_imagenet_fs in {tfds_data_dir}")
    import tensorflow_datasets as tfds

    config = {
        "name": "tiny_imagenet_fs", "path": str(tfds_data_dir), "train_split": "validation[:200]", "test_split": "",
        "test_fraction": 0.0,
    }  # fmt: skip
    examples = load_splits(config, seed=0).train
    builder = tfds.builder("tiny_imagenet_fs", data_dir=str(tfds_data_dir))
    for position, record in enumerate(builder.as_dataset("validation[:200]").as_numpy_iterator()):
        np.testing.assert_array_equal(examples.boxes[position], record["bbox"])
        # Two decoders of JPEG round apart.
        assert np.abs(examples.images[position].astype(int) - record["image"]).mean() < 3


@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_reconstructed_data_keep_their_boxes(memory):
    config = {
        "name": "planted", "planted": {"train": 150, "test": 50}, "memory": memory, "base_holdout": 4,
        "class_split": {"name": "share", "validation": 0.0, "test": 0.4}, "normalization": "none",
    }  # fmt: skip
    source = load_source(parse_config(config))
    known = {p.read(i).tobytes(): p.boxes[i] for p in (source.train, source.test) for i in p.items}
    examples = reconstruct(load_splits(config, seed=0), "test", ReconstructedOptions()).examples
    assert len(examples.boxes) == len(examples)
    for image, box in zip(images_at(examples, np.arange(len(examples))), examples.boxes, strict=True):
        np.testing.assert_array_equal(box, known[image.tobytes()])
