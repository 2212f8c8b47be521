"""Fixtures of the methods' tests: small methods with their variables, and what their encoders say in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import DataInfo
from fsjax.methods import build_method

INFO = DataInfo("random", ("a", "b", "c"), (8, 8, 1), {"train": 30}, (20, 7, 3), (0.5,), (0.5,))


@pytest.fixture(scope="session")
def few_shot_config():
    """A config of a small network with a cosine loss, with overrides by dotted name, `method__name="dense"`."""
    from fsjax.configs.common import base

    def make(**overrides):
        config = base()
        config.model.name = "cnn"
        config.model.cnn.update(stages=((4,), (6,)))
        config.loss.name = "cosine"
        config.episodes.update(way=(3,), shot=(2,), query=(2,), per_step=2)
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in overrides.items()})
        return config

    return make


@pytest.fixture(scope="session")
def make_method(few_shot_config, jit):
    """A method for three classes of grey 8x8 images, its parameters and its collections."""

    def make(name, **overrides):
        method = build_method(few_shot_config(method__name=name, **overrides), INFO)
        variables = jit(method.init)(jax.random.key(0), jnp.zeros((2, *INFO.image_shape)))
        params = variables.pop("params")
        return method, params, variables

    return make


@pytest.fixture(scope="session")
def objective(jit):
    """Loss, gradients, new collections and metrics of a batch given by name."""

    def run(method, params, collections, **batch):
        def total(params, batch):
            return method.objective(params, collections, batch, step=jnp.int32(0))

        (loss, (updated, metrics)), gradients = jit(jax.value_and_grad(total, has_aux=True))(params, batch)
        return loss, gradients, updated, metrics

    return run


@pytest.fixture(scope="session")
def in_training(jit):
    """Embeddings `[batch, dim]` and last maps `[batch, h, w, channels]` with the batch's own statistics, float64."""

    def run(method, params, collections, images):
        variables = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
        apply = jit(lambda v, x: method.encoder.apply(v, x, train=True, mutable=["batch_stats"])[0])
        encoded = apply(variables, images)
        return np.asarray(encoded.embedding, np.float64), np.asarray(list(encoded.maps.values())[-1], np.float64)

    return run
