"""A script of the tests: 20 steps of small networks on 1, 2, 4 and 8 devices; prints their losses as JSON.

Run with XLA_FLAGS=--xla_force_host_platform_device_count=8. The optimizer is Adam, whose state has two arrays for each
of the parameters; setups are named "DEVICES shard_map" or "DEVICES pmap", with "device" for images on the devices and
"divided" for an optimizer's state that is divided among them.
"""

import itertools
import json

import jax
import numpy as np

from fsjax import data
from fsjax.configs.common import base
from fsjax.training.experiment import build_experiment

STEPS = 20
SETUPS = [f"{n} shard_map" for n in (1, 2, 4, 8)] + ["2 pmap", "8 pmap", "4 shard_map device", "4 shard_map divided",
          "8 shard_map device divided"]  # fmt: skip


def config_of(kind: str, setup: str):
    """Noise of 8x8; "plain" is cross-entropy, "coupled" OPL, "episodic" prototypical networks."""
    devices, lifted, *more = setup.split()
    config = base()
    config.name, config.loss.name = "noise", "opl" if kind == "coupled" else "softmax"
    config.data.update(name="fake", cache="off", backend="device" if "device" in more else "host")
    config.data.fake.update(height=8, width=8, num_classes=8, train=160, test=16)
    config.data.augment.update(crop="pad", pad=1, flip=True)
    config.model.update(name="cnn", sync_batch_norm=True)
    config.model.cnn.stages = ((4,), (8,))
    config.train.update(steps=STEPS, batch_size=16)
    config.eval.batch_size = 16
    config.optimizer.update(name="adam", learning_rate=0.01, clip_norm=1.0)
    config.schedule.update(name="constant", warmup=0.0)
    if kind == "episodic":
        config.method.name, config.train.batch_size = "prototypical", 0
        config.episodes.update(way=(4,), shot=(2,), query=(2,), per_step=1)
    config.parallel.update(backend=lifted, num_devices=int(devices), shard_optimizer="divided" in more)
    return config


def losses_of(kind: str, setup: str) -> list[float]:
    """The losses of the first steps."""
    config = config_of(kind, setup)
    experiment = build_experiment(config, data.load_splits(config.data, seed=config.seed))
    state = experiment.parallel.place(experiment.initial_state())
    found = []
    for batch in experiment.train_batches(0, itertools.repeat(1, STEPS)):
        state, losses = experiment.train_step(state, batch)
        found.append(float(np.asarray(experiment.parallel.single(losses))[0]))
    if "divided" in setup:
        check_divided(state, experiment.parallel.num_devices)
    return found


def check_divided(state, devices: int) -> None:
    """Each device holds its part of the optimizer's state, and all of the parameters."""
    for x in jax.tree.leaves(state.opt_state):
        here = x.addressable_shards[0].data.size
        divides = any(size % devices == 0 for size in x.shape if size)
        assert here * (devices if divides else 1) == x.size, (x.shape, here)
    assert any(x.addressable_shards[0].data.size < x.size for x in jax.tree.leaves(state.opt_state))
    for x in jax.tree.leaves((state.params, state.collections)):
        assert x.sharding.is_fully_replicated


if __name__ == "__main__":
    kinds = ("plain", "coupled", "episodic")
    print(json.dumps({kind: {setup: losses_of(kind, setup) for setup in SETUPS} for kind in kinds}))
