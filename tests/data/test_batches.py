"""Training and evaluation batches, against a NumPy loop over the decisions."""

import sys

import numpy as np
import pytest

from fsjax.data import default_config, eval_batches, load_splits, normalize, train_batches
from fsjax.data.pipeline.augment_config import parse_augmentation
from fsjax.data.pipeline.decisions import draw
from fsjax.errors import UserError

EVERYTHING = {"crop": "pad", "pad": 2, "flip": True, "mixup": 0.7}


def batches_of(examples, info, **options):
    options = {
        "batch_size": 8,
        "start_step": 0,
        "num_steps": 5,
        "seed": 3,
        "augmentation": EVERYTHING,
    } | options
    return list(train_batches(examples, info=info, **options))


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def augmented(image, top, left, flip, pad):
    """One image padded with black, cropped and mirrored, pixel by pixel."""
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            source_y, source_x = y + top - pad, (width - 1 - x if flip else x) + left - pad
            if 0 <= source_y < height and 0 <= source_x < width:
                out[y, x] = image[source_y, source_x]
    return out


@pytest.mark.parametrize(
    "augmentation", [{}, {"flip": True}, {"crop": "pad", "pad": 2}, {**EVERYTHING, "mixup": 0.0}, EVERYTHING]
)
def test_batches_apply_the_decisions(array_examples, augmentation):
    examples, info = array_examples()
    given = batches_of(examples, info, augmentation=augmentation, start_step=4)
    parsed = parse_augmentation(augmentation)
    for step, batch in enumerate(given, start=4):
        d = draw(step, seed=3, size=50, batch_size=8, augment=parsed, process_index=0, process_count=1)
        images = [
            augmented(examples.images[i], top, left, flip, parsed.pad)
            for i, top, left, flip in zip(d.index, d.top, d.left, d.flip, strict=True)
        ]
        images = (np.array(images, np.float64) / 255 - info.mean) / info.std
        if parsed.mixup:
            images = d.mix * images + (1 - d.mix) * images[d.second]
            np.testing.assert_array_equal(batch["mixed_label"], examples.labels[d.index[d.second]])
            np.testing.assert_array_equal(batch["mix"], np.full(8, d.mix))
        np.testing.assert_allclose(batch["image"], images, atol=2e-6)
        np.testing.assert_array_equal(batch["label"], examples.labels[batch["index"]])
        np.testing.assert_array_equal(batch["index"], d.index)
        assert set(batch) == {"image", "label", "index"} | ({"mixed_label", "mix"} if parsed.mixup else set())
        types = {name: value.dtype for name, value in batch.items()}
        assert all(kind == (np.float32 if name in ("image", "mix") else np.int32) for name, kind in types.items())


def test_decisions_cover_what_they_may_be():
    parsed = parse_augmentation(EVERYTHING)
    drawn = [
        draw(i, seed=0, size=1000, batch_size=100, augment=parsed, process_index=0, process_count=1) for i in range(20)
    ]
    for offsets in ([d.top for d in drawn], [d.left for d in drawn]):
        counts = np.bincount(np.concatenate(offsets), minlength=5)
        assert len(counts) == 5 and (np.abs(counts / 2000 - 0.2) < 0.04).all()
    assert abs(np.mean([d.flip for d in drawn]) - 0.5) < 0.05
    assert abs(np.corrcoef(np.concatenate([d.top for d in drawn]), np.concatenate([d.left for d in drawn]))[0, 1]) < 0.1
    for d in drawn:
        assert sorted(d.second) == list(range(100))
    assert len({tuple(d.second) for d in drawn}) == 20


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixing_weights_are_beta(alpha):
    parsed = parse_augmentation({"mixup": alpha})
    mix = np.array([
        draw(i, seed=0, size=4, batch_size=2, augment=parsed, process_index=0, process_count=1).mix
        for i in range(2000)
    ])  # fmt: skip
    assert abs(mix.mean() - 0.5) < 0.03
    assert abs(mix.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_every_epoch_visits_every_example_once(array_examples):
    examples, info = array_examples(50)
    index = np.concatenate([b["index"] for b in batches_of(examples, info, num_steps=25)])
    epochs = index.reshape(4, 50)
    for epoch in epochs:
        assert sorted(epoch) == list(range(50))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_split_smaller_than_a_batch(array_examples):
    examples, info = array_examples(3)
    (batch,) = batches_of(examples, info, num_steps=1)
    assert np.bincount(batch["index"]).min() >= 2


@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_starting_at_a_step_gives_the_batches_of_a_run_from_zero(memory):
    splits = load_splits({"name": "fake", "memory": memory, "fake": {"height": 8, "width": 8, "train": 30}}, seed=0)
    whole = batches_of(splits.train, splits.info, num_steps=12)
    for start in (1, 5, 11):
        rest = batches_of(splits.train, splits.info, start_step=start, num_steps=12 - start)
        assert_same(rest, whole[start:])
    assert (batches_of(splits.train, splits.info, seed=4)[0]["index"] != whole[0]["index"]).any()


@pytest.mark.parametrize("augmentation", [EVERYTHING, {**EVERYTHING, "mixup": 0.0}])
@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_batch(array_examples, augmentation, count):
    examples, info = array_examples()
    whole = batches_of(examples, info, augmentation=augmentation)
    shares = [
        batches_of(examples, info, augmentation=augmentation, process_index=p, process_count=count)
        for p in range(count)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shares, strict=True)
    ]
    assert_same(joined, whole)


def test_a_stream_gives_the_batches_of_arrays():
    config = {"name": "fake", "fake": {"height": 6, "width": 7, "train": 20, "test": 13}}
    arrays, stream = (load_splits({**config, "memory": memory}, seed=0) for memory in ("arrays", "stream"))
    assert arrays.info == stream.info
    assert_same(batches_of(arrays.train, arrays.info), batches_of(stream.train, stream.info))
    evaluated = [list(eval_batches(s.test, batch_size=4, info=s.info)) for s in (arrays, stream)]
    assert_same(*evaluated)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 8, 17])
def test_evaluation_sees_every_example_once(array_examples, size, count):
    examples, info = array_examples(size)
    seen = []
    parts = [
        list(eval_batches(examples, batch_size=8, info=info, process_index=p, process_count=count))
        for p in range(count)
    ]
    assert len({len(part) for part in parts}) == 1
    for batch in (batch for part in parts for batch in part):
        assert batch["image"].shape == (8 // count, *info.image_shape)
        real = batch["weight"] == 1
        assert (batch["weight"][~real] == 0).all() and (batch["index"][~real] == -1).all()
        seen += batch["index"][real].tolist()
        np.testing.assert_array_equal(batch["label"][real], examples.labels[batch["index"][real]])
        np.testing.assert_array_equal(batch["image"][real], normalize(examples.images[batch["index"][real]], info))
    assert sorted(seen) == list(range(size))


def test_random_resized_crops_are_streamed_and_evaluated_on_the_centre():
    config = {
        "name": "fake", "image_size": 8, "augment": {"crop": "random_resized"},
        "fake": {"height": 20, "width": 30, "train": 12, "test": 4},
    }  # fmt: skip
    splits = load_splits(config, seed=0)
    augmentation = config["augment"]
    first = batches_of(splits.train, splits.info, augmentation=augmentation, num_steps=6)
    assert first[0]["image"].shape == (8, 8, 8, 3)
    assert_same(first[2:], batches_of(splits.train, splits.info, augmentation=augmentation, start_step=2, num_steps=4))
    crops = [image for b in first for image, i in zip(b["image"], b["index"], strict=True) if i == 0]
    assert len(crops) == 4 and all((crops[0] != crop).any() for crop in crops[1:])
    (batch,) = eval_batches(splits.test, batch_size=4, info=splits.info)
    assert batch["image"].shape == (4, 8, 8, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 7, "process_count": 2}, "batch_size=7 does not divide among 2"),
        ({"process_index": 2, "process_count": 2}, "process 2 of 2"),
        ({"augmentation": {"crop": "random_resized"}}, 'memory="stream"'),
        ({"augmentation": {"pad": 4}}, r'pad=4 has no effect with .*crop="none"'),
        ({"augmentation": {"mixup": -1.0}}, "mixup=-1.0"),
    ],
)
def test_bad_arguments_are_refused_at_once(array_examples, options, message):
    examples, info = array_examples()
    with pytest.raises(UserError, match=message):
        train_batches(
            examples, info=info,
            **({"batch_size": 8, "start_step": 0, "num_steps": 1, "seed": 0, "augmentation": {}} | options),
        )  # fmt: skip


def test_data_never_imports_jax_and_loads_without_tensorflow(python):
    code = (
        "import sys; from fsjax import data; data.load_splits({'name': 'digits'}, seed=0); "
        "assert 'jax' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    python("-c", code)


@pytest.mark.parametrize("shape", [(8, 6, 3), (5, 7, 1)])
def test_evaluation_of_arrays_by_a_loop_over_images(array_examples, shape):
    examples, info = array_examples(21, shape=shape)
    batches = list(eval_batches(examples, batch_size=8, info=info))
    assert [set(batch) for batch in batches] == [{"image", "label", "index", "weight"}] * 3
    shift = (255 * np.array(info.mean)).astype(np.float32)
    factor = (1 / (255 * np.array(info.std))).astype(np.float32)
    for number in range(24):
        batch, row = batches[number // 8], number % 8
        image = examples.images[number] if number < 21 else np.zeros(shape, np.uint8)
        expected = (image.astype(np.float32) - shift) * factor
        np.testing.assert_array_equal(batch["image"][row], expected)
        assert batch["image"].dtype == np.float32 and batch["weight"][row] == (number < 21)
        assert batch["label"][row] == (examples.labels[number] if number < 21 else 0)


def test_evaluation_of_arrays_and_the_package_need_no_tensorflow(python):
    code = (
        "import sys; import fsjax.training; from fsjax import data; s = data.load_splits({'name': 'digits'}, seed=0); "
        "n = len(list(data.eval_batches(s.test, batch_size=64, info=s.info))); "
        "assert n == -(-len(s.test) // 64); "
        "assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)"
    )
    python("-c", code)


def test_tensorflow_takes_no_gpu(array_examples):
    examples, info = array_examples()
    next(iter(batches_of(examples, info, num_steps=1)))
    assert sys.modules["tensorflow"].config.get_visible_devices("GPU") == []


def test_defaults_are_valid_but_for_the_name():
    assert load_splits(default_config() | {"name": "digits"}, seed=0).info.name == "digits"
