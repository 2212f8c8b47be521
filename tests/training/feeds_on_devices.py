"""A script of the tests, and its parts: micro-batches of both feeds, compared bit for bit on all devices there are.

Run with XLA_FLAGS=--xla_force_host_platform_device_count=4; prints how many cases were compared.
"""

import json

import jax
import numpy as np
from jax import lax

from fsjax import data
from fsjax.configs.common import base
from fsjax.training.experiment import build_experiment
from fsjax.training.parallel import AXIS


def config_of(case: str, backend: str, lifted: str):
    """Noise of 9x7, 131 images: "mixed" (all that can be varied), "plain" (nothing) or "ragged" episodes."""
    config = base()
    config.name, config.loss.name = "noise", "softmax"
    config.data.update(name="fake", backend=backend, cache="off")
    config.data.fake.update(height=9, width=7, num_classes=5, train=131, test=20)
    config.model.name = "cnn"
    config.model.cnn.stages = ((4,), (8,))
    config.train.update(steps=9, batch_size=16, accumulate=2, steps_per_dispatch=4)
    config.eval.batch_size = 20
    config.parallel.backend = lifted
    if case == "mixed":
        config.data.augment.update(crop="pad", pad=2, flip=True, cutout=3, mixup=0.4)
    if case == "ragged":
        config.method.name, config.train.batch_size = "prototypical", 0
        config.episodes.update(way=(2, 4), shot=(1, 2), query=(2,), per_step=2)
        config.data.augment.update(crop="pad", pad=1, flip=True, cutout=2)
    return config


def micro_batches(config) -> list[dict[str, np.ndarray]]:
    """What the step reads of all dispatches, from step 2 on, gathered over the devices."""
    experiment = build_experiment(config, data.load_splits(config.data, seed=config.seed))
    feed, parallel = experiment.feed, experiment.parallel

    def read(_, batch):
        items, shared = feed.split(batch)
        steps, turns = jax.tree.leaves(items)[0].shape[:2]
        parts = [
            feed.read(shared, jax.tree.map(lambda x: x[step, turn], items))  # noqa: B023 - used at once
            for step in range(steps)
            for turn in range(turns)
        ]
        return lax.all_gather(parts, AXIS, axis=0, tiled=True)

    lifted = parallel.lift(read, batch_axis=feed.batch_axis, num_replicated=1)
    nothing = parallel.replicate(np.zeros(()))
    found = []
    for batch in experiment.train_batches(2, iter([4, 1, 2])):
        found += jax.device_get(parallel.single(lifted(nothing, batch)))
    return found


def compare(case: str, lifted: str) -> None:
    """Fails where a micro-batch differs in a bit."""
    host, device = (micro_batches(config_of(case, backend, lifted)) for backend in ("host", "device"))
    assert len(host) == len(device) == 14
    for ours, theirs in zip(device, host, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].dtype == value.dtype and ours[name].shape == value.shape, name
            assert ours[name].tobytes() == value.tobytes(), f"{case}, {lifted}: {name}"
    if case == "mixed":
        assert not np.array_equal(host[0]["mix"], host[1]["mix"])


if __name__ == "__main__":
    cases = [
        ("plain", "shard_map"),
        *((case, lifted) for case in ("mixed", "ragged") for lifted in ("shard_map", "pmap")),
    ]
    for case, lifted in cases:
        compare(case, lifted)
    print(json.dumps({"devices": jax.device_count(), "compared": len(cases)}))
