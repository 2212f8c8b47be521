"""Batches of episodes, against the episodes that NumPy draws and the images that they name."""

import dataclasses
import itertools

import numpy as np
import pytest

from fsjax.data import (
    DataError,
    EpisodeSpec,
    class_table,
    draw_episodes,
    episode_batches,
    load_splits,
    normalize,
    parse_spec,
)

PLAIN = EpisodeSpec(3, 1, 2)
RAGGED = EpisodeSpec((2, 4), (1, 2), (1, 3))
AUGMENTED = {"crop": "pad", "pad": 2, "flip": True}


def batches_of(examples, info, **options):
    options = {
        "spec": PLAIN, "episodes_per_step": 4, "start_step": 0, "num_steps": 5, "seed": 3, "augmentation": {},
    } | options  # fmt: skip
    return list(episode_batches(examples, info=info, **options))


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("spec", [PLAIN, RAGGED], ids=str)
@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_batches_hold_the_images_of_the_episodes(spec, memory):
    config = {"name": "fake", "fake": {"height": 4, "width": 5, "train": 60, "num_classes": 5}}
    arrays = load_splits({**config, "memory": "arrays"}, seed=0).train
    splits = load_splits({**config, "memory": memory}, seed=0)
    given = batches_of(splits.train, splits.info, spec=spec, start_step=2)
    table = class_table(arrays.labels, 5)
    for step, batch in enumerate(given, start=2):
        assert {name: value.dtype for name, value in batch.items()} == {
            "image": np.float32, "label": np.int32, "index": np.int32, "weight": np.float32,
        }  # fmt: skip
        episodes = draw_episodes(table, spec, seed=3, start=4 * step, count=4)
        rows = iter(range(4 * spec.rows))
        for e in range(4):
            images = np.concatenate([episodes.support[e], episodes.query[e]], axis=1).ravel()
            padding = itertools.cycle(images[images >= 0])  # repeats the images of its episode
            for position in images:
                row, real = next(rows), position >= 0
                position = position if real else next(padding)
                image = arrays.images[position]
                np.testing.assert_array_equal(batch["image"][row], normalize(image[None], splits.info)[0])
                assert batch["index"][row] == position and batch["weight"][row] == real
                assert batch["label"][row] == arrays.labels[position]
        assert next(rows, None) is None and len(batch["image"]) == 4 * spec.rows
    assert (min(batch["weight"].min() for batch in given) == 0) == spec.ragged


def test_every_row_is_augmented_by_draws_of_its_own(array_examples):
    examples, info = array_examples(60)
    ones = dataclasses.replace(examples, images=np.full_like(examples.images, 255))
    ones.images[:, :, ::2] = 128  # columns tell a mirrored image, the black border tells a crop
    batches = batches_of(ones, info, augmentation=AUGMENTED, num_steps=40)
    images = np.concatenate([batch["image"] for batch in batches])
    kinds = {image.tobytes(): 0 for image in images}
    for image in images:
        kinds[image.tobytes()] += 1
    assert len(kinds) == 5 * 5 * 2  # offsets 0..4 of both axes, mirrored or not
    assert max(kinds.values()) < 3 * len(images) / 50
    again = batches_of(ones, info, augmentation=AUGMENTED, start_step=39, num_steps=1)
    assert_same(again, batches[39:])


def test_random_resized_crops_differ_and_come_back():
    config = {
        "name": "fake", "image_size": 6, "augment": {"crop": "random_resized"},
        "fake": {"height": 12, "width": 15, "train": 20, "num_classes": 3},
    }  # fmt: skip
    splits = load_splits(config, seed=0)
    options = {"spec": EpisodeSpec(2, 1, (1, 3)), "augmentation": config["augment"]}
    whole = batches_of(splits.train, splits.info, **options)
    assert_same(batches_of(splits.train, splits.info, start_step=3, num_steps=2, **options), whole[3:])
    crops = [im for b in whole for im, i in zip(b["image"], b["index"], strict=True) if i == 0]
    assert len(crops) > 1 and all((crops[0] != crop).any() for crop in crops[1:])
    shares = [batches_of(splits.train, splits.info, process_index=p, process_count=2, **options) for p in range(2)]
    assert_same([joined(parts) for parts in zip(*shares, strict=True)], whole)


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("spec", [PLAIN, RAGGED], ids=str)
@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_episodes_of_a_step(array_examples, spec, count):
    examples, info = array_examples(60)
    options = {"spec": spec, "augmentation": AUGMENTED}
    whole = batches_of(examples, info, **options)
    shares = [batches_of(examples, info, process_index=p, process_count=count, **options) for p in range(count)]
    assert_same([joined(parts) for parts in zip(*shares, strict=True)], whole)


def test_starting_at_a_step_gives_the_batches_of_a_run_from_zero(array_examples):
    examples, info = array_examples(60)
    whole = batches_of(examples, info, augmentation=AUGMENTED, num_steps=9)
    for start in (1, 5, 8):
        rest = batches_of(examples, info, augmentation=AUGMENTED, start_step=start, num_steps=9 - start)
        assert_same(rest, whole[start:])
    assert (batches_of(examples, info, seed=4)[0]["index"] != whole[0]["index"]).any()
    assert batches_of(examples, info, start_step=9, num_steps=0) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": {"mixup": 0.2}}, "mixup=0.2 would mix the classes of an episode"),
        ({"augmentation": {"crop": "random_resized"}}, 'memory="stream"'),
        ({"episodes_per_step": 3, "process_count": 2}, "episodes_per_step=3 does not divide among 2"),
        ({"episodes_per_step": 0}, "episodes_per_step=0"),
        ({"spec": parse_spec(way=6, shot=1, query=1)}, r"5 classes \(the training split\) cannot make 6-way"),
        ({"spec": parse_spec(way=5, shot=5, query=50)}, "class '[a-e]' of the training split has .* need 55"),
    ],
)
def test_bad_arguments_are_refused_at_once(array_examples, options, message):
    examples, info = array_examples()
    good = {"spec": PLAIN, "episodes_per_step": 4, "start_step": 0, "num_steps": 1, "seed": 0, "augmentation": {}}
    with pytest.raises(DataError, match=message):
        episode_batches(examples, info=info, **(good | options))
