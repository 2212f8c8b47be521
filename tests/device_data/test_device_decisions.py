"""Draws inside a jit against those of NumPy: the same bits, on any number of devices, far into a run."""

import functools

import jax
import numpy as np
import pytest

from fsjax.data import EpisodeSpec, class_table
from fsjax.data import random as host_random
from fsjax.data.pipeline import decisions as host
from fsjax.data.pipeline.augment_config import parse_augmentation
from fsjax.device_data import decisions, random

SHAPE = (9, 12, 3)
EVERYTHING = {"crop": "pad", "pad": 3, "flip": True, "cutout": 4, "mixup": 0.7}
SOME = {"crop": "pad", "pad": 3, "cutout": 5}
NAMES = ("index", "top", "left", "flip", "first", "second", "mix", "weight", "hole_y", "hole_x")


def assert_same(given, wanted):
    for name in NAMES:
        expected, value = getattr(wanted, name), given[name]
        if expected is None:
            assert value is None
        else:
            assert np.asarray(value).tobytes() == np.ascontiguousarray(expected).tobytes(), name


def named(drawn):
    return {name: getattr(drawn, name) for name in NAMES}


@pytest.mark.parametrize("augmentation", [{}, SOME, EVERYTHING], ids=["none", "some", "everything"])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    ("number", "size", "rows"),
    [
        pytest.param(0, 40, 16, id="begin", marks=pytest.mark.slow),
        pytest.param(2, 40, 16, id="two epochs", marks=pytest.mark.slow),
        pytest.param(7, 5, 16, id="many epochs in a batch"),
        pytest.param(2**31 // 8, 1000, 16, id="rows past 2**32"),
    ],
)
def test_draws_of_single_images(augmentation, devices, number, size, rows):
    seed, augment = 2**33 + 5, parse_augmentation(augmentation)
    plan, first = decisions.plans(np.array([number]), seed=seed, rows=rows, size=size, mixup=augment.mixup)
    epochs = -(-(rows - 1) // size) + 1
    orders = decisions.epoch_orders(seed, np.uint32(first), count=epochs, size=size)

    @functools.partial(jax.jit, static_argnames="device")
    def draw(plan, orders, *, device):
        return named(
            decisions.draw(
                plan, orders, seed=seed, batch_size=rows, augment=augment, image_shape=SHAPE, device=device,
                devices=devices,
            )
        )  # fmt: skip

    for device in range(devices):
        given = draw({name: value[0] for name, value in plan.items()}, orders, device=device)
        wanted = host.draw(
            number, seed=seed, size=size, batch_size=rows, augment=augment, process_index=device,
            process_count=devices, image_shape=SHAPE,
        )  # fmt: skip
        assert_same(given, wanted)


@pytest.mark.parametrize("spec", [EpisodeSpec(3, 2, 3), EpisodeSpec((2, 4), (1, 3), (1, 2))], ids=["fixed", "ragged"])
@pytest.mark.parametrize("number", [0, pytest.param(3, marks=pytest.mark.slow), 2**28])
def test_draws_of_episodes(spec, number):
    seed, augment, episodes = 11, parse_augmentation(SOME | {"flip": True}), 4
    table = class_table(np.repeat(np.arange(6), 8), 6)
    plan, _ = decisions.plans(np.array([number]), seed=seed, rows=episodes * spec.rows, size=48, mixup=0.0)

    @functools.partial(jax.jit, static_argnames=("device", "devices"))
    def draw(plan, *, device, devices):
        return named(
            decisions.draw_episodic(
                plan, table, seed=seed, spec=spec, episodes=episodes, augment=augment, image_shape=SHAPE,
                device=device, devices=devices,
            )
        )  # fmt: skip

    wanted = host.draw_episodic(
        number, seed=seed, table=table, spec=spec, episodes_per_step=episodes, augment=augment, process_index=0,
        process_count=1, image_shape=SHAPE,
    )  # fmt: skip
    plan = {name: value[0] for name, value in plan.items()}
    assert_same(draw(plan, device=0, devices=1), wanted)
    # Devices divide the rows, wherever an episode ends.
    parts = [draw(plan, device=device, devices=4) for device in range(4)]
    for name in ("index", "top", "left", "flip", "weight", "hole_y", "hole_x"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), getattr(wanted, name))


def test_an_order_is_that_of_the_host():
    orders = decisions.epoch_orders(3, np.uint32(5), count=3, size=100)
    for epoch, order in zip((5, 6, 7), orders, strict=True):
        np.testing.assert_array_equal(order, host_random.epoch_order(3, epoch, 100))


def test_bits_and_folds_are_those_of_the_host():
    key = host_random.fold(host_random.key(9), 4, 2**31)
    assert tuple(int(word) for word in random.fold(host_random.key(9), 4, np.uint32(2**31))) == key
    counters = np.array([0, 1, 2**32 - 1, 2**40 + 17], np.uint64)
    given = random.bits(key, (counters & 0xFFFFFFFF).astype(np.uint32), (counters >> 32).astype(np.uint32))
    np.testing.assert_array_equal(given, host_random.bits(key, counters))
