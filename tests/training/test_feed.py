"""Batches of images on the device against those of the host's pipelines: the same bits."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from fsjax import data
from fsjax.errors import UserError
from fsjax.training.experiment import build_experiment

CASES = Path(__file__).parent / "feeds_on_devices.py"


def feeds():
    """The module of the cases, which the tests on four devices run as a script."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("feeds_on_devices", CASES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "case", ["mixed", *(pytest.param(case, marks=pytest.mark.slow) for case in ("plain", "ragged"))]
)
def test_the_same_batches_on_one_device(case):
    feeds().compare(case, "shard_map")


@pytest.mark.slow
def test_the_same_batches_on_four_devices(python, root):
    """With `shard_map` and with `pmap`; the images are divided among the devices, and do not divide evenly."""
    done = python(str(CASES), devices=4, PYTHONPATH=str(root))
    assert json.loads(done.stdout.splitlines()[-1]) == {"devices": 4, "compared": 5}


@pytest.mark.slow
def test_a_run_of_either_backend_has_the_same_losses(optimized, noise_config, figures_of, tmp_path):
    """Several steps per dispatch, micro-batches, the end of an epoch within a dispatch, and a stop in between."""
    from fsjax.training import run

    def train(backend, folder, **more):
        config = noise_config(
            "classification", data__backend=backend, data__cache="off", train__accumulate=2,
            train__steps_per_dispatch=3, data__augment__cutout=4, **more,
        )  # fmt: skip
        run(config, tmp_path / folder)
        return figures_of(tmp_path / folder)

    for a, b in zip(train("host", "host"), train("device", "device"), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name] == pytest.approx(b[name], abs=1e-5), name


@pytest.mark.slow
def test_continued_with_the_other_backend(optimized, noise_config, figures_of, run_until, tmp_path):
    from fsjax.training import run

    run_until(4, noise_config("classification", data__backend="device", data__cache="off"), tmp_path / "run")
    run(noise_config("classification"), tmp_path / "run")
    run(noise_config("classification"), tmp_path / "whole")
    ours, theirs = figures_of(tmp_path / "run"), figures_of(tmp_path / "whole")
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    np.testing.assert_allclose(*[[x["loss"] for x in f if "loss" in x] for f in (ours, theirs)], atol=1e-5)


def test_images_beyond_the_memory_are_refused_in_words(noise_config, monkeypatch):
    from fsjax.training.parallel import DataParallel

    monkeypatch.setattr(DataParallel, "memory_limit", 20_000)
    config = noise_config("classification", data__backend="device", data__cache="off")
    with pytest.raises(UserError, match=r'backend="device" would put .* GiB of images .* or data.backend="host"'):
        build_experiment(config, data.load_splits(config.data, seed=0))


def test_the_order_is_drawn_once_an_epoch(noise_config):
    config = noise_config("classification", data__backend="device", data__cache="off", train__steps=20)
    experiment = build_experiment(config, data.load_splits(config.data, seed=0))
    orders = [batch["orders"] for batch in experiment.train_batches(0, iter([1] * 20))]
    per_epoch = experiment.splits.info.counts["train"] / 16
    assert len({id(order) for order in orders}) == int(np.ceil(20 / per_epoch))
    assert {order.shape[0] for order in orders} == {2}
    assert jax.tree.leaves(orders)[0].dtype == np.int32
