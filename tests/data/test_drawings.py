"""Drawings: the same for ever, of classes that differ; and their geometry, colours and textures one by one."""

import colorsys
import hashlib
import math

import numpy as np
import pytest

from fsjax.data import describe, load_splits, random
from fsjax.data.config import parse_config
from fsjax.data.sources import load_source
from fsjax.data.sources.drawings import outlines, recipes
from fsjax.data.sources.drawings import painting as paint
from fsjax.data.sources.drawings.random_stream import Dice
from fsjax.errors import UserError

FEW = {"size": 32, "classes": 12, "train": 4, "test": 2}
# Of picture 0 of the first class of each kind, 64x64, seed 0. Whoever draws otherwise draws other data: then the
# weights in fsjax/starter are of data that no longer are, and must be trained anew.
KNOWN = {
    "object": "5b4c706e3ebdc38f",
    "sign": "a3c09cbab98b6e00",
    "arrangement": "3301ddd6b6931d85",
    "fractal": "38d4e498e491f506",
    "stuff": "3fc26cb37ac196f8",
}


def source(**fields):
    return load_source(parse_config({"name": "drawings", "drawings": FEW | fields}))


def dice(seed=0, number=0):
    return Dice(random.key(seed), number)


def test_known_pictures():
    whole = source(size=64, classes=20, test=0)
    for kind in recipes.KINDS:
        number = next(i for i, name in enumerate(whole.class_names) if name.startswith(kind))
        picture = whole.train.read(number)
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        assert hashlib.sha256(picture.tobytes()).hexdigest()[:16] == KNOWN[kind], kind


def test_the_same_on_every_call_and_in_every_memory():
    config = {"name": "drawings", "normalization": "none", "drawings": FEW}
    arrays, stream = (
        load_splits({**config, "memory": memory}, seed=seed) for seed, memory in enumerate(("arrays", "stream"))
    )
    for split in ("train", "test"):
        a, b = getattr(arrays, split), getattr(stream, split)
        np.testing.assert_array_equal(a.images, [b.image(i) for i in range(len(b))])
        np.testing.assert_array_equal(a.labels, b.labels)
    assert "drawn by this program: 12 classes of 4 + 2 pictures" in describe(arrays)


def test_more_classes_and_pictures_are_more_of_the_same():
    few, many = source(), source(classes=15, train=6)
    assert many.class_names[:12] == few.class_names
    for label, number in ((0, 0), (11, 0), (5, 3)):
        np.testing.assert_array_equal(few.train.read(label + 12 * number), many.train.read(label + 15 * number))
    others = source(seed=1)
    assert all((few.train.read(i) != others.train.read(i)).any() for i in range(12))


def test_no_picture_is_drawn_twice():
    whole = source(train=8, test=8)
    pictures = [part.read(i).tobytes() for part in (whole.train, whole.test) for i in range(len(part))]
    assert len(set(pictures)) == len(pictures) == 12 * 16
    np.testing.assert_array_equal(np.bincount(whole.test.labels), [8] * 12)


def test_kinds_have_their_shares():
    names = source(classes=1500).class_names
    assert len(set(names)) == 1500
    before = 0.0
    for kind, (upto, _) in recipes.KINDS.items():
        share = sum(name.startswith(kind) for name in names) / 1500
        assert share == pytest.approx(upto - before, abs=4 * math.sqrt(0.25 / 1500)), kind
        before = upto
    assert before == 1
    # The name tells the kind that the recipe then has.
    for label in range(10):
        assert (
            names[label].split("_")[0]
            == recipes.recipe(Dice(random.fold(random.key(0), random.DRAWINGS, 0), label)).kind
        )


def test_a_class_is_nearer_to_itself():
    """Nearest mean of small grey pictures: no rule of the code under test; chance is 1/20."""
    whole = source(classes=20, train=20, test=20)

    def small(part):
        images = np.stack([part.read(i) for i in range(len(part))]).mean(-1)
        return images.reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(-1, 64)

    train, test = small(whole.train), small(whole.test)
    means = np.stack([train[whole.train.labels == c].mean(0) for c in range(20)])
    nearest = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == whole.test.labels).mean() > 0.15


def test_grey_pictures_are_the_luma_of_the_coloured():
    config = {"name": "drawings", "drawings": FEW}
    grey, colour = (load_source(parse_config({**config, "channels": c})).train for c in (1, 3))
    luma = colour.read(3) @ np.array([0.299, 0.587, 0.114])
    assert grey.read(3).shape == (32, 32, 1) and grey.image_shape == (32, 32, 1)
    assert np.abs(grey.read(3)[..., 0] - luma).max() <= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 15}, "data.drawings.size=15 must be at least 16 and at most 256"),
        ({"size": 257}, "data.drawings.size=257"),
        ({"classes": 1}, "data.drawings.classes=1 must be at least 2"),
        ({"train": 0}, "data.drawings.train=0 must be at least 1"),
        ({"test": -1}, "data.drawings.test=-1 must be at least 0"),
        ({"seed": -1}, "data.drawings.seed=-1"),
    ],
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        source(**fields)


@pytest.mark.parametrize("size", [16, 100, 256])
def test_other_sizes(size):
    assert source(size=size).train.read(7).shape == (size, size, 3)


def test_dice_are_a_function_of_key_and_number():
    np.testing.assert_array_equal(dice(3, 5).words(7)[::2], random.bits(random.key(3), 5 * 2**20 + np.arange(4))[0])
    first, again, other = dice(0, 1), dice(0, 1), dice(0, 2)
    drawn = [first.uniform(0, 1) for _ in range(1000)]
    assert drawn == [again.uniform(0, 1) for _ in range(1000)]
    assert not set(drawn) & {other.uniform(0, 1) for _ in range(1000)}
    assert abs(np.mean(drawn) - 0.5) < 0.04 and 0 <= min(drawn) < 0.01 and 0.99 < max(drawn) < 1
    numbers = np.bincount([first.integer(2, 4) for _ in range(3000)])
    assert len(numbers) == 5 and (np.abs(numbers[2:] / 3000 - 1 / 3) < 0.04).all() and not numbers[:2].any()
    assert first.uniforms(5, 6, 3, 2).shape == (3, 2) and first.choice("a") == "a" and not first.chance(0)


def test_outlines_fill_their_square():
    made = [outlines.outline(dice(number=n)) for n in range(150)]
    assert all(np.abs(points).max() == pytest.approx(1) and len(points) >= 3 for points in made)
    assert len({len(points) for points in made}) > 8
    for number in range(60):
        paths = outlines.strokes(dice(1, number))
        assert 1 <= len(paths) <= 5 and max(np.abs(path).max() for path in paths) < 2.2


def test_contractions_contract():
    for number in range(50):
        (a, b, c, d), _ = outlines._contraction(dice(number=number))
        singular = np.linalg.svd([[a, b], [c, d]], compute_uv=False)
        assert singular.max() < 0.8 and singular.min() >= 0.3
    points = outlines.fractal(dice())
    low, high = points.min(0), points.max(0)
    np.testing.assert_allclose(low, -high, atol=1e-9)
    assert high.max() == pytest.approx(1)


def test_colours_are_colorsys_s():
    hsv = np.random.default_rng(0).uniform(0, 1, (50, 3))
    np.testing.assert_allclose(paint._rgb(hsv), [colorsys.hsv_to_rgb(*row) for row in hsv], atol=1e-12)


POSE = paint._Pose(np.eye(2) * 32, np.array([32.0, 32.0]), np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2))
SQUARE = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


def test_what_is_covered():
    def covered(layer):
        return paint._mask(layer, POSE, np.zeros((2, 2)), 0.25, 64)[..., 0]

    filled = covered(recipes.Layer("fill", (SQUARE / 2,), groups=(0,)))
    assert filled.sum() == pytest.approx(32 * 32, rel=0.04) and filled.max() == 1
    np.testing.assert_allclose(filled[20:44, 20:44], 1)
    assert not filled[:14].any() and not filled[:, 50:].any()
    holed = covered(recipes.Layer("fill", (SQUARE / 2,), (SQUARE / 4,), (0, 0)))
    assert holed.sum() == pytest.approx(32 * 32 - 16 * 16, rel=0.05) and not holed[26:38, 26:38].any()
    # A line from left to right, a quarter of 32 pixels thick, with round ends.
    line = covered(recipes.Layer("stroke", (np.array([[-0.5, 0], [0.5, 0]]),), groups=(0,)))
    assert line.sum() == pytest.approx(32 * 8 + math.pi * 16, rel=0.06)
    moved = paint._mask(recipes.Layer("fill", (SQUARE / 4,), groups=(1,)), POSE, np.array([[0, 0], [0.5, 0]]), 0.1, 64)
    assert np.argwhere(moved[..., 0]).mean(0) == pytest.approx([31.5, 47.5], abs=0.5)


@pytest.mark.parametrize("kind", ["stripes", "grain"])
def test_sharp_textures_have_their_share(kind):
    texture = recipes.Texture(kind, 4.0, 0.0, 0.3, False, 1)
    u, v = POSE.units(64)
    assert u[0, 0] == pytest.approx(-63 / 64) and v[63, 0] == pytest.approx(63 / 64)
    values = paint._texture(texture, u, v)
    assert set(np.unique(values)) <= {0, 1} and values.mean() == pytest.approx(0.3, abs=0.08)


def test_textures_repeat_with_their_frequency():
    u, v = POSE.units(64)
    for kind in ("stripes", "dots", "grid"):
        values = paint._texture(recipes.Texture(kind, 4.0, 0.0, 0.5, True, 1), u, v)
        np.testing.assert_allclose(values[:, :-8], values[:, 8:], atol=1e-4)  # a quarter of a unit of 32 pixels
        assert 0 <= values.min() < 0.2 and 0.8 < values.max() <= 1
    rings = paint._texture(recipes.Texture("rings", 2.0, 0.0, 0.5, True, 1), u, v)
    np.testing.assert_allclose(rings, rings.T, atol=1e-6)


def test_the_ground_is_of_another_brightness():
    luma = np.array([0.299, 0.587, 0.114])
    for number in range(100):
        color = np.random.default_rng(number).uniform(0, 1, 3)
        colors = paint._apart(np.random.default_rng(number + 1).uniform(0, 1, (2, 3)), color)
        assert (np.abs(colors @ luma - color @ luma) > 0.24).all() and (colors >= 0).all() and (colors <= 1).all()
