"""Turns, colour jitter and lighting: formulas against loops over pixels, draws, and independence of everything else."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats

from fsjax.data import ArrayExamples, DataError, EpisodeSpec, describe, episode_batches, load_splits, train_batches
from fsjax.data.pipeline import augment as operations
from fsjax.data.pipeline.augment_config import parse_augmentation
from fsjax.data.pipeline.colors import EIGENVALUES, EIGENVECTORS, color_terms
from fsjax.data.pipeline.decisions import draw
from fsjax.data.random import CUTOUT, bits, fold, key
from fsjax.errors import UserError

ALL = {
    "rotate": 20.0, "crop": "pad", "pad": 2, "flip": True, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
    "lighting": 0.1,
}  # fmt: skip
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (5, 9, 12, 3), np.uint8)


def drawn(augmentation, *, step=0, seed=0, batch_size=64):
    parsed = parse_augmentation(augmentation)
    return draw(step, seed=seed, size=1000, batch_size=batch_size, augment=parsed, process_index=0, process_count=1)


def jittered(image, factors, order, lighting):
    """One image by fb.resnet.torch's steps, one after the other, in 0..1."""
    x = image.astype(np.float64) / 255

    def grey(of):
        return (0.299 * of[..., 0] + 0.587 * of[..., 1] + 0.114 * of[..., 2])[..., None]

    for step in order:
        other = [0 * x, np.full_like(x, grey(x).mean()), np.broadcast_to(grey(x), x.shape)][step]
        x = factors[step] * x + (1 - factors[step]) * other
    for channel in range(3):
        x[..., channel] += sum(lighting[k] * EIGENVALUES[k] * EIGENVECTORS[channel][k] for k in range(3))
    return 255 * x


def test_colours_are_those_of_one_step_after_the_other_in_any_order():
    factors, lighting = rng.uniform(0.6, 1.4, (5, 3)), rng.normal(0, 0.1, (5, 3))
    given = operations.recolor(IMAGES, color_terms(factors, lighting)).numpy()
    assert given.dtype == np.float32
    for order in itertools.permutations(range(3)):
        expected = [jittered(i, f, order, a) for i, f, a in zip(IMAGES, factors, lighting, strict=True)]
        np.testing.assert_allclose(given, expected, atol=3e-4)


def test_colours_at_the_limits():
    zero = np.zeros((5, 3))
    same = operations.recolor(IMAGES, color_terms(np.ones((5, 3)), zero)).numpy()
    np.testing.assert_array_equal(same, IMAGES)
    black, flat, grey = (
        operations.recolor(IMAGES, color_terms(np.tile(f, (5, 1)), zero)).numpy() for f in np.ones((3, 3)) - np.eye(3)
    )
    assert (black == 0).all()
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1, :1, :1], flat.shape), atol=1e-4)
    np.testing.assert_allclose(grey[..., 0], IMAGES @ [0.299, 0.587, 0.114], atol=1e-4)
    np.testing.assert_allclose(grey, grey[..., :1].repeat(3, -1), atol=1e-4)


def test_grey_images_are_as_three_equal_channels():
    terms = color_terms(np.concatenate([rng.uniform(0.6, 1.4, (5, 2)), np.ones((5, 1))], axis=1), np.zeros((5, 3)))
    grey = IMAGES[..., :1]
    expected = operations.recolor(grey.repeat(3, -1), terms).numpy()
    np.testing.assert_allclose(operations.recolor(grey, terms).numpy(), expected[..., :1], atol=1e-4)


def turn_by(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def test_turns_by_right_angles_are_exact():
    square = IMAGES[:, :9, :9]
    for quarters in (1, 2, 3):
        turned = operations.rotate(square, turn_by(np.full(5, quarters * np.pi / 2))).numpy()
        assert turned.dtype == np.float32
        np.testing.assert_allclose(turned, np.rot90(square, quarters, axes=(1, 2)), atol=2e-3)
    np.testing.assert_array_equal(operations.rotate(IMAGES, turn_by(np.zeros(5))).numpy(), IMAGES)


def test_turns_are_bilinear_and_black_outside():
    angles = np.radians(np.float32([-20, -3.3, 0.7, 12, 170]))
    turned = operations.rotate(IMAGES, turn_by(angles)).numpy()
    for image, angle, given in zip(IMAGES.astype(np.float64), angles, turned, strict=True):
        # Counterclockwise in an image whose rows run downwards: where (y, x) comes from.
        back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        centre = (np.array(image.shape[:2]) - 1) / 2
        for channel in range(3):
            # Scipy takes no part of pixels outside ("grid-constant" would); a border of black ones gives it to both.
            framed = np.pad(image[..., channel], 1)
            expected = ndimage.affine_transform(framed, back, centre + 1 - back @ (centre + 1), order=1)
            np.testing.assert_allclose(given[..., channel], expected[1:-1, 1:-1], atol=0.02)


def test_draws_are_uniform_and_normal():
    decisions = [drawn(ALL, step=step) for step in range(50)]
    turns = np.concatenate([d.turn for d in decisions])
    np.testing.assert_allclose(np.square(turns).sum(axis=1), 1, atol=1e-6)
    angles = np.degrees(np.arctan2(turns[:, 1], turns[:, 0]))
    assert stats.kstest(angles, stats.uniform(-20, 40).cdf).pvalue > 0.01
    for name in ("brightness", "contrast", "saturation"):
        factors = np.concatenate([drawn({name: 0.4}, step=step).colors for step in range(50)])[:, 0]
        assert stats.kstest(factors, stats.uniform(0.6, 0.8).cdf).pvalue > 0.01
    shifts = np.concatenate([drawn({"lighting": 0.1}, step=step).colors for step in range(50)])[:, 3:]
    normal = np.linalg.solve(np.array(EIGENVECTORS) * EIGENVALUES, shifts.T / 255).T / 0.1
    for column in normal.T:
        assert stats.kstest(column, stats.norm.cdf).pvalue > 0.01
    assert (np.abs(np.corrcoef(normal.T) - np.eye(3)) < 0.06).all()


def test_each_draw_has_a_stream_of_its_own():
    everything = drawn(ALL)
    for name in ("rotate", "crop", "flip"):
        alone = drawn({"crop": "pad", "pad": 2} if name == "crop" else {name: ALL[name]})
        field = {"rotate": "turn", "crop": "top", "flip": "flip"}[name]
        np.testing.assert_array_equal(getattr(alone, field), getattr(everything, field))
    assert drawn({"flip": True}).turn is None and drawn({"flip": True}).colors is None
    alone = [drawn({name: 0.4}).colors[:, 0] for name in ("brightness", "contrast", "saturation")]
    assert (np.abs(np.corrcoef([everything.turn[:, 1], *alone]) - np.eye(4)) < 0.4).all()


def test_draws_of_before_are_as_they_were():
    """The decisions of a step that this file's streams were added to, as they were written down before."""
    known = json.loads((Path(__file__).parent / "known_decisions.json").read_text())
    parsed = parse_augmentation({"crop": "pad", "pad": 2, "flip": True, "mixup": 0.7})
    d = draw(4, seed=3, size=50, batch_size=8, augment=parsed, process_index=0, process_count=1)
    for name in ("index", "top", "left", "flip", "second"):
        assert getattr(d, name).tolist() == known[name]
    assert float(d.mix) == known["mix"]
    parsed = parse_augmentation({"crop": "random_resized"})
    cut = draw(4, seed=3, size=50, batch_size=2, augment=parsed, process_index=0, process_count=1)
    assert cut.crop[:, :4].tolist() == known["crop"]


def batches_of(examples, info, augmentation, **options):
    options = {"batch_size": 8, "start_step": 0, "num_steps": 5, "seed": 3} | options
    return list(train_batches(examples, info=info, augmentation=augmentation, **options))


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 6, 1)])
def test_batches_apply_one_after_the_other_without_rounding(array_examples, shape):
    augmentation = ALL if shape[-1] == 3 else ALL | {"saturation": 0.0, "lighting": 0.0}
    examples, info = array_examples(shape=shape)
    parsed = parse_augmentation(augmentation)
    (batch,) = batches_of(examples, info, augmentation, start_step=4, num_steps=1)
    d = draw(4, seed=3, size=50, batch_size=8, augment=parsed, process_index=0, process_count=1)
    images = operations.rotate(examples.images[d.index], d.turn).numpy()
    expected = []
    for image, top, left, flip, terms in zip(images, d.top, d.left, d.flip, d.colors.astype(np.float64), strict=True):
        image = np.pad(image, ((2, 2), (2, 2), (0, 0)))[top:, left:][: shape[0], : shape[1]]
        image = (image[:, ::-1] if flip else image).repeat(3 // shape[-1], -1).astype(np.float64)
        grey = image @ [[0.299], [0.587], [0.114]]
        image = terms[0] * image + terms[1] * grey + terms[2] * grey.mean() + terms[3:]
        expected.append((image[..., : shape[-1]] / 255 - info.mean) / info.std)
    np.testing.assert_allclose(batch["image"], expected, atol=1e-5)


def test_a_step_is_a_function_of_seed_and_step_alone(array_examples):
    examples, info = array_examples()
    whole = batches_of(examples, info, ALL, num_steps=9)
    for start in (1, 4, 8):
        rest = batches_of(examples, info, ALL, start_step=start, num_steps=9 - start)
        for a, b in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(a["image"], b["image"])
    assert (batches_of(examples, info, ALL, seed=4, num_steps=1)[0]["image"] != whole[0]["image"]).any()
    for count in (2, 4):
        parts = [batches_of(examples, info, ALL, process_index=p, process_count=count) for p in range(count)]
        for step, shares in enumerate(zip(*parts, strict=True)):
            np.testing.assert_array_equal(np.concatenate([s["image"] for s in shares]), whole[step]["image"])


@pytest.mark.parametrize("crop", ["pad", "random_resized"])
def test_streams_and_episodes_are_varied_too(crop):
    config = {
        "name": "fake", "image_size": 8, "fake": {"height": 12, "width": 16, "train": 40}, "memory": "stream",
        "augment": ALL | {"crop": crop, "pad": 2 if crop == "pad" else 0},
    }  # fmt: skip
    splits = load_splits(config, seed=0)
    whole = batches_of(splits.train, splits.info, config["augment"], num_steps=4)
    rest = batches_of(splits.train, splits.info, config["augment"], start_step=2, num_steps=2)
    np.testing.assert_array_equal([b["image"] for b in rest], [b["image"] for b in whole[2:]])
    if crop == "pad":
        arrays = load_splits(config | {"memory": "arrays"}, seed=0)
        for a, b in zip(batches_of(arrays.train, arrays.info, config["augment"], num_steps=4), whole, strict=True):
            np.testing.assert_array_equal(a["image"], b["image"])
    options = {
        "spec": EpisodeSpec(2, 1, (1, 3)), "episodes_per_step": 2, "num_steps": 2, "seed": 0, "info": splits.info,
        "augmentation": config["augment"],
    }  # fmt: skip
    given, again = (list(episode_batches(splits.train, start_step=start, **options)) for start in (0, 1))
    np.testing.assert_array_equal(given[1]["image"], again[0]["image"])


def test_without_variations_images_are_those_of_before(array_examples):
    """The new steps are not there when they are off: the same bits as of integer images, shifted and scaled."""
    examples, info = array_examples()
    (batch,) = batches_of(examples, info, {"flip": True, "rotate": 0.0, "contrast": 0.0}, num_steps=1)
    parsed = parse_augmentation({"flip": True})
    d = draw(0, seed=3, size=50, batch_size=8, augment=parsed, process_index=0, process_count=1)
    images = np.where(d.flip[:, None, None, None], examples.images[d.index][:, :, ::-1], examples.images[d.index])
    shift, factor = (
        (255 * np.array(info.mean)).astype(np.float32),
        (1 / (255 * np.array(info.std))).astype(np.float32),
    )
    np.testing.assert_array_equal(batch["image"], (images.astype(np.float32) - shift) * factor)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ({"rotate": -1.0}, "data.augment.rotate=-1.0 must be at least 0 and at most 180"),
        ({"rotate": 200}, "rotate=200"),
        ({"contrast": 1.5}, "data.augment.contrast=1.5 must be at least 0 and at most 1"),
        ({"lighting": -0.1}, "data.augment.lighting=-0.1 must be at least 0"),
    ],
)
def test_amounts_that_cannot_be(augmentation, message):
    with pytest.raises(UserError, match=message):
        load_splits({"name": "digits", "augment": augmentation}, seed=0)


@pytest.mark.parametrize("name", ["saturation", "lighting"])
def test_grey_images_have_no_colours(array_examples, name):
    words = f"data.augment.{name}=0.2 changes colours, and the images are grey: set it to 0, or data.channels=3"
    with pytest.raises(DataError, match=words):
        load_splits({"name": "digits", "augment": {name: 0.2}}, seed=0)
    examples, info = array_examples(shape=(8, 6, 1))
    with pytest.raises(DataError, match=words):
        train_batches(examples, info=info, batch_size=4, start_step=0, num_steps=1, seed=0, augmentation={name: 0.2})
    assert isinstance(
        load_splits({"name": "digits", "augment": {name: 0.2}, "channels": 3}, seed=0).train, ArrayExamples
    )


def test_variations_are_described():
    words = describe(load_splits({"name": "digits", "augment": {"rotate": 20, "flip": True, "contrast": 0.4}}, seed=0))
    assert "training images are varied by rotate=20, flip, contrast=0.4" in words
    assert "varied" not in describe(load_splits({"name": "digits"}, seed=0))


def with_hole(image, y, x, length):
    """One image as Cutout of the authors' code (github.com/uoguelph-mlrg/Cutout) leaves it."""
    height, width = image.shape[:2]
    mask = np.ones((height, width), np.float32)
    y1, y2 = np.clip(y - length // 2, 0, height), np.clip(y + length // 2, 0, height)
    x1, x2 = np.clip(x - length // 2, 0, width), np.clip(x + length // 2, 0, width)
    mask[y1:y2, x1:x2] = 0.0
    return image * mask[..., None]


@pytest.mark.parametrize("side", [2, 3, 4, 5, 16])
def test_cutout_is_that_of_its_authors(side):
    images = rng.normal(size=(9 * 12, 9, 12, 3)).astype(np.float32)
    y, x = np.divmod(np.arange(9 * 12, dtype=np.int32), 12)
    given = operations.cut_out(images, y, x, side=side).numpy()
    expected = np.stack([with_hole(*each, side) for each in zip(images, y, x, strict=True)])
    np.testing.assert_array_equal(given, expected)
    # In the middle whole, in a corner a quarter.
    half = side // 2
    assert (given[4 * 12 + 6] == 0).all(axis=-1).sum() == min(2 * half, 9) * min(2 * half, 12)
    assert (given[0] == 0).all(axis=-1).sum() == min(half, 9) * half


def test_centres_of_holes_are_uniform_over_the_image_and_draws_of_their_own():
    parsed = parse_augmentation({"cutout": 4, "flip": True})
    options = {"seed": 0, "size": 1000, "batch_size": 500, "process_index": 0, "process_count": 1}
    decisions = [draw(step, augment=parsed, image_shape=(5, 4, 3), **options) for step in range(20)]
    y, x = (np.concatenate([getattr(d, name) for d in decisions]) for name in ("hole_y", "hole_x"))
    assert y.dtype == x.dtype == np.int32
    assert stats.chisquare(np.bincount(4 * y + x, minlength=20)).pvalue > 0.01
    assert len(np.bincount(4 * y + x)) == 20
    flips = np.concatenate([d.flip for d in decisions])
    assert (np.abs(np.corrcoef([y, x, flips]) - np.eye(3)) < 0.04).all()
    without = draw(3, augment=parse_augmentation({"flip": True}), **options)
    assert without.hole_y is None and without.hole_x is None
    np.testing.assert_array_equal(without.flip, decisions[3].flip)
    np.testing.assert_array_equal(without.index, decisions[3].index)


@pytest.mark.parametrize("count", [1, 2])
def test_holes_are_cut_after_all_else_and_before_mixing(array_examples, count):
    examples, info = array_examples()
    augmentation = {"crop": "pad", "pad": 2, "flip": True, "cutout": 5, "mixup": 0.7}
    parts = [batches_of(examples, info, augmentation, process_index=p, process_count=count) for p in range(count)]
    for step in range(5):
        d = draw(
            step, seed=3, size=50, batch_size=8, augment=parse_augmentation(augmentation), process_index=0,
            process_count=1, image_shape=(8, 6, 3),
        )  # fmt: skip
        images = []
        for i, top, left, flip, y, x in zip(d.index, d.top, d.left, d.flip, d.hole_y, d.hole_x, strict=True):
            image = np.pad(examples.images[i], ((2, 2), (2, 2), (0, 0)))[top : top + 8, left : left + 6]
            image = (image[:, ::-1] if flip else image) / 255
            images.append(with_hole((image - info.mean) / info.std, y, x, 5))
        expected = d.mix * np.array(images) + (1 - d.mix) * np.array(images)[d.second]
        given = np.concatenate([part[step]["image"] for part in parts])
        np.testing.assert_allclose(given, expected, atol=2e-6)


def test_images_of_episodes_have_holes_too(array_examples):
    examples, info = array_examples()
    options = {"spec": EpisodeSpec(2, 1, 3), "episodes_per_step": 3, "start_step": 2, "num_steps": 1, "seed": 0}
    (plain,), (cut,) = (
        list(episode_batches(examples, info=info, augmentation=a, **options)) for a in ({}, {"cutout": 4})
    )
    # Rows are numbered through the run: step 2 begins with episode 6, of 8 images each.
    down, right = bits(fold(key(0), CUTOUT), np.arange(6 * 8, 9 * 8))
    y, x = (down % 8).astype(int), (right % 6).astype(int)
    expected = [with_hole(*each, 4) for each in zip(plain["image"], y, x, strict=True)]
    np.testing.assert_array_equal(cut["image"], expected)


@pytest.mark.parametrize(
    ("cutout", "message"),
    [
        (-2, "data.augment.cutout=-2 must be 0, or at least 2"),
        (1, "cutout=1 must be 0, or at least 2"),
        (16, "data.augment.cutout=16 leaves nothing of images of 8×8 .height × width.: set it below 16"),
    ],
)
def test_holes_that_cannot_be(cutout, message):
    with pytest.raises(UserError, match=message):
        load_splits({"name": "digits", "augment": {"cutout": cutout}}, seed=0)
    words = describe(load_splits({"name": "digits", "augment": {"cutout": 4}}, seed=0))
    assert "training images are varied by cutout=4" in words
