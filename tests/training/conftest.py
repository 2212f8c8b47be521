"""Fixtures of the training tests: a run of seconds on noise with divided classes, and what it leaves, in bits."""

import itertools
import json

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def noise_config():
    """Noise of 8x8: 10 base classes, 5 for validation, 5 novel; with overrides by dotted name.

    Methods that train on episodes get ragged ones of the same data, and no batch size.
    """
    from fsjax.configs.common import base

    def make(method, **overrides):
        config = base()
        config.name, config.method.name, config.loss.name = "noise", method, "cosine"
        config.data.name = "fake"
        config.data.fake.update(height=8, width=8, num_classes=20, train=20 * 16, test=20 * 8)
        config.data.class_split.update(name="share", validation=0.25, test=0.25)
        config.data.base_holdout = 6
        config.data.augment.update(crop="pad", pad=1, flip=True)
        config.model.name = "cnn"
        config.model.cnn.stages = ((4,), (8,))
        config.train.update(steps=6, batch_size=16, log_every=2, eval_every=2, checkpoint_every=2, progress=False)
        config.eval.batch_size = 64
        config.few_shot.update(shots=(2, 1), query=(4,), tasks=30, classes=("novel", "base", "both"))
        config.few_shot.validation.update(shot=(2,), query=(4,), tasks=20)
        if method in ("prototypical", "meta_baseline", "aflm"):
            config.train.batch_size = 0
            config.episodes.update(way=(2, 4), shot=(1, 2), query=(2,), per_step=2)
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in overrides.items()})
        return config

    return make


@pytest.fixture(scope="session")
def smoke_config(root):
    """The `:smoke` variant of a config by its file's name, with more variants behind a colon: "dc_fc100:gap"."""
    from fsjax.config_file import load_config

    def load(name):
        file, _, variants = name.partition(":")
        return load_config(f"{root}/configs/{file}.py:{f'{variants},' if variants else ''}smoke")

    return load


@pytest.fixture(scope="session")
def resolve():
    """Build all that a config describes, and trace its first state and its objective, without a compilation."""
    from fsjax.config import check
    from fsjax.data import load_splits
    from fsjax.training.experiment import build_experiment

    def build(config):
        check(config)
        experiment = build_experiment(config, load_splits(config.data, seed=config.seed))
        with jax.disable_jit():  # a compiled function with options of its own cannot be traced within another
            return jax.eval_shape(experiment.initial_state)

    return build


@pytest.fixture(scope="session")
def figures_of():
    """The lines of a run's metrics.jsonl without what depends on the clock."""

    def read(workdir):
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "timing"} for line in lines]

    return read


@pytest.fixture(scope="session")
def arrays_of():
    """The bits of all arrays, the optimizer's too, of every checkpoint that a run left, by folder, step and name."""
    from fsjax.data import load_splits
    from fsjax.training.checkpoints import load, steps_in
    from fsjax.training.experiment import build_experiment

    def read(config, workdir):
        like = build_experiment(config, load_splits(config.data, seed=config.seed)).initial_state()
        found = {}
        for which in ("latest", "best"):
            directory = workdir / "checkpoints" / which
            for step in steps_in(directory):
                for path, leaf in jax.tree_util.tree_leaves_with_path(load(directory, step, like)):
                    found[which, step, jax.tree_util.keystr(path)] = np.asarray(leaf).tobytes()
        return found

    return read


@pytest.fixture
def run_until():
    """Run a config and stop after a step, as a process that was killed there: no result is written."""
    from fsjax.training import loop, run

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    def until(step, config, workdir):
        ends = loop._dispatch_ends
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "_dispatch_ends", lambda *args: itertools.takewhile(lambda e: e <= step, ends(*args)))
            patch.setattr(loop, "finish", stop)
            with pytest.raises(Stop):
                run(config, workdir)

    return until
